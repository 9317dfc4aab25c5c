//! Enrollment: key, DID, evidence, appraisal, registration.

use depin_core::{
    Address, Did, Error, ErrorKind, NetworkEvent, Result, Signer, Unverified, Verified,
    evidence::{Appraisal, Appraising, Challenge, TrustTier},
    registry::{DeviceRecord, Enrolment},
};
use depin_identity::{methods::io, sybil::Nullifier};

use crate::{Device, Hardware, Network};

impl Network {
    /// Enrolls a device for its owner: challenges its hardware, appraises the evidence, registers it.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the evidence does not convince, [`ErrorKind::Conflict`] when the
    /// device is enrolled already.
    pub async fn enroll(&self, hardware: impl Into<Hardware>, owner: Address) -> Result<Device> {
        let hardware = hardware.into();
        let enrolment = self.enrolment(&hardware, owner)?;
        let record = self.0.ledgers.registry.register(&enrolment, &*hardware.signer).await?;
        self.0.ledgers.checkpoint().await?;
        self.enrolled(hardware, record).await
    }

    /// Enrolls many devices, in few transactions where the registry can.
    ///
    /// # Errors
    /// As [`enroll`](Self::enroll), for the first device that fails.
    pub async fn enroll_all(
        &self,
        devices: impl IntoIterator<Item = (Hardware, Address)>,
    ) -> Result<Vec<Device>> {
        let devices: Vec<_> = devices.into_iter().collect();
        let enrolments: Vec<(Enrolment, &dyn Signer)> = devices
            .iter()
            .map(|(hardware, owner)| Ok((self.enrolment(hardware, *owner)?, &*hardware.signer)))
            .collect::<Result<_>>()?;
        let records = self.0.ledgers.registry.register_all(&enrolments).await;
        drop(enrolments);
        // Also after a failure: some may be registered.
        self.0.ledgers.checkpoint().await?;
        let records = records?;
        let mut enrolled = Vec::with_capacity(records.len());
        for ((hardware, _), record) in devices.into_iter().zip(records) {
            enrolled.push(self.enrolled(hardware, record).await?);
        }
        Ok(enrolled)
    }

    /// A device that was enrolled before, for example after a restart: continues its chain of batches.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it was never enrolled, [`ErrorKind::Conflict`] when the file that
    /// [keeps](Hardware::kept_in) its batches is in use, or the log went on after the last of them: somebody else
    /// signs with its key.
    pub async fn resume(&self, hardware: impl Into<Hardware>) -> Result<Device> {
        let hardware = hardware.into();
        let did = did(&*hardware.signer)?;
        self.resume_as(&did, hardware).await
    }

    /// As [`resume`](Self::resume), for a device that changed its key and kept its identity.
    ///
    /// # Errors
    /// As [`resume`](Self::resume), [`ErrorKind::Rejected`] when the key is not the present one of the device.
    pub async fn resume_as(&self, did: &Did, hardware: impl Into<Hardware>) -> Result<Device> {
        let hardware = hardware.into();
        let record = self.device(did).await?;
        if record.key != *hardware.signer.public_key() {
            let message = "the device signs with another key now; resume it with that one";
            return Err(Error::new(ErrorKind::Rejected, message).with("did", did));
        }
        let tip = self.0.log.latest_tip(did).await?;
        Device::new(self, hardware, record, tip)
    }

    async fn enrolled(&self, hardware: Hardware, record: DeviceRecord) -> Result<Device> {
        self.emit(NetworkEvent::DeviceEnrolled {
            did: record.did.clone(),
            owner: record.owner,
            account: record.account,
        });
        // The log may know a device that the registry forgot, for example in a crash before the embedded
        // chain was written: then its chain goes on, for a new one would be a fork.
        let tip = self.0.log.latest_tip(&record.did).await?;
        Device::new(self, hardware, record, tip)
    }

    fn enrolment(&self, hardware: &Hardware, owner: Address) -> Result<Enrolment> {
        let appraisal = self.appraise(hardware)?;
        let chip = if self.0.chips_once { Some(Nullifier::of(&appraisal)?) } else { None };
        let mut enrolment = Enrolment::new(appraisal, owner);
        if let Some(chip) = chip {
            enrolment = enrolment.nullifier(chip.into());
        }
        if let Some(next) = &hardware.next_key {
            enrolment = enrolment.next_key(next);
        }
        Ok(enrolment)
    }

    /// Puts a fresh question to the hardware and has the answer judged.
    fn appraise(&self, hardware: &Hardware) -> Result<Verified<Appraisal>> {
        let now = self.0.clock.now();
        let locked = || Error::new(ErrorKind::Unavailable, "the nonces are in use; try again");
        let nonce =
            self.0.nonces.lock().map_err(|_| locked())?.issue(&mut rand::rngs::OsRng, now)?;
        let signer = &hardware.signer;
        let challenge = Challenge {
            network: self.0.id.clone(),
            nonce,
            did: did(&**signer)?,
            key: signer.public_key().clone(),
        };
        let evidence = hardware.attester.attest(&challenge);
        // Also when there is no evidence: hardware that fails must not use up the nonces of others.
        self.0.nonces.lock().map_err(|_| locked())?.redeem(&nonce, self.0.clock.now())?;
        let appraisal = Unverified::new(evidence?).verify(&Appraising {
            verifier: &*self.0.verifier,
            challenge: &challenge,
            now,
        })?;
        if appraisal.tier == TrustTier::Contraindicated {
            let message = "the appraisal says that something is wrong with the hardware";
            return Err(Error::new(ErrorKind::Rejected, message).with("did", &challenge.did));
        }
        Ok(appraisal)
    }
}

/// Devices of this registry are named by the address of their key.
fn did(signer: &dyn Signer) -> Result<Did> {
    io::did_io(signer.public_key())
}
