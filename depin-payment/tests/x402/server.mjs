// Sells one route per scheme with the reference server, /reading exactly and /metered for up to so much. The
// facilitator, which verifies and settles, runs in the same process.
//
// Environment: RPC (node), TOKEN, TOKEN_NAME, PAY_TO, KEY (pays the gas), AMOUNT, USED (of /metered). Prints where it
// listens.

import express from "express";
import { createPublicClient, createWalletClient, defineChain, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme as FacilitatorScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmScheme as ServerScheme } from "@x402/evm/exact/server";
import { UptoEvmScheme as UptoFacilitatorScheme } from "@x402/evm/upto/facilitator";
import { UptoEvmScheme as UptoServerScheme } from "@x402/evm/upto/server";
import { paymentMiddleware, setSettlementOverrides, x402ResourceServer } from "@x402/express";

const { RPC, TOKEN, TOKEN_NAME, PAY_TO, KEY, AMOUNT, USED } = process.env;
const id = await createPublicClient({ transport: http(RPC) }).getChainId();
const chain = defineChain({
  id,
  name: "local",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [RPC] } },
});
const account = privateKeyToAccount(KEY);
const wallet = createWalletClient({ account, chain, transport: http(RPC), pollingInterval: 20 });
const signer = toFacilitatorEvmSigner({ ...wallet.extend(publicActions), address: account.address });

const network = `eip155:${id}`;
const facilitator = new x402Facilitator()
  .register(network, new FacilitatorScheme(signer))
  .register(network, new UptoFacilitatorScheme(signer));
const local = {
  verify: (payload, requirements) => facilitator.verify(payload, requirements),
  settle: (payload, requirements) => facilitator.settle(payload, requirements),
  getSupported: async () => facilitator.getSupported(),
};
const server = new x402ResourceServer(local)
  .register(network, new ServerScheme())
  .register(network, new UptoServerScheme());
const price = { amount: AMOUNT, asset: TOKEN, extra: { name: TOKEN_NAME, version: "1" } };
const accepts = (scheme) => ({ scheme, price, network, payTo: PAY_TO, maxTimeoutSeconds: 60 });
const routes = {
  "GET /reading": { accepts: accepts("exact"), description: "a reading" },
  "GET /metered": { accepts: accepts("upto"), description: "as much as it takes" },
};

const app = express();
app.use(paymentMiddleware(routes, server));
app.get("/reading", (_request, response) => response.json({ celsius: 21.5 }));
app.get("/metered", (_request, response) => {
  setSettlementOverrides(response, { amount: USED });
  response.json({ used: USED });
});
const listening = app.listen(0, "127.0.0.1", () => {
  console.log(`Listening on http://127.0.0.1:${listening.address().port}`);
});
