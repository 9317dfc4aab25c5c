//! Ready-made fillings of a network's slots.
//!
//! A preset fills what a network needs to run somewhere; the builder then replaces slots one by one.

#[cfg(feature = "evm")]
use std::{io::Write as _, path::Path};
use std::{path::PathBuf, sync::Arc};

#[cfg(feature = "devnet")]
use depin_core::SoftwareKey;
use depin_core::{Clock, Signer, SystemClock, evidence::EvidenceVerifier, log::BatchLog};
#[cfg(feature = "evm")]
use depin_core::{Error, ErrorKind, Result};
#[cfg(feature = "evm")]
use depin_data::log::RedbLog;
#[cfg(feature = "devnet")]
use depin_hw::PsaVerifier;

/// What a preset fills.
///
/// ```
/// # #[cfg(feature = "devnet")]
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin::{Network, payment::ProRata, presets, tokens};
///
/// let network = Network::builder(presets::devnet().await?).rewards(ProRata::per_epoch(tokens(10))).build().await?;
/// assert_eq!(network.id().as_str(), "devnet");
/// # Ok::<(), depin::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Preset {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) verifier: Arc<dyn EvidenceVerifier>,
    pub(crate) log: Arc<dyn BatchLog>,
    pub(crate) operator: Arc<dyn Signer>,
    #[cfg(feature = "evm")]
    pub(crate) chain: Option<depin_evm::Chain>,
    #[cfg(feature = "evm")]
    pub(crate) deployment: Option<depin_evm::Deployment>,
    #[cfg(feature = "devnet")]
    pub(crate) devnet: Option<depin_devnet::Devnet>,
    pub(crate) folder: Option<PathBuf>,
}

#[cfg(feature = "devnet")]
impl Preset {
    /// The embedded chain, where there is one: for accounts of your own on it, or its clock.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let preset = depin::presets::devnet().await?;
    /// assert!(preset.embedded().is_some_and(|devnet| devnet.addresses().len() > 2));
    /// # Ok::<(), depin::Error>(())
    /// # }).unwrap();
    /// ```
    pub const fn embedded(&self) -> Option<&depin_devnet::Devnet> {
        self.devnet.as_ref()
    }
}

/// Only what every network has, without a chain: the builder is then given registry, distributor and
/// token. `operator` signs receipts and must be the same at every start.
pub fn bare(
    log: impl BatchLog + 'static,
    verifier: impl EvidenceVerifier + 'static,
    operator: impl Signer + 'static,
) -> Preset {
    Preset {
        clock: Arc::new(SystemClock),
        verifier: Arc::new(verifier),
        log: Arc::new(log),
        operator: Arc::new(operator),
        #[cfg(feature = "evm")]
        chain: None,
        #[cfg(feature = "evm")]
        deployment: None,
        #[cfg(feature = "devnet")]
        devnet: None,
        folder: None,
    }
}

/// Everything in this process and in memory: an Ethereum chain, the contracts, a log.
///
/// For development: keys are public knowledge, and simulated roots of trust are allowed by name.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the chain cannot be reached, which would be a defect.
#[cfg(feature = "devnet")]
pub async fn devnet() -> Result<Preset> {
    on_devnet(depin_devnet::Devnet::start(), RedbLog::open_in_memory()?).await
}

/// As [`devnet`], kept in a folder: after a restart, even after a crash, the same network goes on.
///
/// The log is durable batch by batch; the chain is written after every enrollment, closed epoch and
/// round of claims.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the folder cannot be used, [`ErrorKind::Corrupt`] when what it holds
/// is damaged.
#[cfg(feature = "devnet")]
pub async fn devnet_at(folder: impl AsRef<Path>) -> Result<Preset> {
    let folder = folder.as_ref().to_owned();
    std::fs::create_dir_all(&folder).map_err(|error| unusable(&folder, error))?;
    let state = folder.join(CHAIN_FILE);
    let devnet = if state.exists() {
        depin_devnet::Devnet::load(&state).map_err(|error| {
            let message =
                "the stored chain cannot be read; restore the file or start with an empty folder";
            Error::new(ErrorKind::Corrupt, message).with("file", state.display()).source(error)
        })?
    } else {
        depin_devnet::Devnet::start()
    };
    let mut preset = on_devnet(devnet, RedbLog::open(folder.join("log"))?).await?;
    preset.deployment = read_deployment(&folder)?;
    preset.folder = Some(folder);
    Ok(preset)
}

#[cfg(feature = "devnet")]
async fn on_devnet(devnet: depin_devnet::Devnet, log: RedbLog) -> Result<Preset> {
    // Nobody else mines there, so what it has is final.
    let chain = depin_evm::Chain::from_provider(devnet.provider(), devnet.account(0));
    let chain = chain.reorg_depth(0).connect().await?;
    let policy = depin_hw::Policy::default().allow_simulated(depin_hw::SIMULATED_INSECURE);
    let verifier = PsaVerifier::new(policy);
    let operator = SoftwareKey::from_seed(
        depin_core::Algorithm::Es256k,
        depin_core::keccak256("depin devnet operator").0,
    );
    let mut preset = bare(log, verifier, operator);
    preset.chain = Some(chain);
    preset.devnet = Some(devnet);
    Ok(preset)
}

/// On a chain that others can see, with log and deployment in a folder.
///
/// Contracts are deployed by the chain's account at the first start. `verifier` decides which hardware
/// may join; `operator` signs receipts and must be the same at every start.
///
/// # Errors
/// As [`devnet_at`].
#[cfg(feature = "evm")]
pub fn chain(
    chain: depin_evm::Chain,
    folder: impl AsRef<Path>,
    verifier: impl EvidenceVerifier + 'static,
    operator: impl Signer + 'static,
) -> Result<Preset> {
    let folder = folder.as_ref().to_owned();
    std::fs::create_dir_all(&folder).map_err(|error| unusable(&folder, error))?;
    let mut preset = bare(RedbLog::open(folder.join("log"))?, verifier, operator);
    preset.chain = Some(chain);
    preset.deployment = read_deployment(&folder)?;
    preset.folder = Some(folder);
    Ok(preset)
}

/// Where [`devnet_at`] keeps the chain.
#[cfg(feature = "devnet")]
pub(crate) const CHAIN_FILE: &str = "chain.devnet";
#[cfg(feature = "evm")]
const DEPLOYMENT_FILE: &str = "deployment.json";

#[cfg(feature = "evm")]
fn read_deployment(folder: &Path) -> Result<Option<depin_evm::Deployment>> {
    let path = folder.join(DEPLOYMENT_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&path, error)),
    };
    let damaged = |error| {
        Error::new(ErrorKind::Corrupt, "the stored deployment is no JSON of ours; restore the file")
            .with("file", path.display())
            .source(error)
    };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// Keeps the addresses of the contracts beside the log.
#[cfg(feature = "evm")]
pub(crate) fn write_deployment(folder: &Path, deployment: &depin_evm::Deployment) -> Result<()> {
    let path = folder.join(DEPLOYMENT_FILE);
    let text = serde_json::to_string_pretty(deployment).map_err(|error| {
        Error::new(ErrorKind::Overflow, "the deployment cannot be written").source(error)
    })?;
    let fresh = path.with_extension("json.new");
    // Flushed before it is renamed: after a loss of power a name must not lead to an empty file.
    let written = std::fs::File::create(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, &path))
        .and_then(|()| std::fs::File::open(folder)?.sync_all());
    written.map_err(|error| unusable(&path, error))
}

#[cfg(feature = "evm")]
fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable("the file or folder cannot be used; check that it exists and may be written")
        .with("path", path.display())
        .source(error)
}
