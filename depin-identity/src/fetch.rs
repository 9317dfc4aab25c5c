//! Fetching small files from hosts that cannot be trusted.
//!
//! One time limit over everything, a size limit that is applied while bytes arrive, few redirects, no proxies.
//! Whoever names the host in a DID must not reach what only this machine can reach: addresses are checked where
//! the connection is made, so a name that answers differently the second time gains nothing.

mod address;

use core::time::Duration;
use std::sync::Arc;

use depin_core::{Error, ErrorKind, Result, resolution::Freshness};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, header, redirect};
use tokio::time::timeout;

pub(crate) use address::Reach;
use address::{Filter, NotPublic};

/// Most redirects that are followed.
const REDIRECTS: usize = 3;

/// What was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: StatusCode,
    /// How many seconds it may be used again, if the host says so.
    pub(crate) max_age: Option<u64>,
    pub(crate) body: Vec<u8>,
}

/// An HTTP client with its limits.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client,
    reach: Reach,
    patience: Duration,
    most: usize,
}

impl Fetcher {
    /// Fetches at most `most` bytes from where `reach` allows, within 10 s.
    pub(crate) fn new(reach: Reach, most: usize) -> Result<Self> {
        Self::with_filter(reach, most, reach.filter())
    }

    /// As [`new`](Self::new), and believes hosts whose certificates lead to one of these (PEM).
    #[cfg(feature = "tls")]
    pub(crate) fn trusting(reach: Reach, most: usize, pem: &[u8]) -> Result<Self> {
        let authorities = reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default();
        if authorities.is_empty() {
            return Err(Error::new(ErrorKind::Malformed, "there is no certificate in pem"));
        }
        Self::build(Client::builder().tls_certs_merge(authorities), reach, most, reach.filter())
    }

    fn with_filter(reach: Reach, most: usize, filter: Option<Filter>) -> Result<Self> {
        Self::build(Client::builder(), reach, most, filter)
    }

    fn build(
        builder: ClientBuilder,
        reach: Reach,
        most: usize,
        filter: Option<Filter>,
    ) -> Result<Self> {
        let mut builder = builder
            .redirect(redirect::Policy::none())
            .no_proxy()
            // One file per host: connections kept for later would pile up, one for every host named.
            .pool_max_idle_per_host(0)
            // An application may have switched decompression on; nobody here asks for it.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd();
        if let Some(filter) = filter {
            builder = builder.dns_resolver(Arc::new(filter));
        }
        let client = builder.build().map_err(|error| {
            Error::new(ErrorKind::Config, "the http client cannot be built").source(error)
        })?;
        Ok(Self { client, reach, patience: Duration::from_secs(10), most })
    }

    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Fetches one file. Any status counts as fetched, but that of a redirect.
    pub(crate) async fn get(&self, url: &str, accept: &str) -> Result<Fetched> {
        match timeout(self.patience, self.follow(url, accept)).await {
            Ok(fetched) => fetched.map_err(|error| error.with("url", url)),
            Err(_) => Err(Error::unavailable("the host takes too long").with("url", url)),
        }
    }

    async fn follow(&self, url: &str, accept: &str) -> Result<Fetched> {
        let malformed = |error| Error::new(ErrorKind::Malformed, "this is no url").source(error);
        let mut url = Url::parse(url).map_err(malformed)?;
        for _ in 0..=REDIRECTS {
            self.reach.check(&url)?;
            let request = self.client.get(url.clone()).header(header::ACCEPT, accept);
            let response = request.send().await.map_err(unreachable)?;
            let Some(place) = redirected(&response)? else { return self.read(response).await };
            if self.reach == Reach::Anywhere {
                return Err(rejected("the host redirects; name the place that it redirects to"));
            }
            url = url
                .join(&place)
                .map_err(|error| rejected("the redirect is no url").source(error))?;
        }
        Err(rejected("the host redirects too often"))
    }

    async fn read(&self, mut response: Response) -> Result<Fetched> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        if text(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(rejected("the host compresses what it was not asked to compress"));
        }
        let max_age = text(header::CACHE_CONTROL).and_then(max_age);
        let too_long =
            || Error::new(ErrorKind::Limit, "the file is too long").with("limit", self.most);
        if response.content_length().is_some_and(|length| length > self.most as u64) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len().saturating_add(chunk.len()) > self.most {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { status: response.status(), max_age, body })
    }
}

/// How long an answer may be used again: for `bound`, or shorter where the host says so.
pub(crate) fn freshness(bound: Duration, max_age: Option<u64>) -> Freshness {
    match max_age.map_or(bound, |seconds| bound.min(Duration::from_secs(seconds))) {
        Duration::ZERO => Freshness::Once,
        time => Freshness::For(time),
    }
}

/// Where the host says that the file is, if not here.
fn redirected(response: &Response) -> Result<Option<String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
    place.map(|place| Some(place.into())).ok_or_else(|| rejected("the redirect leads nowhere"))
}

/// The seconds of `max-age`; none for what must not be used again.
fn max_age(control: &str) -> Option<u64> {
    let mut words = control.split(',').map(|word| word.trim().to_ascii_lowercase());
    if words.clone().any(|word| word == "no-store" || word == "no-cache") {
        return Some(0);
    }
    words.find_map(|word| word.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

fn unreachable(error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(source) = cause {
        if source.is::<NotPublic>() {
            return rejected("the host has no address on the public internet");
        }
        cause = source.source();
    }
    Error::unavailable("the host does not answer; https needs the feature tls").source(error)
}

fn rejected(message: &'static str) -> Error {
    Error::new(ErrorKind::Rejected, message)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let url =
            format!("http://localhost:{}/did.json", listener.local_addr().expect("bound").port());
        // As if the name had passed every check before the connection is made.
        let filter = Reach::Public.filter();
        let fetcher = Fetcher::with_filter(Reach::Development, 100, filter).expect("a client");
        let error = fetcher.get(&url, "*/*").await.expect_err("no such connection");
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(listener.accept().is_err(), "nobody connected");
    }

    #[tokio::test]
    async fn no_connection_stays_open_after_a_file() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/did.json", listener.local_addr().expect("bound"));
        // A host that would keep the connection for as long as it is kept.
        let host = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
            let _ = stream.read(&mut [0; 4096]).expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("sent");
            stream.read(&mut [0; 1]).expect("the client hangs up")
        });
        let fetcher = Fetcher::new(Reach::Anywhere, 100).expect("a client");
        assert_eq!(fetcher.get(&url, "*/*").await.expect("a file").body, b"{}");
        let rest = tokio::task::spawn_blocking(|| host.join().expect("the host"));
        assert_eq!(rest.await.expect("joined"), 0);
    }

    #[test]
    fn cache_control_only_shortens() {
        assert_eq!(max_age("public, max-age=60"), Some(60));
        assert_eq!(max_age("MAX-AGE=\"7\""), Some(7));
        assert_eq!(max_age("max-age=60, no-store"), Some(0));
        assert_eq!(max_age("max-age=-1"), None);
        assert_eq!(max_age("private"), None);
    }
}
