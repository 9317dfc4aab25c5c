//! How every client of this module connects: to a URL of HTTP, straight, and not without end.

use std::time::Duration;

use depin_core::{Error, ErrorKind, Result};
use reqwest::{Client, Url, redirect};

const CONNECT: Duration = Duration::from_secs(5);

/// How long a client waits for a server that works.
pub(super) enum Patience {
    /// For a whole answer.
    Whole(Duration),
    /// For more of an answer that may take its time.
    Silence(Duration),
}

/// A client, and the URL of `path` at the server whose URL is `base`. It follows neither redirects nor proxies.
///
/// # Errors
/// [`ErrorKind::Config`] with the words `needed` when that is no `http` or `https` URL.
pub(super) fn connect(
    base: &str,
    path: &str,
    patience: Patience,
    needed: &'static str,
) -> Result<(Client, Url)> {
    let unfit = || Error::new(ErrorKind::Config, needed).with("url", base);
    let url = Url::parse(&format!("{}{path}", base.trim_end_matches('/')));
    let url = url.map_err(|error| unfit().source(error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unfit());
    }
    let client =
        Client::builder().connect_timeout(CONNECT).redirect(redirect::Policy::none()).no_proxy();
    let client = match patience {
        Patience::Whole(time) => client.timeout(time),
        Patience::Silence(time) => client.read_timeout(time),
    };
    Ok((client.build().map_err(|error| unfit().source(error))?, url))
}
