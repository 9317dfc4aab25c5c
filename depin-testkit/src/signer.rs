//! Conformance of [`Signer`].

use depin_core::{ErrorKind, Signer};

/// Runs every clause of the contract.
///
/// # Panics
/// When a clause does not hold.
pub fn conforms(signer: &dyn Signer) {
    let public = signer.public_key().clone();
    for message in [b"".as_slice(), b"reading", &[0xff; 4096]] {
        let signature = signer.sign(message).expect("clause 2: a signer signs any message");
        public.verify(message, &signature).expect("clause 2: signatures verify strictly");
    }
    let digest = [0x5a; 32];
    match signer.sign_prehash(&digest) {
        Ok(signature) => public
            .verify_prehash(&digest, &signature)
            .expect("clause 3: digest signatures verify strictly"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "clause 3: or says that it cannot")
        }
    }
    assert_eq!(&public, signer.public_key(), "clause 1: the key stays the same");
}

#[cfg(test)]
mod tests {
    use depin_core::{Algorithm, SoftwareKey};

    use super::*;

    #[test]
    fn software_keys_of_every_algorithm_conform() {
        for algorithm in Algorithm::ALL {
            conforms(&SoftwareKey::from_seed(algorithm, [9; 32]));
        }
    }
}
