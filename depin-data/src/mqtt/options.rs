//! Where a broker is, and what is asked of it.

use std::{borrow::Cow, fmt, path::PathBuf, time::Duration};

use depin_core::{Error, ErrorKind, Result};
use http::Uri;
use percent_encoding::percent_decode_str;

use crate::tls::Certificates;

/// Which MQTT is spoken. Devices and servers of one network may differ: the broker translates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    #[default]
    V5,
}

/// How to reach a broker, in the clear or over TLS: see the [module](super).
///
/// ```
/// use depin_data::mqtt::{MqttOptions, MqttVersion};
///
/// let options = MqttOptions::parse("mqtts://station:secret@broker.example")?
///     .version(MqttVersion::V3)
///     .root_certificates("authority.pem");
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone)]
pub struct MqttOptions {
    pub(super) host: String,
    /// The one that is said, if any is.
    port: Option<u16>,
    pub(super) version: MqttVersion,
    pub(super) login: Option<(String, String)>,
    pub(super) keep_alive: Duration,
    /// Whether TLS was asked for by URL.
    secure: bool,
    pub(super) certificates: Certificates,
}

impl MqttOptions {
    /// The broker at `host` and `port`, in MQTT 5, in the clear unless certificates are named.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port: Some(port),
            version: MqttVersion::V5,
            login: None,
            keep_alive: Duration::from_secs(30),
            secure: false,
            certificates: Certificates::default(),
        }
    }

    /// The broker at a URL, in MQTT 5: `mqtts://host` over TLS, or `mqtt://host` in the clear unless certificates are
    /// named; at port 8883 over TLS, at 1883 in the clear, unless it says another. It may hold a login,
    /// `mqtts://user:password@host:port`, with `%3A` for a colon and so on.
    ///
    /// ```
    /// use depin_data::mqtt::MqttOptions;
    ///
    /// assert!(MqttOptions::parse("mqtt://127.0.0.1").is_ok());
    /// let error = MqttOptions::parse("http://station:secret@127.0.0.1").unwrap_err();
    /// assert!(!format!("{error:?}").contains("secret"));
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for anything else.
    pub fn parse(url: &str) -> Result<Self> {
        Self::parsed(url).ok_or_else(|| {
            let why =
                "mqtt needs a url such as mqtt://host:1883 or mqtts://user:password@host:8883";
            Error::new(ErrorKind::Config, why)
        })
    }

    fn parsed(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let secure = match url.scheme_str()? {
            "mqtt" => false,
            "mqtts" => true,
            _ => return None,
        };
        let place = url.authority()?;
        if url.path_and_query().is_some_and(|rest| rest != "/") {
            return None;
        }
        let (login, address) = match place.as_str().rsplit_once('@') {
            Some((login, address)) => (Some(credentials(login)?), address),
            None => (None, place.as_str()),
        };
        // A port that is no port would otherwise be none.
        let says_port = !address.ends_with(']') && address.contains(':');
        let port = if says_port { Some(place.port_u16()?) } else { None };
        // Neither sockets nor certificates know the brackets of IPv6.
        let host = place.host().trim_start_matches('[').trim_end_matches(']');
        let options = Self { port, secure, login, ..Self::new(host, PLAIN) };
        (!host.is_empty()).then_some(options)
    }

    /// Speaks this version.
    #[must_use]
    pub const fn version(mut self, version: MqttVersion) -> Self {
        self.version = version;
        self
    }

    /// Logs in with a user and a password.
    #[must_use]
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// Trusts the authorities in a PEM file in place of the system's, and those of further files, and insists on
    /// TLS.
    #[must_use]
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificates.trust(path.into());
        self
    }

    /// Shows the broker who we are, with the certificate in a PEM file and its key in another, and insists on TLS.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificates.show(certificate.into(), key.into());
        self
    }

    /// Shows a sign of life this often (30 s unless said), from 5 s to 18 hours. The broker gives up a
    /// connection after one and a half times that.
    #[must_use]
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every.clamp(Duration::from_secs(5), Duration::from_secs(65_000));
        self
    }

    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| if self.is_secure() { SECURE } else { PLAIN })
    }

    /// Whether nothing goes in the clear.
    pub(super) fn is_secure(&self) -> bool {
        self.secure || !self.certificates.is_default()
    }
}

/// Where brokers listen unless told otherwise, in the clear and over TLS.
const PLAIN: u16 = 1883;
const SECURE: u16 = 8883;

/// User and password, the latter empty if there is none.
fn credentials(login: &str) -> Option<(String, String)> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let text = |part| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
    Some((text(user)?, text(password)?))
}

impl fmt::Debug for MqttOptions {
    /// Without the login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttOptions")
            .field("host", &self.host)
            .field("port", &self.port())
            .field("version", &self.version)
            .field("tls", &self.is_secure())
            .finish_non_exhaustive()
    }
}
