//! Nodes without old logs: that a list was never published is concluded from a log that begins with the distributor.

use std::sync::Arc;

use depin_core::{Address, ErrorKind, Result};
use depin_evm::{
    Chain, Role, Roles,
    alloy::{
        primitives::{Bytes, address, keccak256},
        rpc::types::TransactionRequest,
    },
    bindings::RewardDistributor,
};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, EvmRoots, PayList, RunReport, Treasury, Way},
};

use super::{Bank, list, lost::Pruned};
use crate::node::provider;

/// Creates what follows the first word of its input.
const FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

impl Bank {
    /// Runs a list by claims, through a node whose log begins with a block, on another machine.
    async fn pruned(&self, list: &PayList, way: Way, block: u64) -> Result<RunReport> {
        let node = provider(&self.devnet, &Arc::new(Pruned(block)));
        let chain = Chain::from_provider(node, self.devnet.account(0)).connect().await.unwrap();
        let treasury = self.both(&chain, Cumulative::default());
        let plan = treasury.plan(list).await?.by(way);
        treasury.run(&plan, self.journal("lost")).await
    }

    async fn does_not_conclude(&self, list: &PayList, block: u64, what: &str) {
        for way in [Way::Claims, Way::Transfers] {
            let error = self.pruned(list, way, block).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{what} {way}: {error}");
            assert!(error.to_string().contains("archive"), "{what} {way}: {error}");
            assert!(!self.journal("lost").exists(), "{what} {way}");
        }
    }

    /// Lets a distributor that somebody else administers issue, and this account publish.
    async fn appoint(&self, distributor: Address, admin: &Chain) {
        let source = Roles::of(self.chain.clone(), self.contracts.source);
        source.grant(Role::EMITTER, distributor).await.unwrap();
        let roles = Roles::of(admin.clone(), distributor);
        roles.grant(Role::PUBLISHER, self.chain.account()).await.unwrap();
        roles.grant(Role::ADMIN, Address::repeat_byte(9)).await.unwrap();
    }

    /// How a distributor is created that `admin` administers.
    fn creation(&self, admin: Address) -> TransactionRequest {
        let (token, source) = (self.contracts.token, self.contracts.source);
        let rules = RewardDistributor::RootRules::default();
        let provider = self.chain.provider();
        RewardDistributor::deploy_builder(provider, token, source, rules, admin)
            .into_transaction_request()
    }
}

/// Nothing stands that would show that something is missing.
#[tokio::test]
async fn what_was_rejected_before_the_log_begins_is_not_taken_for_never_published() {
    let bank = Bank::disputable().await;
    let (wrong, right) = (list("october", 10), list("october-2", 10));
    bank.funded(wrong.total()).await;
    let none = Cumulative::default();
    let treasury = bank.both(&bank.chain, none.clone());
    let plan = treasury.plan(&wrong).await.unwrap().by(Way::Claims);
    treasury.run(&plan, bank.journal("october")).await.unwrap();
    bank.reject().await;
    let first = bank.devnet.block_number() + 1;
    bank.does_not_conclude(&wrong, first, "nothing stands").await;
    let plan = treasury.plan(&right).await.unwrap().by(Way::Claims);
    treasury.run(&plan, bank.journal("october-2")).await.unwrap();
    bank.does_not_conclude(&wrong, first, "the correction waits").await;
    bank.pass();
    treasury.run(&plan, bank.journal("october-2")).await.unwrap();
    bank.does_not_conclude(&wrong, first, "the correction stands").await;
    assert_eq!(bank.pruned(&wrong, Way::Claims, 0).await.unwrap_err().kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_log_that_is_looked_at_from_too_late_on_concludes_nothing() {
    let bank = Bank::open().await;
    let october = list("october", 3);
    let chain = bank.anew().await;
    for (since, concludes) in [(bank.devnet.block_number(), false), (bank.contracts.block, true)] {
        let roots = EvmRoots::new(chain.clone(), bank.contracts.distributor).since(since);
        let treasury = Treasury::new(chain.clone(), bank.contracts.token)
            .claims(EvmDistributor::from(roots), Cumulative::default());
        let plan = treasury.plan(&october).await.unwrap();
        let run = treasury.run(&plan, bank.journal("lost")).await;
        match run {
            Ok(report) => assert!(concludes && report.paid == 3, "{report:?}"),
            Err(error) => {
                assert!(!concludes, "{error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert!(error.to_string().contains("own block"), "{error}");
            }
        }
    }
}

/// Its creation is known by the transaction, where the administrator is another account than the creator, and by what the
/// node has of the block before, where it is a contract that created it.
#[tokio::test]
async fn a_distributor_that_another_account_or_a_contract_created_is_known_from_its_beginning() {
    let bank = Bank::open().await;
    let judge = bank.devnet.account(1);
    let admin = Chain::from_provider(bank.devnet.provider(), judge).connect().await.unwrap();
    let creation = bank.creation(admin.account());
    let receipt = bank.chain.send(creation.clone()).await.unwrap();
    let by_account = receipt.contract_address.unwrap();
    let code = creation.input.input().unwrap().clone();
    let input = Bytes::from([[0; 32].as_slice(), &code].concat());
    bank.chain.send(TransactionRequest::default().to(FACTORY).input(input.into())).await.unwrap();
    let by_contract = FACTORY.create2([0; 32], keccak256(&code));

    let mut bank = bank;
    for distributor in [by_account, by_contract] {
        bank.contracts.distributor = distributor;
        bank.appoint(distributor, &admin).await;
        let october = list("october", 10);
        let after = bank.devnet.block_number();
        bank.does_not_conclude(&october, after, "pruned").await;
        let report = bank.pruned(&october, Way::Claims, 0).await.unwrap();
        assert_eq!((report.paid, report.to_claim), (10, 0));
        std::fs::remove_file(bank.journal("lost")).unwrap();
    }
}
