//! Readings that travel with a batch and that one reader alone can open.
//!
//! ```text
//! what is sealed = {4: quantities, 5: ms, 6: readings}   as in the payload of a batch (crate::batch)
//! ```

use core::fmt;

use depin_core::{Did, NetworkId, Reading, Result, envelope::Purpose};
use rand_core::CryptoRngCore;

use super::{Context, ReaderKey, ReaderSecret, seal};
use crate::batch::{decode_readings, encode_readings};

/// What readings in a batch are sealed for.
pub const SEALED_READINGS: Purpose = Purpose::new("sealed readings", 1);

/// Seals readings of a device to a reader, for [`Extras::sealed`](crate::batch::Extras::sealed).
///
/// Ingest stores them without opening them, under the device's signature. They open as this device's of this
/// network and as nobody else's: whoever copies them into a batch of its own shows the reader that they are stolen.
///
/// ```
/// use depin_core::{Algorithm, B256, Decimal, NetworkId, Reading, Sequence, Signer, SoftwareKey, Timestamp,
///     Unverified, reading::Quantity};
/// use depin_data::{
///     batch::{BatchVerifier, Extras, seal_with},
///     privacy::{ReaderSecret, open_readings, seal_readings},
/// };
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let (mut rng, network) = (StdRng::seed_from_u64(1), NetworkId::parse("climate")?); // a device takes the system's
/// let (doctor, key) = (ReaderSecret::generate(&mut rng), SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]));
/// let did = "did:example:a".parse()?;
/// let pulse = Reading::new(Quantity::new("pulse", "1/min"), Decimal::from(61), Timestamp::from_secs(60));
///
/// let hidden = seal_readings(&doctor.public_key(), &network, &did, &[pulse.clone()], &mut rng)?;
/// let extras = Extras { sealed: Some(&hidden), seed: None };
/// let batch = seal_with(&key, &did, &network, Sequence::new(0), B256::ZERO, &[], extras)?;
///
/// let batch = Unverified::new(batch).verify(&BatchVerifier::new(&network, key.public_key()))?;
/// assert!(batch.readings.is_empty());
/// let sealed = batch.sealed.as_deref().unwrap_or_default();
/// assert_eq!(open_readings(&doctor, &network, &batch.device, sealed)?, [pulse]);
/// # Ok::<(), depin_data::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Limit`](depin_core::ErrorKind::Limit) for more readings than a batch takes,
/// [`ErrorKind::Malformed`](depin_core::ErrorKind::Malformed) for a quantity that it cannot carry or a key that
/// keeps no secret.
pub fn seal_readings(
    reader: &ReaderKey,
    network: &NetworkId,
    device: &Did,
    readings: &[Reading],
    rng: &mut (impl CryptoRngCore + ?Sized),
) -> Result<Vec<u8>> {
    let context = Context::new(network, device, SEALED_READINGS);
    Ok(seal(reader, &context, &encode_readings(readings)?, rng)?)
}

/// Opens what was [sealed](seal_readings) by this device; verify the signature of its batch before.
///
/// # Errors
/// [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) for another reader, network or device, or when it was
/// altered; [`ErrorKind::Malformed`](depin_core::ErrorKind::Malformed) when the device sealed something else than
/// readings.
pub fn open_readings(
    reader: &ReaderSecret,
    network: &NetworkId,
    device: &Did,
    sealed: &[u8],
) -> Result<Vec<Reading>> {
    let context = Context::new(network, device, SEALED_READINGS);
    Ok(decode_readings(&reader.open(&context, sealed)?)?)
}

/// Which readings of a device are for one reader alone.
pub struct Sealing {
    reader: ReaderKey,
    hides: Box<dyn Fn(&Reading) -> bool + Send>,
    rng: Box<dyn CryptoRngCore + Send>,
}

impl Sealing {
    /// Every reading of these quantities, by name, for `reader`. The secrecy of all is that of `rng`: take the
    /// system's.
    pub fn of<'a>(
        quantities: impl IntoIterator<Item = &'a str>,
        reader: ReaderKey,
        rng: impl CryptoRngCore + Send + 'static,
    ) -> Self {
        let names: Vec<String> = quantities.into_iter().map(Into::into).collect();
        let hides =
            move |reading: &Reading| names.iter().any(|name| name == reading.quantity().name());
        Self { reader, hides: Box::new(hides), rng: Box::new(rng) }
    }

    /// Every reading, for `reader`: nothing is left that a network could check, or pay for.
    pub fn everything(reader: ReaderKey, rng: impl CryptoRngCore + Send + 'static) -> Self {
        Self { reader, hides: Box::new(|_| true), rng: Box::new(rng) }
    }

    /// What anybody may read, and the rest sealed, if there is any.
    pub(crate) fn part(
        &mut self,
        (network, device): (&NetworkId, &Did),
        readings: &[Reading],
    ) -> Result<(Vec<Reading>, Option<Vec<u8>>)> {
        let (hidden, shown): (Vec<_>, Vec<_>) =
            readings.iter().cloned().partition(|reading| (self.hides)(reading));
        if hidden.is_empty() {
            return Ok((shown, None));
        }
        let sealed = seal_readings(&self.reader, network, device, &hidden, &mut *self.rng)?;
        Ok((shown, Some(sealed)))
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing(to {:?})", self.reader)
    }
}
