//! Payment rails on the embedded chain: one suite for all, and attacks on each.

mod channel;
mod escrow;
mod flow;
mod forget;
mod kill;
mod locks;
mod promise;

use std::sync::Arc;

use depin_core::{
    Address, Algorithm, Amount, Signer, SoftwareKey, U256, payment::Payment, reward::TokenLedger,
};
use depin_devnet::Devnet;
use depin_evm::{Chain, alloy::rpc::types::TransactionRequest, bindings::NetworkToken};
use depin_payment::evm::EvmToken;
use depin_testkit::rails::with_high_s;

/// A chain with a token, a payer who has 1,000,000 of it, and a payee.
pub(super) struct World {
    pub(super) devnet: Devnet,
    pub(super) admin: Chain,
    pub(super) payer: Chain,
    pub(super) payee: Chain,
    pub(super) token: Address,
    pub(super) folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let devnet = Devnet::start();
        let at = async |account| {
            let chain = Chain::from_provider(devnet.provider(), devnet.account(account));
            chain.connect().await.unwrap()
        };
        let (admin, payer, payee) = (at(0).await, at(1).await, at(2).await);
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { devnet, admin, payer, payee, token: Address::ZERO, folder };
        world.token = world.another_token().await;
        world
    }

    /// A token of which the payer has 1,000,000 units.
    pub(super) async fn another_token(&self) -> Address {
        let admin = &self.admin;
        let (name, symbol) = ("Credit".to_owned(), "CRE".to_owned());
        let create = NetworkToken::deploy_builder(
            admin.provider(),
            name,
            symbol,
            U256::MAX >> 1,
            admin.account(),
        );
        let at = self.create(create.into_transaction_request()).await;
        let token = NetworkToken::new(at, admin.provider());
        let minter = admin.read(&token.MINTER_ROLE()).await.unwrap();
        let grant = token.grantRole(minter, admin.account()).into_transaction_request();
        admin.send(grant).await.unwrap();
        let mint = token.mint(self.payer.account(), U256::from(1_000_000));
        admin.send(mint.into_transaction_request()).await.unwrap();
        at
    }

    pub(super) async fn create(&self, tx: TransactionRequest) -> Address {
        self.admin.send(tx).await.unwrap().contract_address.unwrap()
    }

    /// The payer's key, as a device has it.
    pub(super) fn key(&self) -> Arc<dyn Signer> {
        let bytes = self.devnet.account(1).to_bytes();
        Arc::new(SoftwareKey::from_bytes(Algorithm::Es256k, &bytes.0).unwrap())
    }

    pub(super) async fn balance(&self, account: Address) -> Amount {
        EvmToken::new(self.admin.clone(), self.token).balance(account).await.unwrap()
    }
}

/// The payment with the other form of the signature at its end.
pub(super) fn high_s(payment: &Payment) -> Payment {
    let (front, signature) = payment.proof.split_last_chunk::<65>().unwrap();
    let proof = [front, &with_high_s(signature)].concat();
    Payment { payer: payment.payer, proof: proof.into() }
}
