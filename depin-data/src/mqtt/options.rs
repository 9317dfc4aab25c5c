//! Where a broker is, and what is asked of it.

use std::{fmt, time::Duration};

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

/// How to reach a broker. There is no TLS here: see the [module](super).
///
/// ```
/// use depin_data::mqtt::{MqttOptions, MqttVersion};
///
/// let options = MqttOptions::new("127.0.0.1", 1883)
///     .version(MqttVersion::V3)
///     .password("station", "secret");
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct MqttOptions {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) version: MqttVersion,
    pub(super) login: Option<(String, String)>,
    pub(super) keep_alive: Duration,
}

impl MqttOptions {
    /// The broker at `host` and `port`, in MQTT 5.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let keep_alive = Duration::from_secs(30);
        Self { host: host.into(), port, version: MqttVersion::V5, login: None, keep_alive }
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

    /// Shows a sign of life this often (30 s unless said), from 5 s to 18 hours. The broker gives up a
    /// connection after one and a half times that.
    #[must_use]
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every.clamp(Duration::from_secs(5), Duration::from_secs(65_000));
        self
    }
}

impl fmt::Debug for MqttOptions {
    /// Without the login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
