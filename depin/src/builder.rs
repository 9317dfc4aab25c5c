//! Composing a network.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use depin_core::{
    Clock, Did, Error, ErrorKind, NetworkId, Result, Signer,
    evidence::EvidenceVerifier,
    log::BatchLog,
    quality::{FleetCheck, QualityCheck},
    registry::DeviceRegistry,
    reward::{RewardDistributor, RewardPolicy, TokenLedger},
};
use depin_data::{
    epoch::{Checks, Windows},
    ingest::{DeviceLimits, Ingest},
};
use depin_hw::Nonces;
use depin_identity::Resolver;
use tokio::sync::broadcast;

use crate::{
    Network,
    books::Books,
    events,
    network::{Inner, Ledgers},
    presets::Preset,
    rules::{Pays, Rules},
};

/// A network in the making: every method replaces or adds one part.
///
/// What neither preset nor caller filled is named by [`build`](Self::build), all at once.
///
/// ```
/// # #[cfg(feature = "devnet")]
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin::{Network, presets};
///
/// let error = Network::builder(presets::devnet().await?).build().await.unwrap_err();
/// assert!(error.to_string().contains("rewards: call .rewards(policy)"));
/// # Ok::<(), depin::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "call build() to get the network"]
pub struct Builder {
    preset: Preset,
    name: String,
    checks: Checks,
    policy: Option<Arc<dyn RewardPolicy>>,
    former_checks: Checks,
    former_policies: Vec<Arc<dyn RewardPolicy>>,
    windows: Option<Windows>,
    door: Door,
    pays: Pays,
    registry: Option<Arc<dyn DeviceRegistry>>,
    distributor: Option<Arc<dyn RewardDistributor>>,
    token: Option<Arc<dyn TokenLedger>>,
    chips_once: bool,
    #[cfg(feature = "evm")]
    contracts: Option<depin_evm::DeployOptions>,
}

impl Builder {
    pub(crate) fn new(preset: Preset) -> Self {
        Self {
            preset,
            name: "devnet".into(),
            checks: Checks::new(),
            policy: None,
            former_checks: Checks::new(),
            former_policies: Vec::new(),
            windows: None,
            door: Door::default(),
            pays: Pays::Owner,
            registry: None,
            distributor: None,
            token: None,
            chips_once: true,
            #[cfg(feature = "evm")]
            contracts: None,
        }
    }

    /// The name that every signature in the network covers: `a-z`, `0-9` and dashes.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a quality check.
    pub fn check(mut self, check: impl QualityCheck + 'static) -> Self {
        self.checks = self.checks.check(check);
        self
    }

    /// Adds a check that judges devices against each other.
    pub fn fleet_check(mut self, check: impl FleetCheck + 'static) -> Self {
        self.checks = self.checks.fleet(check);
        self
    }

    /// Adds the checks of a list for one kind of network, such as
    /// [`presets::climate`](depin_data::quality::presets::climate).
    pub fn quality(mut self, preset: depin_data::quality::presets::Preset) -> Self {
        self.checks = self.checks.and(preset.checks, preset.fleet);
        self
    }

    /// How epochs are paid.
    pub fn rewards(mut self, policy: impl RewardPolicy + 'static) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// A check that earlier epochs were sealed with and new ones are not: needed to recompute those.
    pub fn former_check(mut self, check: impl QualityCheck + 'static) -> Self {
        self.former_checks = self.former_checks.check(check);
        self
    }

    /// A check of devices against each other that earlier epochs were sealed with and new ones are not.
    pub fn former_fleet_check(mut self, check: impl FleetCheck + 'static) -> Self {
        self.former_checks = self.former_checks.fleet(check);
        self
    }

    /// A policy that earlier epochs were sealed with: needed to recompute those after
    /// [`rewards`](Self::rewards) changed.
    pub fn former_rewards(mut self, policy: impl RewardPolicy + 'static) -> Self {
        self.former_policies.push(Arc::new(policy));
        self
    }

    /// Makes epochs windows of time: a reading counts in the epoch in whose window it was measured, also when
    /// it comes late, until that epoch settles. Give the policy a reserve, or late work finds nothing left.
    ///
    /// From the first epoch with windows on they stay as they are. Without windows an epoch counts whatever
    /// came since the one before.
    pub fn windows(mut self, windows: Windows) -> Self {
        self.windows = Some(windows);
        self
    }

    /// How far the time of a reading may be ahead of the clock (5 minutes unless said) and behind it
    /// (30 days) when it is sent.
    pub fn clock_rule(mut self, ahead: Duration, behind: Duration) -> Self {
        self.door.clock_rule = Some((ahead, behind));
        self
    }

    /// How much one device may send, [its default](DeviceLimits::default) unless said; more is told to come again.
    pub fn device_limits(mut self, limits: DeviceLimits) -> Self {
        self.door.device_limits = Some(limits);
        self
    }

    /// How many batches may be in flight at once, over all transports: 1,024 unless said. More are told to come back.
    pub fn concurrency(mut self, batches: usize) -> Self {
        self.door.concurrency = Some(batches);
        self
    }

    /// Pays a device's own account (ERC-6551) instead of its owner, where the registry gives it one. Who owns the
    /// device then spends what it earned, and who buys the device buys that too.
    ///
    /// It holds for epochs that close from now on; earlier ones stay as they were sealed.
    pub fn pay_device_accounts(mut self) -> Self {
        self.pays = Pays::Device;
        self
    }

    /// Who judges evidence of hardware.
    pub fn evidence(mut self, verifier: impl EvidenceVerifier + 'static) -> Self {
        self.preset.verifier = Arc::new(verifier);
        self
    }

    /// Where batches are kept.
    pub fn log(mut self, log: impl BatchLog + 'static) -> Self {
        self.preset.log = Arc::new(log);
        self
    }

    /// Lets one chip enroll under several keys, for registries that keep no name of the hardware (ioID), and
    /// hardware that has none. Otherwise a chip is admitted once, revoked or not.
    pub fn chips_many_times(mut self) -> Self {
        self.chips_once = false;
        self
    }

    /// Where devices are registered.
    pub fn registry(mut self, registry: impl DeviceRegistry + 'static) -> Self {
        self.registry = Some(Arc::new(registry));
        self
    }

    /// Who pays rewards.
    pub fn distributor(mut self, distributor: impl RewardDistributor + 'static) -> Self {
        self.distributor = Some(Arc::new(distributor));
        self
    }

    /// The network's token.
    pub fn token(mut self, token: impl TokenLedger + 'static) -> Self {
        self.token = Some(Arc::new(token));
        self
    }

    /// How the contracts are deployed, where the chain has none of this network's yet: the token's name and
    /// cap, the curve it is issued along, the window in which epochs can be disputed.
    ///
    /// With a window an epoch pays when the window is over, and the next one can be published from then on:
    /// until then [`close_epoch`](Network::close_epoch) seals it and answers
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), and the call again publishes it. An epoch that the arbiter
    /// rejects is [withdrawn](Network::withdraw_epoch) and closed again.
    ///
    /// ```
    /// # #[cfg(feature = "devnet")]
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use depin::{Network, NetworkId, evm::DeployOptions, payment::ProRata, presets, tokens};
    ///
    /// let contracts = DeployOptions::new(NetworkId::parse("climate")?)
    ///     .token("Climate Credit", "CLIM")
    ///     .cap(tokens(1_000_000));
    /// let network = Network::builder(presets::devnet().await?)
    ///     .name("climate")
    ///     .contracts(contracts)
    ///     .rewards(ProRata::per_epoch(tokens(10)))
    ///     .build()
    ///     .await?;
    /// assert!(network.deployment().is_some());
    /// # Ok::<(), depin::Error>(())
    /// # }).unwrap();
    /// ```
    #[cfg(feature = "evm")]
    pub fn contracts(mut self, contracts: depin_evm::DeployOptions) -> Self {
        self.contracts = Some(contracts);
        self
    }

    /// The clock that ingest and enrollment go by.
    pub fn clock(mut self, clock: Arc<impl Clock + 'static>) -> Self {
        self.preset.clock = clock;
        self
    }

    /// Puts the parts together; deploys the contracts where a chain has none of this network's yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] naming every slot that is empty, or whatever the chain objects to.
    pub async fn build(mut self) -> Result<Network> {
        let id = NetworkId::parse(&self.name)?;
        self.check_slots()?;
        let ledgers = self.ledgers().await?;
        let Self {
            preset,
            checks,
            policy,
            former_checks,
            former_policies,
            windows,
            door,
            pays,
            ..
        } = self;
        let policy = policy
            .ok_or_else(|| Error::new(ErrorKind::Config, "the network has no reward policy"))?;
        let rules = Rules { checks, policy, former_checks, former_policies, windows, pays };
        let (events, _) = broadcast::channel(events::KEPT);
        let log_key = preset.operator.public_key().clone();
        let ingest = door.open(&id, &preset, ledgers.registry.clone(), events.clone());
        let resolver = Resolver::new().with_registry(ledgers.registry.clone());
        let books = Books::kept_in(id.clone(), preset.folder.as_deref());
        Ok(Network(Arc::new(Inner {
            id,
            clock: preset.clock.clone(),
            verifier: preset.verifier.clone(),
            resolver: Arc::new(resolver),
            log: preset.log.clone(),
            ingest: Arc::new(ingest),
            log_key,
            rules,
            ledgers,
            chips_once: self.chips_once,
            nonces: Mutex::new(Nonces::new(NONCE_LIFETIME, NONCES)),
            books: tokio::sync::Mutex::new(books),
            events,
        })))
    }

    /// Names every slot that neither preset nor caller filled.
    fn check_slots(&self) -> Result<()> {
        #[cfg(feature = "evm")]
        let chain = self.preset.chain.is_some();
        #[cfg(not(feature = "evm"))]
        let chain = false;
        let slots = [
            (self.policy.is_some(), "rewards: call .rewards(policy)"),
            (
                chain || self.registry.is_some(),
                "registry: call .registry(…) or use a preset with a chain",
            ),
            (
                chain || self.distributor.is_some(),
                "distributor: call .distributor(…) or use a preset with a chain",
            ),
            (chain || self.token.is_some(), "token: call .token(…) or use a preset with a chain"),
        ];
        let empty: Vec<_> =
            slots.iter().filter(|(filled, _)| !filled).map(|(_, remedy)| *remedy).collect();
        if empty.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("the network lacks {}", empty.join("; "))))
    }

    /// The three ledgers: those given, the others on the preset's chain.
    #[cfg(feature = "evm")]
    async fn ledgers(&mut self) -> Result<Ledgers> {
        use crate::source::Source;
        use depin_identity::registry::evm::EvmRegistry;
        use depin_payment::evm::{EvmDistributor, EvmRoots, EvmToken};

        let given = (self.registry.take(), self.distributor.take(), self.token.take());
        if let (Some(registry), Some(distributor), Some(token)) = given {
            return Ok(Ledgers::new(registry, distributor, token));
        }
        let no_chain = || Error::new(ErrorKind::Config, "the network has no chain");
        let chain = self.preset.chain.clone().ok_or_else(no_chain)?;
        let deployment = self.deployment(&chain).await?;
        let (registry, distributor, token) = given;
        let registry = registry.unwrap_or_else(|| {
            Arc::new(EvmRegistry::new(chain.clone(), deployment.registry).with_accounts())
        });
        let source = distributor.is_none().then(|| Source::of(&chain, &deployment));
        let distributor = distributor.unwrap_or_else(|| {
            let roots = EvmRoots::new(chain.clone(), deployment.distributor);
            Arc::new(EvmDistributor::from(roots.since(deployment.block)))
        });
        let token =
            token.unwrap_or_else(|| Arc::new(EvmToken::new(chain.clone(), deployment.token)));
        let mut ledgers = Ledgers::new(registry, distributor, token);
        ledgers.chain = Some(chain);
        ledgers.deployment = Some(deployment);
        ledgers.source = source;
        #[cfg(feature = "devnet")]
        {
            ledgers.devnet = self.preset.devnet.clone().zip(self.preset.folder.clone());
        }
        // First the chain, then the addresses on it: a crash between the two deploys anew.
        ledgers.checkpoint().await?;
        if let Some(folder) = &self.preset.folder {
            crate::presets::write_deployment(folder, &deployment)?;
        }
        Ok(ledgers)
    }

    #[cfg(not(feature = "evm"))]
    async fn ledgers(&mut self) -> Result<Ledgers> {
        let given = (self.registry.take(), self.distributor.take(), self.token.take());
        let (Some(registry), Some(distributor), Some(token)) = given else {
            return Err(Error::new(
                ErrorKind::Config,
                "without the feature evm every ledger has to be given",
            ));
        };
        Ok(Ledgers::new(registry, distributor, token))
    }

    /// The contracts of this network: those of an earlier start, or new ones.
    #[cfg(feature = "evm")]
    async fn deployment(&mut self, chain: &depin_evm::Chain) -> Result<depin_evm::Deployment> {
        if let Some(deployment) = self.preset.deployment.take() {
            if deployment.chain == chain.id() {
                return Ok(deployment);
            }
            let message = "the folder belongs to a network on another chain; use another folder";
            return Err(Error::new(ErrorKind::Config, message)
                .with("deployed on", deployment.chain)
                .with("connected to", chain.id()));
        }
        let network = NetworkId::parse(&self.name)?;
        let contracts = match self.contracts.take() {
            Some(contracts) if contracts.network == network => contracts,
            Some(contracts) => {
                let message = "the contracts are for a network of another name; use one name";
                return Err(Error::new(ErrorKind::Config, message)
                    .with("network", network)
                    .with("contracts", contracts.network));
            }
            None => depin_evm::DeployOptions::new(network),
        };
        depin_evm::deploy(chain, &contracts).await
    }
}

/// How long a challenge may stay unanswered.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Challenges that may be unanswered at once.
const NONCES: usize = 10_000;

/// What ingest is told, where it is not left as it is.
#[derive(Debug, Default)]
struct Door {
    clock_rule: Option<(Duration, Duration)>,
    device_limits: Option<DeviceLimits>,
    concurrency: Option<usize>,
}

impl Door {
    fn open(
        self,
        id: &NetworkId,
        preset: &Preset,
        registry: Arc<dyn DeviceRegistry>,
        events: broadcast::Sender<depin_core::NetworkEvent>,
    ) -> Ingest {
        let operator: Arc<dyn Signer> = preset.operator.clone();
        let did: Did = depin_identity::methods::key::did_key(operator.public_key());
        let on_event = move |event: &depin_core::NetworkEvent| {
            // Nobody listening is fine.
            let _ = events.send(event.clone());
        };
        let (log, clock) = (preset.log.clone(), preset.clock.clone());
        let mut builder = Ingest::builder(id.clone(), log, registry, clock, operator, did);
        if let Some((ahead, behind)) = self.clock_rule {
            builder = builder.clock_rule(ahead, behind);
        }
        if let Some(limits) = self.device_limits {
            builder = builder.device_limits(limits);
        }
        if let Some(batches) = self.concurrency {
            builder = builder.concurrency(batches);
        }
        builder.on_event(Arc::new(on_event)).build()
    }
}
