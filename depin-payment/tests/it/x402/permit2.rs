//! A chain with what the scheme `upto` needs: Permit2 and x402's proxy, where public chains have them.
//!
//! Permit2 is the real one, byte for byte; anvil (`DEPIN_ANVIL`) carries it for one of its networks, and without anvil
//! these tests are skipped. The proxy is a stand-in of ours (`UptoProxyStandIn.sol`), unless `DEPIN_UPTO_PROXY` names a
//! file with the runtime code of another one in hexadecimal, for example compiled from the x402 Foundation's source.

use std::{path::PathBuf, process::Command, sync::Arc};

use depin_core::{Amount, B256, SoftwareKey, U256, keccak256};
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{
        primitives::{Bytes, b256, hex},
        providers::{DynProvider, Provider, ProviderBuilder},
        signers::local::PrivateKeySigner,
    },
};
use depin_payment::x402::{PERMIT2, UPTO_PROXY, UptoPayment, UptoTerms, approve_permit2};

use super::{Town, account_of, in_a_minute, interop::Peer, payers, settle};

/// The hash of what anvil 1.7.1 carries. Only two words of the code depend on the chain, and Permit2 does not trust
/// them on another one.
const PERMIT2_CODE: B256 =
    b256!("463331fa7a0d5f07488e42c37b461bb56a822145c161a821fbafe7d4e916b546");

impl Town {
    /// A town whose payers let Permit2 move what they have.
    pub(super) async fn with_permit2() -> Option<Self> {
        let town = Self::with_permit2_only().await?;
        for payer in payers() {
            let chain = town.chain_of(&payer).await;
            approve_permit2(&chain, town.token, Amount::MAX).await.unwrap();
        }
        Some(town)
    }

    /// A town whose payers have not let Permit2 do anything.
    pub(super) async fn with_permit2_only() -> Option<Self> {
        let permit2 = permit2_code().await?;
        let devnet = Devnet::start();
        devnet.set_code(PERMIT2, permit2);
        devnet.set_code(UPTO_PROXY, proxy_code());
        let (chain, token) = settle(devnet.provider(), devnet.account(0), &payers()).await;
        Some(Self { devnet, chain, token })
    }

    /// The chain as a payer, who has gas money.
    pub(super) async fn chain_of(&self, payer: &SoftwareKey) -> Chain {
        let seed = payers().iter().position(|one| account_of(one) == account_of(payer));
        let seed = u8::try_from(seed.unwrap() + 1).unwrap();
        let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(seed)).unwrap();
        assert_eq!(signer.address(), account_of(payer));
        self.devnet.set_balance(signer.address(), U256::from(10).pow(U256::from(18)));
        Chain::from_provider(self.devnet.provider(), signer).connect().await.unwrap()
    }
}

/// Puts both contracts on an anvil.
pub(super) async fn set_up(provider: &DynProvider) -> Option<()> {
    for (address, code) in [(PERMIT2, permit2_code().await?), (UPTO_PROXY, proxy_code())] {
        let answer: Result<(), _> =
            provider.raw_request("anvil_setCode".into(), (address, code)).await;
        answer.unwrap();
    }
    Some(())
}

/// A payment of up to what is asked for.
pub(super) fn pays_up_to(terms: &UptoTerms, nonce: u64) -> UptoPayment {
    pays_as(&payers()[0], terms, nonce)
}

pub(super) fn pays_as(payer: &Arc<SoftwareKey>, terms: &UptoTerms, nonce: u64) -> UptoPayment {
    terms.sign(&**payer, in_a_minute(), U256::from(nonce)).unwrap()
}

fn proxy_code() -> Bytes {
    if let Some(path) = std::env::var_os("DEPIN_UPTO_PROXY") {
        return std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
    }
    let artifact = include_str!("../../../../depin-evm/artifacts/test/UptoProxyStandIn.json");
    let artifact: serde_json::Value = serde_json::from_str(artifact).unwrap();
    artifact["deployedBytecode"]["object"].as_str().unwrap().parse().unwrap()
}

/// Asks anvil, once: the code is kept with what tests leave behind.
async fn permit2_code() -> Option<Bytes> {
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("permit2.hex");
    let read = std::fs::read_to_string(&kept).ok().and_then(|text| text.parse::<Bytes>().ok());
    if let Some(code) = read.filter(|code| keccak256(code) == PERMIT2_CODE) {
        return Some(code);
    }
    let program = super::interop::named("DEPIN_ANVIL")?;
    let mut command = Command::new(program);
    let mut anvil = Peer::start(command.args(["--network", "tempo", "--port", "0"]));
    let provider: DynProvider =
        ProviderBuilder::default().connect_http(anvil.url().parse().unwrap()).erased();
    let code = provider.get_code_at(PERMIT2).await.unwrap();
    assert_eq!(keccak256(&code), PERMIT2_CODE, "this anvil carries another Permit2");
    let half = kept.with_extension(std::process::id().to_string());
    std::fs::write(&half, hex::encode_prefixed(&code)).unwrap();
    std::fs::rename(half, kept).unwrap();
    Some(code)
}
