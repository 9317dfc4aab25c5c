//! Credentials: what somebody says about a device, and whether it still holds.
//!
//! W3C Verifiable Credentials Data Model 2.0 with Data Integrity proofs ([`Credential`],
//! [`Presentation`]), Bitstring Status List 1.0 ([`status`]) and SD-JWT VC ([`sd_jwt`]). One
//! [`CredentialVerifier`] decides over all of them. It is told everything that it rests on, fetches
//! nothing but DID documents, and accepts nothing that it does not know: an issuer that nobody named, a
//! list that is not at hand or stale, a member that restricts use in a way it does not understand.
//!
//! # A credential's life
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use core::time::Duration;
//! use depin_core::{Algorithm, DidUrl, Signer, SoftwareKey, Timestamp};
//! use depin_identity::{
//!     Resolver,
//!     credentials::{
//!         Challenge, Credential, CredentialVerifier, Presentation,
//!         status::{PublishedList, Purpose, StatusEntry, StatusList, StatusLists},
//!     },
//!     json::object,
//!     methods::key,
//! };
//!
//! let (now, day) = (Timestamp::from_secs(1_700_000_000), Duration::from_secs(86_400));
//! let (maker, station) = (
//!     SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]),
//!     SoftwareKey::from_seed(Algorithm::Es256, [2; 32]),
//! );
//! let (maker_did, station_did) =
//!     (key::did_key(maker.public_key()), key::did_key(station.public_key()));
//! let maker_key = DidUrl::parse(&format!("{maker_did}#{}", maker_did.id()))?;
//! let station_key = DidUrl::parse(&format!("{station_did}#{}", station_did.id()))?;
//!
//! // The maker publishes a list in which nothing is revoked, and says what the station is.
//! let id = "https://maker.example/status/3";
//! let bits = StatusList::new(StatusList::MIN_ENTRIES)?;
//! let list = PublishedList::new(id, maker_did.clone(), Purpose::Revocation, bits, now, day);
//! let published = list.issue(&maker, &maker_key)?.to_string();
//! let credential = Credential::builder(&maker_did)
//!     .kind("StationCredential")
//!     .valid_from(now)
//!     .valid_until(now.plus(365 * day))
//!     .subject(object([("id", station_did.as_str()), ("model", "Pebble 2")]))
//!     .status(&StatusEntry::new(id, 94_567, Purpose::Revocation))
//!     .build()?
//!     .issue(&maker, &maker_key, now)?;
//!
//! // The station shows it to a service that asked.
//! let challenge = Challenge::new("n-0S6_WzA2Mj", "service.example");
//! let shown = Presentation::new(station_did.clone())
//!     .credential(credential)
//!     .sign(&station, &station_key, &challenge, now)?
//!     .to_string();
//!
//! // The service trusts the maker and has fetched its list.
//! let resolver = Resolver::new();
//! let verifier = CredentialVerifier::new(&resolver, now)
//!     .trust(maker_did)
//!     .expect_type("StationCredential");
//! let mut lists = StatusLists::new();
//! lists.insert(PublishedList::verify(published.as_bytes(), &verifier).await?)?;
//! let presented =
//!     verifier.clone().lists(&lists).verify_presentation(shown.as_bytes(), &challenge).await?;
//! assert_eq!(presented.holder, station_did);
//! assert_eq!(presented.credentials[0].subjects()[0].text("model"), Some("Pebble 2"));
//!
//! // Without the list nobody knows, so the answer is an error that says so.
//! let unknown = verifier.verify_presentation(shown.as_bytes(), &challenge).await.unwrap_err();
//! assert!(unknown.could_not_check());
//!
//! // The maker revokes; the same presentation is refused from then on.
//! lists.insert(list.update([(94_567, true)], now.plus(Duration::from_secs(1)), day)?)?;
//! let later = CredentialVerifier::new(&resolver, now.plus(Duration::from_secs(2)))
//!     .trust_if(&|_| true)
//!     .lists(&lists);
//! let refused = later.verify_presentation(shown.as_bytes(), &challenge).await.unwrap_err();
//! assert_eq!(refused.to_string(), "the credential is under revocation");
//! # Ok::<(), depin_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! A device that is rarely online keeps its list current with [signed deltas](status::delta). Claims
//! that only some should see belong into an [SD-JWT](sd_jwt::SdJwt::builder).

mod challenge;
mod credential;
mod error;
mod key;
mod presentation;
mod proof;
pub mod sd_jwt;
pub mod status;
mod verifier;

pub use challenge::Challenge;
pub use credential::{CONTEXT, Credential, CredentialBuilder, MAX_ENTRIES, TYPE};
pub use error::CredentialError;
pub use presentation::{MAX_CREDENTIALS, Presentation, Presented};
pub use verifier::CredentialVerifier;
