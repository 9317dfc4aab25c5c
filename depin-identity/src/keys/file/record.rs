//! The two kinds of files, as deterministic CBOR.

use depin_core::{
    Algorithm, Error, ErrorKind, PublicKey, Result, Signer as _, SoftwareKey,
    cbor::{self, Decoder, Encoder},
    keystore::KeyName,
};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::seal::{Cost, MasterKey, Passphrase};

/// Salt and cost of a store, and a sealed nothing that tells whether a passphrase is right.
pub(super) struct Lock {
    salt: [u8; 16],
    cost: Cost,
    nonce: [u8; 24],
    check: Vec<u8>,
}

impl Lock {
    pub(super) fn new(
        passphrase: &Passphrase,
        cost: Cost,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        if !cost.is_bearable() {
            let text = "the cost of a key store is 8 KiB to 1 GiB of memory and 1 to 16 passes";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let check = MasterKey::derive(passphrase, &salt, cost)?.seal(&nonce, LOCK_TAG, &[])?;
        Ok(Self { salt, cost, nonce, check })
    }

    /// The master key, if the passphrase is the right one.
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<MasterKey> {
        let master = MasterKey::derive(passphrase, &self.salt, self.cost)?;
        match master.open(&self.nonce, LOCK_TAG, &self.check) {
            Some(_) => Ok(master),
            None => {
                Err(Error::new(ErrorKind::Rejected, "the passphrase does not open the key store"))
            }
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        let written = encoder.array(6).and_then(|e| {
            e.u8(VERSION)?.bytes(&self.salt)?.u32(self.cost.memory)?.u32(self.cost.passes)?;
            e.bytes(&self.nonce)?.bytes(&self.check)
        });
        written.map(drop).expect("invariant: writing to a vector does not fail");
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let read = |decoder: &mut Decoder<'_>| {
            let shape = decoder.array()? == Some(6) && decoder.u8()? == VERSION;
            let salt = exact(decoder.bytes()?);
            let (memory, passes) = (decoder.u32()?, decoder.u32()?);
            let (nonce, check) = (exact(decoder.bytes()?), decoder.bytes()?.to_vec());
            let cost = Cost { memory, passes };
            let lock = salt.zip(nonce).map(|(salt, nonce)| Self { salt, cost, nonce, check });
            Ok(lock.filter(|lock| shape && lock.cost.is_bearable()))
        };
        decode(bytes, read)
    }
}

/// One private key.
pub(super) struct Sealed {
    public: PublicKey,
    nonce: [u8; 24],
    sealed: Vec<u8>,
}

impl Sealed {
    pub(super) fn seal(
        master: &MasterKey,
        name: &KeyName,
        public: &PublicKey,
        secret: &Zeroizing<[u8; 32]>,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self> {
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let sealed = master.seal(&nonce, &bound(name, public), &**secret)?;
        Ok(Self { public: public.clone(), nonce, sealed })
    }

    pub(super) fn open(&self, master: &MasterKey, name: &KeyName) -> Result<SoftwareKey> {
        let secret = master.open(&self.nonce, &bound(name, &self.public), &self.sealed);
        let secret =
            secret.and_then(|bytes| exact(&bytes).map(Zeroizing::new)).ok_or_else(damaged)?;
        let key = SoftwareKey::from_bytes(self.public.algorithm(), &secret)?;
        if *key.public_key() == self.public { Ok(key) } else { Err(damaged()) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        let written = encoder.array(5).and_then(|e| {
            e.u8(VERSION)?.i64(self.public.algorithm().cose())?.bytes(&self.public.to_bytes())?;
            e.bytes(&self.nonce)?.bytes(&self.sealed)
        });
        written.map(drop).expect("invariant: writing to a vector does not fail");
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        decode(bytes, |decoder| {
            let shape = decoder.array()? == Some(5) && decoder.u8()? == VERSION;
            let algorithm = Algorithm::from_cose(decoder.i64()?);
            let public = decoder.bytes()?;
            let public = algorithm.and_then(|which| PublicKey::from_bytes(which, public).ok());
            let (nonce, sealed) = (exact(decoder.bytes()?), decoder.bytes()?.to_vec());
            let read = public.zip(nonce).map(|(public, nonce)| Self { public, nonce, sealed });
            Ok(read.filter(|_| shape))
        })
    }
}

/// What a sealed key is bound to.
fn bound(name: &KeyName, public: &PublicKey) -> Vec<u8> {
    [KEY_TAG, name.as_str().as_bytes(), b"/", public.to_multikey().as_bytes()].concat()
}

fn decode<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Decoder<'_>) -> Result<Option<T>, cbor::decode::Error>,
) -> Result<T> {
    cbor::check(bytes).map_err(|error| damaged().source(error))?;
    read(&mut Decoder::new(bytes)).ok().flatten().ok_or_else(damaged)
}

fn exact<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "the file is no key of this store; restore it from a copy")
}

const VERSION: u8 = 1;
const LOCK_TAG: &[u8] = b"depin/keystore/v1/lock";
const KEY_TAG: &[u8] = b"depin/keystore/v1/key/";
