//! Claims that pay another address than the one that earned.

use depin_core::{Address, Amount, B256, Error, Result};
use depin_evm::{
    Revert,
    alloy::{contract::SolCallBuilder, primitives::U256, providers::Provider, sol_types::SolCall},
    bindings::RewardDistributor as Contract,
};

use super::EvmDistributor;
use crate::{
    Claim,
    evm::{calls::event, roots::explain},
    order::{self, SignedOrder, check_recipient},
    typed::Domain,
};

impl EvmDistributor {
    /// What [orders](crate::order) to this distributor are signed for.
    pub fn domain(&self) -> Domain {
        order::domain(self.chain().id(), self.roots.address())
    }

    /// Has what `claim.account` earned paid to `to`, and returns how much that was. The account of the chain handle
    /// has to be the one that earned, or own the device whose ERC-6551 account earned.
    ///
    /// Zero when nothing was left, at no cost: also where somebody claimed for the account before. Its tokens are with
    /// the account then, never with anybody that it did not name.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) for any other account and when the proof does not
    /// hold, [`ErrorKind::Config`](depin_core::ErrorKind::Config) when `to` is zero or the distributor, otherwise as
    /// [`Chain::send`](depin_evm::Chain::send).
    pub async fn claim_to(&self, claim: &Claim, to: Address) -> Result<Amount> {
        check_recipient(to, self.roots.address())?;
        let contract = self.contract();
        let (cumulative, proof) = (claim.cumulative.to_units(), claim.proof.clone());
        let call = contract.claimTo(claim.account, cumulative, proof, to);
        self.pay(call.from(self.chain().account())).await
    }

    /// Carries out a signed order, whoever signed it and wherever it says, and returns what was paid. The account of
    /// the chain handle pays the gas and gets nothing.
    ///
    /// Zero when nothing was left, at no cost, as with [`claim_to`](Self::claim_to): a second time pays nothing.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_core::{Address, Algorithm, Amount, B256, EpochId, NetworkId, Signer, SoftwareKey, Timestamp};
    /// # use depin_core::reward::{Commitment, RewardDistributor, TokenLedger};
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, DeployOptions, deploy};
    /// # use depin_payment::{RewardTree, evm::{EvmDistributor, EvmToken}, order::ClaimOrder};
    /// # let devnet = Devnet::start();
    /// # let relayer = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// # let contracts = deploy(&relayer, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
    /// # let distributor = EvmDistributor::new(relayer.clone(), contracts.distributor);
    /// # let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
    /// # let account = key.public_key().to_address().expect("a secp256k1 key has an address");
    /// # let (epoch, cumulative, manifest) = (EpochId::new(0), Amount::tokens(7), B256::ZERO);
    /// # let tree = RewardTree::build(vec![(account, cumulative)])?;
    /// # distributor.publish(&Commitment { epoch, root: tree.root(), cumulative, manifest }).await?;
    /// let (to, deadline) = (Address::repeat_byte(2), Timestamp::from_secs(u64::MAX / 1_000));
    /// let order = ClaimOrder { account, cumulative, to, deadline };
    /// let signed = order.sign(&distributor.domain(), &key)?;
    ///
    /// // The key has no coins for gas; a relayer sends it.
    /// let proof = tree.proof(account).expect("it earned");
    /// assert_eq!(distributor.claim_by_signature(&signed, &proof).await?, cumulative);
    /// assert_eq!(EvmToken::new(relayer, contracts.token).balance(to).await?, cumulative);
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) when the account did not sign this order for this
    /// distributor, its deadline is over or the proof does not hold; nothing is sent then. Otherwise as
    /// [`Chain::send`](depin_evm::Chain::send).
    pub async fn claim_by_signature(&self, signed: &SignedOrder, proof: &[B256]) -> Result<Amount> {
        let SignedOrder { order, signature } = signed;
        let contract = self.contract();
        let call = contract.claimBySignature(
            order.account,
            order.cumulative.to_units(),
            proof.to_vec(),
            order.to,
            U256::from(order.deadline.secs()),
            signature.clone(),
        );
        self.pay(call).await
    }

    /// Sends what pays one account or reverts.
    async fn pay<P: Provider, C: SolCall>(&self, call: SolCallBuilder<P, C>) -> Result<Amount> {
        // Asked first: what was paid already costs no gas. Who was faster meanwhile is met by the second answer.
        if let Err(error) = self.roots.ask(&call).await {
            return nothing_left(error);
        }
        match self.chain().send(call.into_transaction_request()).await {
            Ok(receipt) => {
                let paid = event::<Contract::ClaimedTo>(&receipt, self.roots.address())?;
                Ok(Amount::units(paid.amount))
            }
            Err(error) => nothing_left(explain(error)),
        }
    }
}

/// That the account was paid before is no error.
fn nothing_left(error: Error) -> Result<Amount> {
    let revert = Revert::of(&error);
    match revert.and_then(|revert| revert.decode::<Contract::NothingToClaim>()) {
        Some(_) => Ok(Amount::ZERO),
        None => Err(error),
    }
}
