// Pays for one request with the reference client. Environment: URL, KEY. Prints what came of it as JSON.

import { privateKeyToAccount } from "viem/accounts";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { UptoEvmScheme } from "@x402/evm/upto/client";
import { decodePaymentRequiredHeader } from "@x402/core/http";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";

const { URL: url, KEY } = process.env;
const account = privateKeyToAccount(KEY);
const pay = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [
    { network: "eip155:*", client: new ExactEvmScheme(account) },
    { network: "eip155:*", client: new UptoEvmScheme(account) },
  ],
  spendControls: false,
});
const response = await pay(url);
const settled = response.headers.get("PAYMENT-RESPONSE");
const asked = response.headers.get("PAYMENT-REQUIRED");
const error = asked ? decodePaymentRequiredHeader(asked).error : null;
const body = await response.text();
const settlement = settled && decodePaymentResponseHeader(settled);
console.log(JSON.stringify({ status: response.status, body, settlement, error }));
