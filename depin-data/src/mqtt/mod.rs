//! Batches and answers through an MQTT broker, in MQTT 3.1.1 and MQTT 5.
//!
//! | topic | who publishes | what |
//! |---|---|---|
//! | `depin/v1/<network>/<tag>/up` | the device | [requests](crate::wire), QoS 1 |
//! | `depin/v1/<network>/<tag>/down` | ingest | [answers](crate::wire), QoS 1 |
//!
//! `<tag>` is the [`device_tag`](crate::wire::device_tag): a hash of the DID. In MQTT 5 a request also
//! carries the response topic and, as correlation data, its nonce, which comes back with the answer;
//! nothing depends on them.
//!
//! | event | what happens |
//! |---|---|
//! | the answer is lost, or the broker restarts without its memory | the device sends again; the log knows the batch and gives its receipt again |
//! | ingest cannot answer (its log is full, its registry does not answer) | the message is not acknowledged for [five minutes](MqttServing::patience); the server tries again, and the broker holds back what is more than may be under way |
//! | registry or log give no answer at all for a device | an [attempt](MqttServing::attempt) ends after ten seconds and is made again later, in turn with those of others; only what the same device sends on the same topic waits behind it |
//! | a device sends more than its share | no answer; the device sends again, each time later |
//! | one sender makes his own work slow (names that nobody registered, say) | his topic has a 16th of the places; more from it is acknowledged without an answer and [counted](crate::observe). Give each sender the right to his own topic only: who may publish on all has all places |
//! | the server dies | the broker gives what was not acknowledged to others of the group, or to the same [name](MqttServing::name) when it is back |
//! | many servers | they share the work in a [group](MqttServing::group) (`$share`), which mosquitto has for 3.1.1 too; those of one device may then come to different servers |
//! | somebody publishes as another device | the signature of the batch decides, nothing else |
//! | somebody answers in place of ingest | it does not verify and is ignored; the device goes on waiting |
//! | a message that is no request | refused as malformed and kept with its bytes, as from anywhere |
//! | a message that is larger than a request may be (65 KiB) | refused as too large and kept, cut, as from anywhere; a device that would send one is told before ([`ErrorKind::Limit`](depin_core::ErrorKind::Limit)) |
//! | a message of more than 1 MiB | never read. A broker of MQTT 5 drops it. In 3.1.1 the server cannot pass over it: it begins a new session without it, once for each, and what the broker held back meanwhile is sent again by the devices that wait for answers. Let the broker refuse such messages (mosquitto: `message_size_limit 1048576`) |
//!
//! # TLS
//!
//! `mqtts://` URLs, and options that [name certificates](MqttOptions::root_certificates), are for brokers over TLS 1.2 or
//! 1.3 (feature `tls`), at port 8883 unless another is said. The broker's certificate has to be for the host that is named, valid now, and from an authority
//! of the system or, where authorities are named, one of these; otherwise nothing is sent, and
//! [`ErrorKind::Config`](depin_core::ErrorKind::Config) says which of these it is. Files are read once, when connecting:
//! connect again after they are renewed.
//!
//! What is *not* guaranteed: a broker may withhold messages, and reads everything; without TLS so does whoever is on the
//! way, logins included. Access rules of the broker should let a device publish on its `up` and read its `down` only, so
//! that others cannot spend its time.
//!
//! Only batches, questions where a chain stands, and their answers go this way. Signed heads, and paths that show that the log only grew or holds a
//! batch, are served over [HTTP](crate::http) alone: who has no way there keeps receipts for somebody who has.
//!
//! ```
//! use depin_core::ErrorKind;
//! use depin_data::mqtt::MqttOptions;
//! # use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
//! # use depin_data::{mqtt::MqttTransport, receipt::ReceiptVerifier};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! # let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
//! # let receipts = ReceiptVerifier::new(&NetworkId::parse("climate")?, key.public_key());
//! let nobody = MqttOptions::new("127.0.0.1", 9);
//! let did = "did:example:station".parse()?;
//! let error = MqttTransport::connect(&nobody, &did, receipts, &mut rand::thread_rng()).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Unavailable);
//! # Ok::<(), depin_data::Error>(())
//! # }).unwrap();
//! ```

mod client;
mod link;
mod options;
mod server;
mod topics;

pub use client::MqttTransport;
pub use options::{MqttOptions, MqttVersion};
pub use server::{MqttServer, MqttServing, serve};
