//! The `EmissionController` contract.

use depin_core::{Address, Amount, Error, ErrorKind, Result};
use depin_evm::{
    Chain, Emission,
    alloy::providers::DynProvider,
    bindings::EmissionController::{self as Contract, EmissionControllerErrors as Refusal},
};

use super::calls::{event, narrow, refused};

/// What a token's emission has allowed so far, and the reports that scale it.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Amount, NetworkId, Timestamp};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::{emission::{Curve, Schedule}, evm::EvmController};
///
/// let (start, cap) = (Timestamp::from_secs(1_700_000_000), Amount::tokens(500_000));
/// let schedule = Schedule::new(start, 86_400, cap, Curve::halving(Amount::tokens(1_000), 365)?)?;
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let options = DeployOptions::new(NetworkId::parse("climate")?).emission(schedule.on_chain()?);
/// let controller = EvmController::new(chain.clone(), deploy(&chain, &options).await?.source);
///
/// assert_eq!(controller.emission().await?, schedule.on_chain()?, "it issues along this schedule");
/// let periods = controller.completed().await?;
/// assert_eq!(controller.granted().await?, schedule.curve().span(0, periods)?.min(cap));
/// assert_eq!(controller.mintable().await?, controller.granted().await?, "nobody minted yet");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmController {
    chain: Chain,
    address: Address,
}

impl EvmController {
    /// The controller at `address`.
    pub const fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address }
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// What it was deployed with: equal to
    /// [`Schedule::on_chain`](crate::emission::Schedule::on_chain) of the schedule that it follows.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn emission(&self) -> Result<Emission> {
        let contract = self.contract();
        let schedule = self.chain.read(&contract.schedule()).await?;
        let curve = self.chain.read(&contract.curve()).await?;
        let target = self.chain.read(&contract.target()).await?;
        Ok(Emission::new(schedule, curve._0, curve._1, target))
    }

    /// How many periods are over, by the time of the latest block.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn completed(&self) -> Result<u64> {
        self.chain.read(&self.contract().completed()).await
    }

    /// All that may have been minted until now, minted or not.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn granted(&self) -> Result<Amount> {
        self.chain.read(&self.contract().granted()).await.map(Amount::units)
    }

    /// What was minted until now.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn minted(&self) -> Result<Amount> {
        self.chain.read(&self.contract().minted()).await.map(Amount::units)
    }

    /// What may be minted now.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn mintable(&self) -> Result<Amount> {
        self.chain.read(&self.contract().mintable()).await.map(Amount::units)
    }

    /// Reports the measure of a period that is over, in units of the target, and answers what is granted with
    /// it. Needs `REPORTER_ROLE`. Periods before it that nobody reported grant the floor.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when this period or a later one was reported, or is not over;
    /// [`ErrorKind::Rejected`] for a controller without a target, [`ErrorKind::Limit`] for a measure of 128 bits or
    /// more, otherwise as [`Chain::send`].
    pub async fn report(&self, period: u64, measure: Amount) -> Result<Amount> {
        let call =
            self.contract().report(period, narrow("measure", measure)?).into_transaction_request();
        let receipt = self.chain.send(call).await.map_err(explain)?;
        let reported = event::<Contract::Reported>(&receipt, self.address)?;
        Ok(Amount::units(reported.granted))
    }

    /// Takes the sum of the curve up to `period`, at most as many as are over. Anybody may, and it changes nothing else:
    /// after a rest of so many halvings that minting would need more gas than a block has, some calls of this one, each a
    /// part of the way, make it work again.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the sum is further already, or the period is not over;
    /// [`ErrorKind::Rejected`] for a controller that grants by reports, otherwise as [`Chain::send`].
    pub async fn advance(&self, period: u64) -> Result<()> {
        let call = self.contract().advance(period).into_transaction_request();
        self.chain.send(call).await.map(drop).map_err(explain)
    }

    fn contract(&self) -> Contract::EmissionControllerInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Rejected};
    refused(error, |refusal: &Refusal| {
        Some(match refusal {
            Refusal::PeriodOutOfOrder(_) => {
                (Conflict, "the period, or a later one, was taken already, or is not over yet")
            }
            Refusal::NotTargeted(_) => {
                (Rejected, "the controller follows its curve without reports; none is needed")
            }
            Refusal::OnlyByReport(_) => {
                (Rejected, "the controller grants by reports only; report the period")
            }
            Refusal::AccessControlUnauthorizedAccount(_) => {
                (Rejected, "this account may not report; have the administrator grant the role")
            }
            _ => return None,
        })
    })
}
