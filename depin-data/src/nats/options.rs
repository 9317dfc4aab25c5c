//! Where a NATS server is, and who we are to it.

use std::{fmt, path::PathBuf, time::Duration};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use depin_core::{Error, ErrorKind, Result};

use crate::tls::{self, Certificates};

/// How to reach a NATS server, or several of a cluster.
///
/// A URL is `nats://host:port`, or `tls://host:port` to insist on TLS: then with each server that is named here,
/// whatever its URL says. Connections come back by themselves after a loss, and to these servers only: what a server
/// tells of others comes in the clear, before TLS, and whoever speaks there would be given our login. So name them
/// all, with [`or`](Self::or).
///
/// ```
/// use depin_data::nats::NatsOptions;
///
/// let options = NatsOptions::new("nats://127.0.0.1:4222").password("station", "secret");
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct NatsOptions {
    servers: Vec<String>,
    name: Option<String>,
    login: Login,
    certificates: Certificates,
}

/// Who we are to the server.
#[derive(Clone, Default)]
enum Login {
    #[default]
    Nobody,
    Password(String, String),
    Token(String),
    NKey(String),
    Credentials(String),
}

impl NatsOptions {
    /// Connects to the server at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            servers: vec![url.into()],
            name: None,
            login: Login::default(),
            certificates: Certificates::default(),
        }
    }

    /// Another server of the same cluster. None is found that is not named.
    #[must_use]
    pub fn or(mut self, url: impl Into<String>) -> Self {
        self.servers.push(url.into());
        self
    }

    /// The name that the server shows for the connection.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Logs in with a user and a password.
    #[must_use]
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Login::Password(user.into(), password.into());
        self
    }

    /// Logs in with a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.login = Login::Token(token.into());
        self
    }

    /// Logs in by signing the server's challenge with the seed (`SU..`) of an nkey.
    #[must_use]
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.login = Login::NKey(seed.into());
        self
    }

    /// Logs in with the text of a `.creds` file: a JWT and its nkey.
    #[must_use]
    pub fn credentials(mut self, text: impl Into<String>) -> Self {
        self.login = Login::Credentials(text.into());
        self
    }

    /// Trusts the authorities in a PEM file in place of the system's, and those of further files, and insists on
    /// TLS.
    #[must_use]
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificates.trust(path.into());
        self
    }

    /// Shows the server who we are, with the certificate in a PEM file and its key in another, and insists on TLS.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificates.show(certificate.into(), key.into());
        self
    }

    fn addresses(&self) -> Result<Vec<ServerAddr>> {
        let parse = |url: &String| {
            url.parse().map_err(|error| {
                let why = "nats needs a url such as nats://host:port";
                Error::new(ErrorKind::Config, why).source(error)
            })
        };
        self.servers.iter().map(parse).collect()
    }

    /// What holds of each connection; with TLS on all of them, or only where a server asks for it.
    fn dial(&self, secure: bool) -> Result<ConnectOptions> {
        let options = match self.login.clone() {
            Login::Nobody => ConnectOptions::new(),
            Login::Password(user, password) => {
                ConnectOptions::with_user_and_password(user, password)
            }
            Login::Token(token) => ConnectOptions::with_token(token),
            Login::NKey(seed) => ConnectOptions::with_nkey(seed),
            Login::Credentials(text) => {
                ConnectOptions::with_credentials(&text).map_err(|error| {
                    let why = "the nats credentials are no .creds file; pass the file's text";
                    Error::new(ErrorKind::Config, why).source(error)
                })?
            }
        };
        let options = options.ping_interval(PING).name(self.name.as_deref().unwrap_or("depin"));
        // Said also where we do not ask for TLS: the server may.
        let options = options.tls_client_config(self.certificates.client()?);
        Ok(options.require_tls(secure).ignore_discovered_servers())
    }
}

/// How soon a connection that died silently is noticed (two of them).
const PING: Duration = Duration::from_secs(15);

/// Connects, with at most `waiting` messages that a subscription has not yet handled: what comes on top
/// is dropped.
///
/// # Errors
/// [`ErrorKind::Config`] for a URL, credentials or certificates that cannot be read, or a server that we do not trust,
/// [`ErrorKind::Rejected`] when the server does not let us in, [`ErrorKind::Unavailable`] when there is no
/// server.
pub(crate) async fn connect(options: &NatsOptions, waiting: usize) -> Result<Client> {
    connect_as(options, |dial| dial.subscription_capacity(waiting)).await
}

/// Connects as `tune` says beside the options.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_as(
    options: &NatsOptions,
    tune: impl FnOnce(ConnectOptions) -> ConnectOptions,
) -> Result<Client> {
    let servers = options.addresses()?;
    let secure = !options.certificates.is_default() || servers.iter().any(ServerAddr::tls_required);
    let dial = tune(options.dial(secure)?);
    dial.connect(servers).await.map_err(|error| {
        let (kind, why) = tls::explain(&error).unwrap_or_else(|| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                (ErrorKind::Rejected, "the nats server does not let us in; check the credentials")
            }
            ConnectErrorKind::ServerParse | ConnectErrorKind::Tls => (
                ErrorKind::Config,
                "the nats connection cannot be set up; check url and certificates",
            ),
            _ => (ErrorKind::Unavailable, "no nats server answers; start it or check the url"),
        });
        Error::new(kind, why).source(error)
    })
}

impl fmt::Debug for NatsOptions {
    /// Without the login, and without URLs, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("servers", &self.servers.len())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
