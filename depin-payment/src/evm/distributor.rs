//! The `RewardDistributor` contract: claims.

mod orders;

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, EpochId, Error, Result,
    reward::{Claim, Commitment, RewardDistributor},
};
use depin_evm::{
    Chain, Revert,
    alloy::{providers::DynProvider, rpc::types::TransactionReceipt},
    bindings::RewardDistributor as Contract,
};

use super::{calls::events, roots::EvmRoots};

/// A reward distributor contract, through the account that publishes epochs and pays for transactions.
///
/// Publishing needs the contract's `PUBLISHER_ROLE`; claiming for anybody and reading need nothing. The
/// contract issues the emission of an epoch when it becomes active, in a token that lets it mint: at once, or
/// after the window in which it can be disputed, as soon as somebody claims or the next one is published.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, B256, EpochId, NetworkId, reward::{Commitment, RewardDistributor}};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::{RewardTree, evm::EvmDistributor};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
/// let distributor = EvmDistributor::new(chain, contracts.distributor);
///
/// let (ann, total) = (Address::repeat_byte(1), Amount::tokens(7));
/// let tree = RewardTree::build(vec![(ann, total)])?;
/// let (epoch, root, manifest) = (EpochId::new(0), tree.root(), B256::repeat_byte(2));
/// distributor.publish(&Commitment { epoch, root, cumulative: total, manifest }).await?;
///
/// let claims: Vec<_> = tree.claims().collect();
/// assert_eq!(distributor.claim_many(&claims).await?, [total]);
/// assert_eq!(distributor.claim_many(&claims).await?, [Amount::ZERO]);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmDistributor {
    roots: EvmRoots,
}

impl EvmDistributor {
    /// The distributor at `address`. One that was deployed long ago is found sooner
    /// [from](Self::from) its [`EvmRoots::since`].
    pub const fn new(chain: Chain, address: Address) -> Self {
        Self { roots: EvmRoots::new(chain, address) }
    }

    /// Its address and epochs: what waits, disputes and their decision, pause.
    pub const fn roots(&self) -> &EvmRoots {
        &self.roots
    }

    /// Pays what fits into one transaction; answers its receipt too, unless nothing was left to pay.
    pub(super) async fn claim_chunk(
        &self,
        claims: &[Claim],
    ) -> Result<(Vec<Amount>, Option<TransactionReceipt>)> {
        let contract = self.contract();
        let call = contract.claimMany(claims.iter().map(payment).collect());
        // Asked first: proofs that fail cost no gas, and neither does paying again what was paid.
        if self.roots.ask(&call).await?.is_zero() {
            return Ok((vec![Amount::ZERO; claims.len()], None));
        }
        // For one alone the contract has a cheaper way.
        let tx = match claims {
            [one] => {
                let call =
                    contract.claim(one.account, one.cumulative.to_units(), one.proof.clone());
                call.into_transaction_request()
            }
            _ => call.into_transaction_request(),
        };
        let receipt = match self.roots.send_deduplicated("claim", tx).await {
            // Somebody else claimed for the account in the meantime.
            Err(error) if is_nothing_left(&error) => return Ok((vec![Amount::ZERO], None)),
            receipt => receipt?,
        };
        let mut payments = events::<Contract::Claimed>(&receipt, self.roots.address()).peekable();
        // Events come in the order of the claims, without those that were paid before.
        let paid = claims.iter().map(|claim| {
            let event = payments.next_if(|event| {
                event.account == claim.account && event.cumulative == claim.cumulative.to_units()
            });
            event.map_or(Amount::ZERO, |event| Amount::units(event.amount))
        });
        let paid = paid.collect();
        drop(payments);
        Ok((paid, Some(receipt)))
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.roots.chain
    }

    fn contract(&self) -> Contract::RewardDistributorInstance<&DynProvider> {
        self.roots.contract()
    }
}

impl From<EvmRoots> for EvmDistributor {
    /// The distributor that has these epochs.
    fn from(roots: EvmRoots) -> Self {
        Self { roots }
    }
}

#[async_trait]
impl RewardDistributor for EvmDistributor {
    async fn publish(&self, commitment: &Commitment) -> Result<()> {
        self.roots.publish(commitment).await
    }

    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        self.roots.published(epoch).await
    }

    async fn latest(&self) -> Result<Option<EpochId>> {
        self.roots.latest().await
    }

    async fn last(&self) -> Result<Option<EpochId>> {
        self.roots.last().await
    }

    /// Hundred accounts a transaction.
    async fn claim_many(&self, claims: &[Claim]) -> Result<Vec<Amount>> {
        let mut paid = Vec::with_capacity(claims.len());
        for chunk in claims.chunks(CLAIMS_PER_TRANSACTION) {
            paid.extend(self.claim_chunk(chunk).await?.0);
        }
        Ok(paid)
    }

    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount> {
        let claim = Claim { account, cumulative, proof: proof.to_vec() };
        let (paid, _) = self.claim_chunk(&[claim]).await?;
        Ok(paid.first().copied().unwrap_or_default())
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        self.chain().read(&self.contract().claimed(account)).await.map(Amount::units)
    }
}

fn is_nothing_left(error: &Error) -> bool {
    let revert = Revert::of(error);
    revert.is_some_and(|revert| revert.decode::<Contract::NothingToClaim>().is_some())
}

/// A claim as the contract takes it.
fn payment(claim: &Claim) -> Contract::Claim {
    Contract::Claim {
        account: claim.account,
        cumulative: claim.cumulative.to_units(),
        proof: claim.proof.clone(),
    }
}

/// A first claim costs about 97,000 gas at a million accounts: well inside a block of 15 million.
pub(super) const CLAIMS_PER_TRANSACTION: usize = 100;
