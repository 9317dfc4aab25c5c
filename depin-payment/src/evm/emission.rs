//! Curves as an emission controller is deployed with them.

use depin_core::{Amount, Error, ErrorKind, Result, U256};
use depin_evm::{
    Emission,
    bindings::EmissionController::{Decay, Row, Schedule as Periods, Target},
};

use crate::emission::{Direction, Schedule, Shape, Targeted};

impl Schedule {
    /// The controller that issues along this schedule, to deploy it with.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use depin_core::{Amount, NetworkId, Timestamp};
    /// use depin_devnet::Devnet;
    /// use depin_evm::{Chain, DeployOptions, bindings::EmissionController, deploy};
    /// use depin_payment::emission::{Curve, Schedule};
    ///
    /// let (start, cap) = (Timestamp::from_secs(1_700_000_000), Amount::tokens(500_000));
    /// let schedule = Schedule::new(start, 86_400, cap, Curve::halving(Amount::tokens(1_000), 365)?)?;
    ///
    /// let devnet = Devnet::start();
    /// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// let options = DeployOptions::new(NetworkId::parse("climate")?).emission(schedule.on_chain()?);
    /// let controller = EmissionController::new(deploy(&chain, &options).await?.source, chain.provider());
    ///
    /// let periods = chain.read(&controller.completed()).await?;
    /// let granted = chain.read(&controller.granted()).await?;
    /// assert_eq!(granted, schedule.curve().span(0, periods)?.min(cap).to_units());
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] for amounts of 128 bits or more, which no schedule has.
    pub fn on_chain(&self) -> Result<Emission> {
        self.scaled(Target::default())
    }

    /// As [`on_chain`](Self::on_chain), scaled by what is reported: reports need the controller's
    /// `REPORTER_ROLE`.
    ///
    /// # Errors
    /// As [`on_chain`](Self::on_chain).
    pub fn on_chain_targeted(&self, targeted: &Targeted) -> Result<Emission> {
        let (target, floor, direction) = targeted.rule();
        let falling = direction == Direction::Falling;
        self.scaled(Target { target: narrow(target)?, floorBps: floor, falling })
    }

    fn scaled(&self, target: Target) -> Result<Emission> {
        let (start, period) = (self.start().secs(), self.period());
        let periods = Periods { start, period, cap: narrow(self.cap().to_units())? };
        let (decay, rows) = match self.curve().shape() {
            Shape::Decay { initial, interval, numerator, denominator } => {
                let initial = narrow(*initial)?;
                let (interval, num, den) = (*interval, *numerator, *denominator);
                (Decay { initial, interval, num, den }, Vec::new())
            }
            Shape::Table(rows) => {
                let row = |&(from, amount)| Ok(Row { from, amount: narrow(amount)? });
                (Decay::default(), rows.iter().map(row).collect::<Result<_>>()?)
            }
        };
        Ok(Emission::new(periods, decay, rows, target))
    }
}

fn narrow(amount: U256) -> Result<u128> {
    amount.try_into().map_err(|_| {
        let text = "emission counts in 128 bits; choose amounts below 2^128 base units";
        Error::new(ErrorKind::Limit, text).with("amount", Amount::units(amount))
    })
}
