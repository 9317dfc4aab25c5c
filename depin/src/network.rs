//! A composed network: the handle that everything else hangs on.

use std::{fmt, sync::Arc};

use depin_core::{
    Amount, Clock, Did, Error, ErrorKind, NetworkEvent, NetworkId, PublicKey, Result,
    evidence::EvidenceVerifier,
    log::BatchLog,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus},
    resolution::DidResolver,
    reward::{RewardDistributor, TokenLedger},
};
use depin_data::ingest::Ingest;
use depin_hw::Nonces;
use tokio::sync::{Mutex, broadcast};

use crate::{books::Books, builder::Builder, events::Events, presets::Preset, rules::Rules};

/// A running network. Cloning is cheap and shares everything.
///
/// Made by [`Network::builder`]; see the crate's documentation for the whole journey.
#[derive(Clone)]
pub struct Network(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: NetworkId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) verifier: Arc<dyn EvidenceVerifier>,
    pub(crate) resolver: Arc<dyn DidResolver>,
    pub(crate) log: Arc<dyn BatchLog>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) log_key: PublicKey,
    pub(crate) rules: Rules,
    pub(crate) ledgers: Ledgers,
    /// Whether a chip has one identity at most.
    pub(crate) chips_once: bool,
    pub(crate) nonces: std::sync::Mutex<Nonces>,
    pub(crate) books: Mutex<Books>,
    pub(crate) events: broadcast::Sender<NetworkEvent>,
}

/// What lies on a chain, or on whatever takes its place.
pub(crate) struct Ledgers {
    pub(crate) registry: Arc<dyn DeviceRegistry>,
    pub(crate) distributor: Arc<dyn RewardDistributor>,
    pub(crate) token: Arc<dyn TokenLedger>,
    #[cfg(feature = "evm")]
    pub(crate) deployment: Option<depin_evm::Deployment>,
    #[cfg(feature = "evm")]
    pub(crate) chain: Option<depin_evm::Chain>,
    /// What issues what is emitted, where the distributor is that of the deployment.
    #[cfg(feature = "evm")]
    pub(crate) source: Option<crate::source::Source>,
    /// The embedded chain and the folder it is kept in.
    #[cfg(feature = "devnet")]
    pub(crate) devnet: Option<(depin_devnet::Devnet, std::path::PathBuf)>,
    /// One file is written at a time, so that an older state never replaces a newer one.
    #[cfg(feature = "devnet")]
    writing: Arc<std::sync::Mutex<()>>,
}

impl Ledgers {
    pub(crate) fn new(
        registry: Arc<dyn DeviceRegistry>,
        distributor: Arc<dyn RewardDistributor>,
        token: Arc<dyn TokenLedger>,
    ) -> Self {
        Self {
            registry,
            distributor,
            token,
            #[cfg(feature = "evm")]
            deployment: None,
            #[cfg(feature = "evm")]
            chain: None,
            #[cfg(feature = "evm")]
            source: None,
            #[cfg(feature = "devnet")]
            devnet: None,
            #[cfg(feature = "devnet")]
            writing: Arc::default(),
        }
    }

    /// Waits until the chain has whatever was sent to it.
    pub(crate) async fn settle(&self) -> Result<()> {
        #[cfg(feature = "evm")]
        if let Some(chain) = &self.chain {
            return chain.settle().await;
        }
        Ok(())
    }

    /// All that may have been emitted until now, where a contract of ours says so.
    pub(crate) async fn granted(&self) -> Result<Option<Amount>> {
        #[cfg(feature = "evm")]
        if let Some(source) = &self.source {
            return source.granted().await;
        }
        Ok(None)
    }

    /// Writes the embedded chain to its folder, if it has one: a chain elsewhere keeps itself.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        #[cfg(feature = "devnet")]
        if let Some((devnet, folder)) = self.devnet.clone() {
            let path = folder.join(crate::presets::CHAIN_FILE);
            let failed = || {
                Error::unavailable(
                    "the embedded chain could not be written; free space and try again",
                )
            };
            let writing = self.writing.clone();
            // The turn is taken on the writing thread, which goes on when a caller stops waiting.
            let dump = move || {
                let _turn = writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                devnet.dump(&path)
            };
            let written = tokio::task::spawn_blocking(dump).await;
            written
                .map_err(|error| failed().source(error))?
                .map_err(|error| failed().source(error))?;
        }
        Ok(())
    }
}

impl Network {
    /// Starts composing a network from a preset, whose slots can be replaced one by one.
    pub fn builder(preset: Preset) -> Builder {
        Builder::new(preset)
    }

    /// The name that every signature in this network covers.
    pub fn id(&self) -> &NetworkId {
        &self.0.id
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The ledger of devices.
    pub fn registry(&self) -> &Arc<dyn DeviceRegistry> {
        &self.0.ledgers.registry
    }

    /// Finds DID documents: did:key, and did:io from the registry.
    pub fn resolver(&self) -> &Arc<dyn DidResolver> {
        &self.0.resolver
    }

    /// The durable record of batches.
    pub fn log(&self) -> &Arc<dyn BatchLog> {
        &self.0.log
    }

    /// The door for batches, for transports of your own.
    pub fn ingest(&self) -> &Arc<Ingest> {
        &self.0.ingest
    }

    /// The key that signs receipts.
    pub fn log_key(&self) -> &PublicKey {
        &self.0.log_key
    }

    /// Verifies receipts, and whatever else the log says to devices.
    pub fn receipts(&self) -> depin_data::receipt::ReceiptVerifier {
        depin_data::receipt::ReceiptVerifier::new(self.id(), self.log_key())
    }

    /// The payer of rewards.
    pub fn distributor(&self) -> &Arc<dyn RewardDistributor> {
        &self.0.ledgers.distributor
    }

    /// The network's token.
    pub fn token(&self) -> &Arc<dyn TokenLedger> {
        &self.0.ledgers.token
    }

    /// The contracts of this network, where it has some on a chain.
    #[cfg(feature = "evm")]
    pub fn deployment(&self) -> Option<&depin_evm::Deployment> {
        self.0.ledgers.deployment.as_ref()
    }

    /// The account that this network sends its transactions from, where it has ledgers on a chain. Whatever else is
    /// sent from that account has to go through this handle, which gives out its nonces: a pause, a role, a payroll.
    #[cfg(feature = "evm")]
    pub fn chain(&self) -> Option<&depin_evm::Chain> {
        self.0.ledgers.chain.as_ref()
    }

    /// The record of a device.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](ErrorKind::NotFound) when it was never enrolled.
    pub async fn device(&self, did: &Did) -> Result<DeviceRecord> {
        self.0.ledgers.registry.device(did).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the device is not enrolled; call enroll first")
                .with("did", did)
        })
    }

    /// Suspends, resumes or revokes a device; ingest goes by it from the next batch on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it was never enrolled, or whatever the
    /// registry objects to.
    pub async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        self.0.ledgers.registry.set_status(did, status).await?;
        self.0.ingest.forget(did);
        self.0.ledgers.checkpoint().await
    }

    /// Subscribes to what happens from now on.
    pub fn events(&self) -> Events {
        Events(self.0.events.subscribe())
    }

    /// Serves ingest over HTTP, for devices on other machines. Stops when the server is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the address cannot be bound.
    #[cfg(feature = "http")]
    pub async fn serve(
        &self,
        address: std::net::SocketAddr,
    ) -> Result<depin_data::http::HttpServer> {
        depin_data::http::serve(self.0.ingest.clone(), address).await
    }

    /// Serves ingest through an MQTT broker, as [`depin_data::mqtt`] describes.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the broker does not let us in,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when there is none,
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when TLS cannot be set up, or its certificate is not trusted.
    #[cfg(feature = "mqtt")]
    pub async fn serve_mqtt(
        &self,
        options: &depin_data::mqtt::MqttOptions,
        serving: depin_data::mqtt::MqttServing,
    ) -> Result<depin_data::mqtt::MqttServer> {
        depin_data::mqtt::serve(self.0.ingest.clone(), options, serving).await
    }

    /// Serves ingest through a NATS server, as [`depin_data::nats`] describes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for options that cannot be read,
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the server does not let us in,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when there is none.
    #[cfg(feature = "nats")]
    pub async fn serve_nats(
        &self,
        options: &depin_data::nats::NatsOptions,
        serving: depin_data::nats::NatsServing,
    ) -> Result<depin_data::nats::NatsServer> {
        depin_data::nats::serve(self.0.ingest.clone(), options, serving).await
    }

    pub(crate) fn emit(&self, event: NetworkEvent) {
        // Nobody listening is fine.
        let _ = self.0.events.send(event);
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("id", &self.0.id)
            .field("registry", &self.0.ledgers.registry)
            .field("log", &self.0.log)
            .field("rules", &self.0.rules)
            .finish_non_exhaustive()
    }
}
