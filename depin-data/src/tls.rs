//! TLS to brokers: whom we trust, who we are, and what is wrong when it fails.
//!
//! Its cryptography is ring's, and is said here: rustls would look for it in the whole process, and panic where
//! the program compiles a second one.

use std::{error::Error as StdError, io, path::PathBuf};

use depin_core::ErrorKind;

#[cfg(any(feature = "nats", feature = "tls"))]
pub(crate) use rustls::explain;

/// The certificates of both sides, in PEM files that are read when a connection is set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    /// Authorities to trust in place of the system's.
    roots: Vec<PathBuf>,
    /// Our certificate, with those between it and its authority, and its key.
    ours: Option<(PathBuf, PathBuf)>,
}

impl Certificates {
    pub(crate) fn trust(&mut self, authorities: PathBuf) {
        self.roots.push(authorities);
    }

    pub(crate) fn show(&mut self, certificate: PathBuf, key: PathBuf) {
        self.ours = Some((certificate, key));
    }

    /// Whether nothing is asked for but what the system has.
    pub(crate) fn is_default(&self) -> bool {
        self.roots.is_empty() && self.ours.is_none()
    }
}

/// What a connection that failed over TLS is called, and what helps.
pub(crate) type Verdict = (ErrorKind, &'static str);

#[cfg(not(any(feature = "nats", feature = "tls")))]
pub(crate) fn explain(_: &(dyn StdError + 'static)) -> Option<Verdict> {
    None
}

/// Whether the other side ended a connection that it had taken.
#[cfg(feature = "mqtt")]
pub(crate) fn hung_up(error: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ended = |error: &io::Error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
    };
    find(error).is_some_and(ended)
}

/// The first error of a kind that is behind `error`, or is it.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    // What an error of input and output wraps is not its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => find(inner),
        None => error.source().and_then(find),
    }
}

#[cfg(any(feature = "nats", feature = "tls"))]
mod rustls {
    use std::{error::Error as StdError, path::Path, sync::Arc};

    use depin_core::{Error, ErrorKind, Result};
    use tokio_rustls::rustls::{
        AlertDescription, CertificateError, ClientConfig, Error as Failure, RootCertStore,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
    };

    use super::{Certificates, Verdict};

    impl Certificates {
        /// What rustls is to do.
        ///
        /// # Errors
        /// [`ErrorKind::Config`] when a file cannot be read, or key and certificate are no pair.
        pub(crate) fn client(&self) -> Result<ClientConfig> {
            let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(unusable)?
                .with_root_certificates(self.trusted()?);
            let Some((certificate, key)) = &self.ours else {
                return Ok(client.with_no_client_auth());
            };
            let certificates = read(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
            client.with_client_auth_cert(certificates, key).map_err(unusable)
        }

        /// Nobody, where neither the system nor we have anybody: then every certificate is a stranger's.
        fn trusted(&self) -> Result<RootCertStore> {
            let mut trusted = RootCertStore::empty();
            if self.roots.is_empty() {
                let system = rustls_native_certs::load_native_certs();
                trusted.add_parsable_certificates(system.certs);
            }
            for path in &self.roots {
                for authority in read(path)? {
                    trusted.add(authority).map_err(unusable)?;
                }
            }
            Ok(trusted)
        }
    }

    fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(path, error))?;
        if certificates.is_empty() {
            return Err(unreadable(path, pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }

    fn unreadable(path: &Path, error: pem::Error) -> Error {
        let why = "a file for tls cannot be read; it must hold certificates, or one key, as PEM";
        Error::new(ErrorKind::Config, why).with("file", path.display()).source(error)
    }

    fn unusable(error: Failure) -> Error {
        let why = "tls cannot be set up; check that the key is that of the client certificate";
        Error::new(ErrorKind::Config, why).source(error)
    }

    /// What went wrong with TLS, if that is what went wrong.
    pub(crate) fn explain(error: &(dyn StdError + 'static)) -> Option<Verdict> {
        Some(match super::find(error)? {
            Failure::InvalidCertificate(error) => (ErrorKind::Config, untrusted(error)),
            Failure::AlertReceived(alert) => refused(*alert),
            Failure::InvalidMessage(_) => (
                ErrorKind::Config,
                "what answers does not speak tls; check the port, or use a url without tls",
            ),
            _ => (ErrorKind::Config, "tls fails; check that both sides speak tls 1.2 or 1.3"),
        })
    }

    const fn untrusted(error: &CertificateError) -> &'static str {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
            NotValidYet, NotValidYetContext, UnknownIssuer,
        };
        match error {
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                "the broker's certificate is not valid now; renew it, or set the clock of this machine"
            }
            NotValidForName | NotValidForNameContext { .. } => {
                "the broker's certificate is for another name; connect to a name that it is for"
            }
            // By an authority of the same name, perhaps.
            BadSignature | UnknownIssuer => {
                "the broker's certificate is from nobody we trust; name its authority's with root_certificates"
            }
            _ => "the broker's certificate cannot be trusted; replace it",
        }
    }

    const fn refused(alert: AlertDescription) -> Verdict {
        use AlertDescription::{
            AccessDenied, BadCertificate, CertificateExpired, CertificateRequired,
            CertificateRevoked, CertificateUnknown, HandshakeFailure, UnknownCA,
            UnsupportedCertificate,
        };
        match alert {
            CertificateRequired => (
                ErrorKind::Rejected,
                "the broker asks for a certificate of ours; name one with client_certificate",
            ),
            // What is said in TLS 1.2 of a certificate that is missing, and of anything else.
            HandshakeFailure => (
                ErrorKind::Rejected,
                "the broker breaks off the handshake; name a client_certificate if it wants one, or let it speak tls 1.3, or 1.2 with ecdhe ciphers",
            ),
            AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRevoked
            | CertificateUnknown
            | UnknownCA
            | UnsupportedCertificate => (
                ErrorKind::Rejected,
                "the broker does not take our certificate; name another with client_certificate",
            ),
            _ => (
                ErrorKind::Config,
                "the broker refuses tls; check that both sides speak 1.2 or 1.3",
            ),
        }
    }
}
