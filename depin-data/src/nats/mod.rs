//! Batches and answers through a NATS server, which need not have JetStream for it.
//!
//! | subject | who publishes | what |
//! |---|---|---|
//! | `depin.v1.<network>.<tag>.up` | the device | [requests](crate::wire), with a reply subject |
//! | the reply subject (`_INBOX..`) | ingest | [answers](crate::wire) |
//!
//! `<tag>` is the [`device_tag`](crate::wire::device_tag): a hash of the DID.
//!
//! | event | what happens |
//! |---|---|
//! | request or answer is lost, the server or ingest restarts | the device sends again; the log knows the batch and gives its receipt again |
//! | ingest cannot answer (its log is full, its registry does not answer) | the server tries again for [a while](NatsServing::patience), then the device does |
//! | registry or log give no answer at all for a device | an [attempt](NatsServing::attempt) ends after ten seconds and is made again later, in turn with those of others; only what the same device sends on the same subject waits behind it |
//! | a device sends more than its share | no answer; the device sends again, each time later |
//! | more than [`waiting`](NatsServing::waiting) messages | the rest is dropped and [counted](crate::observe), and the devices send it again |
//! | one sender makes his own work slow (names that nobody registered, say) | his subject has a 16th of the places; more from it is dropped and counted. Give each sender the right to his own subject only: who may publish on all has all places |
//! | a flood of messages as large as the server lets through | each is cut to what a request may have (65 KiB) before it waits; 64 whole ones may lie between, so at most 64 times the server's `max_payload` (64 MiB, unless it says otherwise) |
//! | many servers | they share the work in a queue [group](NatsServing::group); those of one device may then come to different servers |
//! | somebody publishes as another device | the signature of the batch decides, nothing else |
//! | somebody on the way names servers of his own | they are never dialled: only those of [`NatsOptions`] are, and after a `tls://` URL none of them in the clear |
//! | somebody answers in place of ingest | it does not verify and is ignored; the device goes on waiting |
//! | a message that is no request | refused as malformed and kept with its bytes, as from anywhere |
//!
//! What is *not* guaranteed: the server keeps nothing, so what comes while no ingest listens is not there
//! later: the device has it, and sends it again. TLS is used for `tls://` URLs, with certificates of our own, and where the
//! server asks for it. A device needs the rights
//! to publish on its `up` and to read its inbox; ingest to read `depin.v1.<network>.*.up` and to answer
//! (`allow_responses`).
//!
//! Only batches, questions where a chain stands, and their answers go this way. Signed heads, and paths that show that the log only grew or holds a
//! batch, are served over [HTTP](crate::http) alone: who has no way there keeps receipts for somebody who has.
//!
//! ```
//! use depin_core::ErrorKind;
//! use depin_data::nats::NatsOptions;
//! # use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
//! # use depin_data::{nats::NatsTransport, receipt::ReceiptVerifier};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! # let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
//! # let receipts = ReceiptVerifier::new(&NetworkId::parse("climate")?, key.public_key());
//! let nobody = NatsOptions::new("nats://127.0.0.1:9");
//! let did = "did:example:station".parse()?;
//! let error = NatsTransport::connect(&nobody, &did, receipts, &mut rand::thread_rng()).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Unavailable);
//! # Ok::<(), depin_data::Error>(())
//! # }).unwrap();
//! ```

mod client;
mod options;
mod server;

pub use client::NatsTransport;
pub use options::NatsOptions;
pub(crate) use options::connect_as;
pub use server::{NatsServer, NatsServing, serve};
