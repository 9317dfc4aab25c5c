//! A network with a token and two relayers, on a chain whose blocks a test makes and takes back.

use depin_core::{
    Address, Amount, B256, EpochId, NetworkId,
    reward::{Commitment, RewardDistributor, TokenLedger},
};
use depin_devnet::Devnet;
use depin_evm::{Chain, DeployOptions, Deployment, deploy};
use depin_payment::{
    RewardTree,
    evm::{EvmDistributor, EvmToken},
};

use crate::evm::chain;

pub(super) const ACCOUNTS: u8 = 40;

/// See the module.
pub(super) struct World {
    pub(super) devnet: Devnet,
    pub(super) admin: Chain,
    pub(super) relayers: [Chain; 2],
    pub(super) contracts: Deployment,
}

impl World {
    pub(super) async fn new() -> Self {
        let devnet = Devnet::start();
        let admin = chain(&devnet, 0).await;
        let relayers = [chain(&devnet, 1).await, chain(&devnet, 2).await];
        let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
        let contracts = deploy(&admin, &options).await.unwrap();
        Self { devnet, admin, relayers, contracts }
    }

    pub(super) async fn publish(&self, epoch: u64, rows: &[(Address, Amount)]) -> RewardTree {
        let tree = RewardTree::build(rows.to_vec()).unwrap();
        let cumulative = Amount::sum(rows.iter().map(|(_, amount)| *amount)).unwrap();
        let (epoch, root, manifest) = (EpochId::new(epoch), tree.root(), B256::repeat_byte(1));
        let distributor = EvmDistributor::new(self.admin.clone(), self.contracts.distributor);
        distributor.publish(&Commitment { epoch, root, cumulative, manifest }).await.unwrap();
        tree
    }

    pub(super) async fn held(&self, account: Address) -> Amount {
        let token = EvmToken::new(self.admin.clone(), self.contracts.token);
        token.balance(account).await.unwrap()
    }
}

pub(super) fn rows(times: u64) -> Vec<(Address, Amount)> {
    let amount = |n: u8| Amount::from(u64::from(n) * times);
    (1..=ACCOUNTS).map(|n| (Address::repeat_byte(n), amount(n))).collect()
}
