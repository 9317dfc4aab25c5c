//! The client's side: a download that goes on where it broke off, is bounded, and is what was asked for.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use depin_core::{
    B256, EpochId, Error, ErrorKind, Result,
    cbor::{self, Decoder},
};
use reqwest::{Client, Response, StatusCode, header};

use super::{
    super::{
        CBOR,
        connect::{Patience, connect},
        essence,
    },
    BUNDLE, MOST,
};
use crate::bundle::{Bundle, BundleError};

/// Longest silence of a server that works.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of a list.
const MAX_LIST: usize = 9 + 19 * MOST;

/// The bundles that a server has, see [`serve_bundles`](super::serve_bundles).
///
/// Nothing of the server is trusted: a bundle is what the manifest on chain and the signatures in it say, and
/// whoever audits it finds every byte that differs.
///
/// ```
/// use depin_data::http::Bundles;
///
/// assert!(Bundles::at("https://archive.example").is_ok());
/// assert!(Bundles::at("archive.example").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Bundles {
    client: Client,
    url: String,
}

/// One download.
struct Wanted<'a> {
    epoch: EpochId,
    manifest: &'a B256,
    most: u64,
    /// What came so far, until it is whole.
    part: PathBuf,
}

impl Bundles {
    /// The bundles of the server at `url`, to which `/v1/bundles` is appended.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `url` is no `http` or `https` URL.
    pub fn at(url: &str) -> Result<Self> {
        let needed = "bundles need a url such as http://host:port";
        let (client, url) = connect(url, "/v1/bundles", Patience::Silence(SILENCE), needed)?;
        Ok(Self { client, url: url.into() })
    }

    /// Up to 1,024 epochs from `from` on, rising, with the bytes of their bundles, as the server says.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when it does not answer, [`ErrorKind::Malformed`] when it answers something else.
    pub async fn epochs(&self, from: EpochId) -> Result<Vec<(EpochId, u64)>> {
        let url = format!("{}?from={}", self.url, from.value());
        let mut response = self.client.get(url).send().await.map_err(silent)?;
        if response.status() != StatusCode::OK || kind(&response) != Some(CBOR) {
            return Err(broken().with("status", response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            if bytes.len() + chunk.len() > MAX_LIST {
                return Err(no_list());
            }
            bytes.extend_from_slice(&chunk);
        }
        decode(&bytes)
    }

    /// Downloads the bundle of `epoch`, of at most `most` bytes, into the file `into`. `manifest` is that of the
    /// epoch's [commitment](depin_core::reward::Commitment) on chain.
    ///
    /// Until it is whole it lies beside the file, under the same name with `.part`, and the next call goes on
    /// where this one broke off. When this returns, the record in the file is the one with the manifest; whether
    /// the batches are those of the record, [`Bundle::audit`] finds out.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server does not answer or breaks off, or the file cannot be written:
    /// call again. [`ErrorKind::NotFound`] when it has no such bundle. [`ErrorKind::Limit`] for one that is too
    /// large, [`ErrorKind::Corrupt`] or [`ErrorKind::Malformed`] for one of another epoch or none at all; nothing
    /// is kept of these, ask another server.
    pub async fn download(
        &self,
        epoch: EpochId,
        manifest: &B256,
        into: &Path,
        most: u64,
    ) -> Result<()> {
        let mut part = into.as_os_str().to_owned();
        part.push(".part");
        let wanted = Wanted { epoch, manifest, most, part: part.into() };
        let came = self.fetch(&wanted).await.and_then(|()| wanted.check());
        match came {
            Ok(()) => fs::rename(&wanted.part, into).map_err(|error| wanted.unwritten(error)),
            Err(error) => {
                if !error.is_retryable() {
                    // Going on from here would come to the same.
                    let _ = fs::remove_file(&wanted.part);
                }
                Err(error)
            }
        }
    }

    /// Appends what is missing.
    async fn fetch(&self, wanted: &Wanted<'_>) -> Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&wanted.part);
        let mut file = file.map_err(|error| wanted.unwritten(error))?;
        let there = file.metadata().map_err(|error| wanted.unwritten(error))?.len();
        let request = self.client.get(format!("{}/{}", self.url, wanted.epoch.value()));
        let request = match there {
            0 => request,
            there => request.header(header::RANGE, format!("bytes={there}-")),
        };
        let mut response = request.send().await.map_err(silent)?;
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|r| r.to_str().ok());
        let mut size = match response.status() {
            StatusCode::PARTIAL_CONTENT
                if range.is_some_and(|range| range.starts_with(&format!("bytes {there}-"))) =>
            {
                there
            }
            StatusCode::OK => 0,
            StatusCode::RANGE_NOT_SATISFIABLE if range == Some(&format!("bytes */{there}")) => {
                return Ok(());
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(wanted.other()),
            StatusCode::NOT_FOUND => {
                let why = "the server has no bundle of this epoch; ask another";
                return Err(Error::new(ErrorKind::NotFound, why).with("epoch", wanted.epoch));
            }
            status => return Err(broken().with("status", status)),
        };
        if kind(&response) != Some(BUNDLE) {
            return Err(broken());
        }
        let length = response.content_length();
        if length.is_none_or(|length| size.saturating_add(length) > wanted.most) {
            return Err(wanted.too_large());
        }
        // Only what may be the bundle takes the place of what came before.
        if size < there {
            file.set_len(size).map_err(|error| wanted.unwritten(error))?;
        }
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            size = size.saturating_add(chunk.len() as u64);
            file.write_all(&chunk).map_err(|error| wanted.unwritten(error))?;
        }
        file.sync_all().map_err(|error| wanted.unwritten(error))
    }
}

impl Wanted<'_> {
    /// That the record is the one that was asked for.
    fn check(&self) -> Result<()> {
        let file = File::open(&self.part).map_err(BundleError::Io)?;
        Bundle::open(file, self.manifest)?;
        Ok(())
    }

    fn other(&self) -> Error {
        let why = "what was downloaded before is of another bundle; download it again";
        Error::new(ErrorKind::Malformed, why).with("epoch", self.epoch)
    }

    fn too_large(&self) -> Error {
        let why = "the bundle is larger than allowed; allow more or ask another server";
        Error::new(ErrorKind::Limit, why).with("epoch", self.epoch).with("most", self.most)
    }

    fn unwritten(&self, error: io::Error) -> Error {
        Error::unavailable("the bundle cannot be written; free space or choose another place")
            .with("path", self.part.display())
            .source(error)
    }
}

fn kind(response: &Response) -> Option<&str> {
    let kind = response.headers().get(header::CONTENT_TYPE)?;
    kind.to_str().ok().map(essence)
}

fn decode(bytes: &[u8]) -> Result<Vec<(EpochId, u64)>> {
    cbor::check(bytes).map_err(|error| no_list().source(error))?;
    let mut d = Decoder::new(bytes);
    let count = d.array().ok().flatten().ok_or_else(no_list)?;
    let mut pair = || match (d.array(), d.u64(), d.u64()) {
        (Ok(Some(2)), Ok(epoch), Ok(size)) => Ok((EpochId::new(epoch), size)),
        _ => Err(no_list()),
    };
    (0..count).map(|_| pair()).collect()
}

fn no_list() -> Error {
    Error::new(ErrorKind::Malformed, "the server gave no list of bundles; ask another")
}

fn broken() -> Error {
    Error::unavailable("the server of bundles does not answer as one; try again or ask another")
}

fn silent(error: reqwest::Error) -> Error {
    broken().source(error)
}
