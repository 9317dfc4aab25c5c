//! Balances made anew out of the lists that made them.

use depin_core::{Error, ErrorKind, Result, reward::RewardDistributor as _};

use super::{
    PayList, Treasury,
    publish::{allocation, check_root, next},
};
use crate::{
    Cumulative,
    evm::{EvmDistributor, calls::patiently},
};

impl Treasury {
    /// What all accounts have earned, when the file of the balances is lost: the lists of all epochs of the distributor,
    /// from the first one on and in their order, added up again and compared with what was published.
    ///
    /// Each list has to be the epoch of its place, by its digest, and the sum to have the root of the last one. So a list
    /// is the same only with the name that it was run under. What was published otherwise than by runs, as the rewards
    /// of devices are, cannot be made anew from lists.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use depin_core::{Address, Amount, NetworkId};
    /// use depin_devnet::Devnet;
    /// use depin_evm::{Chain, DeployOptions, deploy};
    /// use depin_payment::{Cumulative, evm::{EvmDistributor, PayList, Treasury}};
    ///
    /// let devnet = Devnet::start();
    /// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
    /// let distributor = EvmDistributor::new(chain.clone(), contracts.distributor);
    /// let ann = Address::repeat_byte(1);
    /// let lists = [
    ///     PayList::new("october", [(ann, Amount::tokens(3))])?,
    ///     PayList::new("november", [(ann, Amount::tokens(4))])?,
    /// ];
    /// # let folder = tempfile::tempdir().unwrap();
    /// let mut balances = Cumulative::default();
    /// for list in &lists {
    ///     let treasury = Treasury::new(chain.clone(), contracts.token)
    ///         .claims(distributor.clone(), balances);
    ///     let report = treasury.run(&treasury.plan(list).await?, folder.path().join(list.id())).await?;
    ///     balances = report.balances.expect("a run by claims has them");
    /// }
    ///
    /// let rebuilt = Treasury::rebuild(&distributor, &lists).await?;
    /// assert_eq!(rebuilt, balances);
    /// assert_eq!(rebuilt.of(ann), Amount::tokens(7));
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] with the epoch that is not the list of its place, or that comes after the last list;
    /// [`ErrorKind::Overflow`] when amounts sum to more than 2^256 - 1; [`ErrorKind::Unavailable`] when the chain does
    /// not answer now, or its log lacks an epoch.
    pub async fn rebuild(distributor: &EvmDistributor, lists: &[PayList]) -> Result<Cumulative> {
        let mut balances = Cumulative::default();
        for list in lists {
            let epoch = next(&balances)?;
            let there = distributor.published(epoch).await?;
            if there.is_none_or(|there| there.manifest != list.digest()) {
                let text = "the epoch is not this list; give the list of each epoch, with the name that it was run \
                            under, from the first one on";
                let error = Error::new(ErrorKind::Conflict, text).with("epoch", epoch);
                return Err(error.with("run", list.id()));
            }
            balances.add(&allocation(distributor.chain().id(), epoch, list)?)?;
        }
        check_root(distributor, &balances, &balances.tree()?).await?;
        // Also one that left out a number, which others that publish may do.
        let last = patiently(|| distributor.roots().last()).await?;
        if last > balances.latest() {
            let text =
                "the distributor has epochs after these lists; give theirs too, if they are runs";
            let error = Error::new(ErrorKind::Conflict, text).with("epoch", next(&balances)?);
            return Err(error.with("last", last.unwrap_or_default()));
        }
        Ok(balances)
    }
}
