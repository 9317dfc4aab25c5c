//! Bytes that one reader alone can open: HPKE (RFC 9180) in base mode.
//!
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. What is sealed is bound to a network, a
//! device and a purpose, and opens under no other. The sender is not authenticated by this: seal what
//! carries a signature, as a [`Disclosure`](super::Disclosure) does.
//!
//! ```text
//! sealed = encapsulated key (32 bytes) || ciphertext || tag (16 bytes)
//! info   = "depin sealed v1"
//! aad    = ["depin", network, device, purpose, version]     deterministic CBOR
//! ```

use core::fmt;

use depin_core::{Did, Error, ErrorKind, NetworkId, cbor::Encoder, envelope::Purpose};
use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305,
    kdf::HkdfSha256, kem::X25519HkdfSha256,
};
use rand_core::CryptoRngCore;

type Kem = X25519HkdfSha256;
type Private = <Kem as hpke::Kem>::PrivateKey;
type Public = <Kem as hpke::Kem>::PublicKey;
type Encapsulated = <Kem as hpke::Kem>::EncappedKey;

/// Most bytes that are sealed or opened at once.
pub const MAX_SEALED: usize = 1 << 20;
/// Bytes that sealing adds.
const OVERHEAD: usize = 32 + 16;
const INFO: &[u8] = b"depin sealed v1";

/// What sealed bytes are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    network: NetworkId,
    device: Did,
    purpose: Purpose,
}

impl Context {
    /// Bytes about this device of this network, for this purpose.
    pub fn new(network: &NetworkId, device: &Did, purpose: Purpose) -> Self {
        Self { network: network.clone(), device: device.clone(), purpose }
    }

    fn aad(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = Encoder::new(&mut bytes)
            .array(5)
            .and_then(|e| e.str("depin")?.str(self.network.as_str())?.str(self.device.as_str()))
            .and_then(|e| e.str(self.purpose.name())?.u8(self.purpose.version()))
            .is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        bytes
    }
}

/// Why something is not sealed or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// More than [`MAX_SEALED`].
    #[error("at most 1048576 bytes are sealed at once")]
    Limit,
    /// The reader's key is no point that keeps a secret.
    #[error("the bytes are not an x25519 public key that keeps a secret")]
    Key,
    /// For another reader or context, or altered.
    #[error("the bytes are not sealed to this reader for this network, device and purpose")]
    Open,
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        let kind = match error {
            SealError::Limit => ErrorKind::Limit,
            SealError::Key => ErrorKind::Malformed,
            SealError::Open => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// The public key of a reader (X25519).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReaderKey([u8; 32]);

impl ReaderKey {
    /// From the 32 bytes of RFC 7748; [`seal`] refuses points that keep no secret.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ReaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReaderKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The secret key of a reader; wiped from memory when it is dropped.
pub struct ReaderSecret {
    secret: Private,
    public: ReaderKey,
}

impl ReaderSecret {
    /// A fresh key.
    pub fn generate(rng: &mut (impl CryptoRngCore + ?Sized)) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self::from_seed(&seed)
    }

    /// The key that RFC 9180 section 7.1.3 derives from 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let (secret, public) = Kem::derive_keypair(seed);
        Self { secret, public: ReaderKey(public.to_bytes().into()) }
    }

    /// What senders need.
    pub const fn public_key(&self) -> ReaderKey {
        self.public
    }

    /// Opens what was [sealed](seal()) to this reader in the same context.
    ///
    /// # Errors
    /// [`SealError::Open`] or [`SealError::Limit`].
    pub fn open(&self, context: &Context, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open_with(INFO, &context.aad(), sealed)
    }

    fn open_with(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        if sealed.len() > MAX_SEALED + OVERHEAD {
            return Err(SealError::Limit);
        }
        let (encapsulated, ciphertext) = sealed.split_at_checked(32).ok_or(SealError::Open)?;
        let encapsulated = Encapsulated::from_bytes(encapsulated).map_err(|_| SealError::Open)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.secret,
            &encapsulated,
            info,
            ciphertext,
            aad,
        )
        .map_err(|_| SealError::Open)
    }
}

impl fmt::Debug for ReaderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReaderSecret(.. of {:?})", self.public)
    }
}

/// Seals bytes to a reader, for one network, device and purpose.
///
/// ```
/// use depin_core::{NetworkId, envelope::Purpose};
/// use depin_data::privacy::{Context, ReaderSecret, seal};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let mut rng = StdRng::seed_from_u64(1); // a real sender takes the system's
/// let reader = ReaderSecret::generate(&mut rng);
/// let network = NetworkId::parse("climate")?;
/// let context = Context::new(&network, &"did:example:station".parse()?, Purpose::new("report", 1));
///
/// let sealed = seal(&reader.public_key(), &context, b"4.9 Cel", &mut rng)?;
/// assert_eq!(reader.open(&context, &sealed)?, b"4.9 Cel");
///
/// let other = Context::new(&network, &"did:example:other".parse()?, Purpose::new("report", 1));
/// assert!(reader.open(&other, &sealed).is_err());
/// # Ok::<(), depin_data::Error>(())
/// ```
///
/// # Errors
/// [`SealError::Limit`] or [`SealError::Key`].
pub fn seal(
    reader: &ReaderKey,
    context: &Context,
    plaintext: &[u8],
    rng: &mut (impl CryptoRngCore + ?Sized),
) -> Result<Vec<u8>, SealError> {
    seal_with(reader, INFO, &context.aad(), plaintext, rng)
}

fn seal_with(
    reader: &ReaderKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    rng: &mut (impl CryptoRngCore + ?Sized),
) -> Result<Vec<u8>, SealError> {
    if plaintext.len() > MAX_SEALED {
        return Err(SealError::Limit);
    }
    let public = Public::from_bytes(&reader.0).map_err(|_| SealError::Key)?;
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem, _>(
            &OpModeS::Base,
            &public,
            info,
            plaintext,
            aad,
            &mut Newer(rng),
        )
        .map_err(|_| SealError::Key)?;
    Ok([&*encapsulated.to_bytes(), &ciphertext].concat())
}

/// Our source of randomness with the traits that hpke knows, of a later version.
struct Newer<'a, R: ?Sized>(&'a mut R);

impl<R: CryptoRngCore + ?Sized> hpke::rand_core::RngCore for Newer<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

impl<R: CryptoRngCore + ?Sized> hpke::rand_core::CryptoRng for Newer<'_, R> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Randomness that is told beforehand.
    struct Told(Vec<u8>);

    impl rand_core::RngCore for Told {
        fn next_u32(&mut self) -> u32 {
            rand_core::impls::next_u32_via_fill(self)
        }

        fn next_u64(&mut self) -> u64 {
            rand_core::impls::next_u64_via_fill(self)
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0.drain(..bytes.len()).collect::<Vec<_>>());
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
            self.fill_bytes(bytes);
            Ok(())
        }
    }

    impl rand_core::CryptoRng for Told {}

    fn hex(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn the_known_answer_of_rfc_9180_a_2_1_is_ours() {
        let seed = hex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df");
        let reader = ReaderSecret::from_seed(&seed.try_into().unwrap());
        let public = hex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        assert_eq!(reader.public_key().as_bytes()[..], public);
        let info = hex("4f6465206f6e2061204772656369616e2055726e");
        let aad = hex("436f756e742d30");
        let plaintext = hex("4265617574792069732074727574682c20747275746820626561757479");
        let random = hex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let sealed =
            seal_with(&reader.public_key(), &info, &aad, &plaintext, &mut Told(random)).unwrap();
        assert_eq!(
            sealed,
            hex(concat!(
                "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
                "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
            ))
        );
        assert_eq!(reader.open_with(&info, &aad, &sealed).unwrap(), plaintext);
    }
}
