//! Withdrawals: closed epochs that do not count, because no ledger took them.
//!
//! A log keeps what was sealed for good, and a ledger may yet refuse it: an arbiter found it wrong, or more is paid
//! than a curve allows. A withdrawal is sealed in the place after the last epoch, and takes back that and those
//! before it down to the one that it names. The epoch of that number is then closed again, over all batches since the
//! one before it, and its record names the one that it [replaces](super::EpochRecord::replaces).
//!
//! ```text
//! withdrawal = ["depin withdrawn epoch v1", network tstr, epoch uint, manifest bstr .size 32, root bstr .size 32]
//! ```
//!
//! Deterministic CBOR; manifest is that of the record, root the one of the reward tree that it led to.

use depin_core::{
    B256, EpochId, NetworkId,
    cbor::{self, Decoder, Encoder},
};

use super::{EpochError, codec::Written};

const TAG: &str = "depin withdrawn epoch v1";
/// Longest withdrawal: a name has 64 characters at most.
const MAX: usize = 256;

/// Says that an epoch and those sealed after it do not count.
///
/// ```
/// use depin_core::{B256, EpochId, NetworkId};
/// use depin_data::epoch::Withdrawal;
///
/// let (manifest, root) = (B256::repeat_byte(1), B256::repeat_byte(2));
/// let network = NetworkId::parse("climate")?;
/// let withdrawal = Withdrawal { network, epoch: EpochId::new(7), manifest, root };
/// assert_eq!(Withdrawal::parse(&withdrawal.to_bytes())?, Some(withdrawal));
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "its bytes have these fields and no others")]
pub struct Withdrawal {
    /// The network.
    pub network: NetworkId,
    /// The first epoch that does not count.
    pub epoch: EpochId,
    /// Hash of its record.
    pub manifest: B256,
    /// Root of the reward tree that it led to.
    pub root: B256,
}

impl Withdrawal {
    /// The bytes, one encoding per withdrawal.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX);
        let mut e = Encoder::new(&mut bytes);
        let mut write = || -> Written {
            e.array(5)?.str(TAG)?.str(self.network.as_str())?.u64(self.epoch.value())?;
            e.bytes(self.manifest.as_slice())?.bytes(self.root.as_slice())?;
            Ok(())
        };
        let written = write().is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        bytes
    }

    /// Parses what a log has in a place; nothing when it is no withdrawal, but a [`Sealed`](super::Sealed) epoch.
    ///
    /// # Errors
    /// Says what is wrong with a withdrawal.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, EpochError> {
        let mut d = Decoder::new(bytes);
        if d.array().ok().flatten() != Some(5) || d.str().ok() != Some(TAG) {
            return Ok(None);
        }
        if bytes.len() > MAX {
            return Err(EpochError::Limit("bytes"));
        }
        cbor::check(bytes)?;
        let shape = EpochError::Format("a withdrawal is network, epoch, manifest and root");
        fields(&mut d).map(Some).ok_or(shape)
    }
}

fn fields(d: &mut Decoder<'_>) -> Option<Withdrawal> {
    let network = NetworkId::parse(d.str().ok()?).ok()?;
    let epoch = EpochId::new(d.u64().ok()?);
    let manifest = B256::try_from(d.bytes().ok()?).ok()?;
    let root = B256::try_from(d.bytes().ok()?).ok()?;
    Some(Withdrawal { network, epoch, manifest, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawal() -> Withdrawal {
        let network = NetworkId::parse("climate").unwrap();
        let (manifest, root) = (B256::repeat_byte(1), B256::repeat_byte(2));
        Withdrawal { network, epoch: EpochId::new(700), manifest, root }
    }

    #[test]
    fn bytes_are_those_of_one_withdrawal_or_of_none() {
        let bytes = withdrawal().to_bytes();
        for length in 0..bytes.len() {
            assert!(!matches!(Withdrawal::parse(&bytes[..length]), Ok(Some(_))), "{length}");
        }
        assert!(Withdrawal::parse(&[&bytes[..], &[0]].concat()).is_err());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(Some(other)) = Withdrawal::parse(&changed) {
                    assert_ne!(other, withdrawal(), "byte {at}");
                    assert_eq!(other.to_bytes(), changed, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn the_longest_fits_and_what_is_longer_is_refused() {
        let network = NetworkId::parse(&"a".repeat(NetworkId::MAX_LEN)).unwrap();
        let longest = Withdrawal { network, epoch: EpochId::new(u64::MAX), ..withdrawal() };
        let bytes = longest.to_bytes();
        assert_eq!(Withdrawal::parse(&bytes), Ok(Some(longest)));
        let padded = [&bytes[..], &[0; MAX]].concat();
        assert_eq!(Withdrawal::parse(&padded), Err(EpochError::Limit("bytes")));
    }
}
