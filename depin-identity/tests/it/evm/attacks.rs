//! Whoever holds the registrar's key still needs the device's consent, once for each action.

use super::*;

/// What a device consented to, for a registrar who sends it himself instead of through our client.
struct Forge {
    registry: EvmRegistry,
    deadline: u64,
}

impl Forge {
    fn at(devnet: &Devnet, registry: &EvmRegistry) -> Self {
        Self { registry: registry.clone(), deadline: devnet.timestamp() + 60 }
    }

    fn registration(&self, key: &SoftwareKey) -> Contract::Registration {
        let xy = key.public_key().to_uncompressed().unwrap();
        Contract::Registration {
            device: key.public_key().to_address().unwrap(),
            owner: Address::repeat_byte(0xaa),
            details: Contract::Details {
                algorithm: u8::from(key.public_key().algorithm() == Algorithm::Es256),
                publicKeyX: B256::from_slice(&xy[..32]),
                publicKeyY: B256::from_slice(&xy[32..]),
                nextKeyHash: B256::ZERO,
                nullifier: B256::ZERO,
                documentHash: B256::ZERO,
                evidenceHash: B256::ZERO,
                documentURI: String::new(),
            },
            nonce: U256::ZERO,
            deadline: U256::from(self.deadline),
        }
    }

    fn update(&self, key: &SoftwareKey, nonce: u64) -> Contract::DocumentUpdate {
        Contract::DocumentUpdate {
            device: key.public_key().to_address().unwrap(),
            documentHash: B256::repeat_byte(1),
            documentURI: "ipfs://evil".into(),
            nonce: U256::from(nonce),
            deadline: U256::from(self.deadline),
        }
    }

    fn sign(&self, signer: &SoftwareKey, what: &impl SolStruct) -> Contract::Signature {
        self.sign_in(self.registry.address(), self.registry.chain().id().value(), signer, what)
    }

    fn sign_in(
        &self,
        contract: Address,
        chain: u64,
        signer: &SoftwareKey,
        what: &impl SolStruct,
    ) -> Contract::Signature {
        let domain = depin_evm::alloy::sol_types::eip712_domain! {
            name: "DeviceRegistry",
            version: "1",
            chain_id: chain,
            verifying_contract: contract,
        };
        let digest = what.eip712_signing_hash(&domain);
        let signature = signer.sign_prehash(&digest.0).unwrap();
        let (r, s) = signature.as_bytes().split_at(32);
        let (r, mut vs) = (B256::from_slice(r), U256::from_be_slice(s));
        if signer.public_key().algorithm() == Algorithm::Es256k {
            let address = signer.public_key().to_address().unwrap();
            let long = depin_evm::recoverable(&signature, digest, address).unwrap();
            vs |= U256::from(long[64] - 27) << 255;
        }
        Contract::Signature { r, vs: vs.into() }
    }

    async fn register(
        &self,
        what: Contract::Registration,
        signature: Contract::Signature,
    ) -> Result<(), Revert> {
        let contract = Contract::new(self.registry.address(), self.registry.chain().provider());
        let call = contract.register(what, signature).into_transaction_request();
        self.send(call).await
    }

    async fn change(
        &self,
        update: Contract::DocumentUpdate,
        current: Contract::Details,
        signature: Contract::Signature,
    ) -> Result<(), Revert> {
        let contract = Contract::new(self.registry.address(), self.registry.chain().provider());
        let call = contract.updateDocument(update, current, signature).into_transaction_request();
        self.send(call).await
    }

    async fn send(
        &self,
        tx: depin_evm::alloy::rpc::types::TransactionRequest,
    ) -> Result<(), Revert> {
        let sent = self.registry.chain().send(tx).await;
        sent.map(drop).map_err(|error| Revert::of(&error).expect("a revert").clone())
    }
}

fn is<E: SolError>(outcome: Result<(), Revert>) -> bool {
    outcome.is_err_and(|revert| revert.decode::<E>().is_some())
}

#[tokio::test]
async fn a_registration_signed_by_another_key_is_refused_by_the_contract() {
    let devnet = Devnet::start();
    let forge = Forge::at(&devnet, &registry(&devnet).await);
    for algorithm in [Algorithm::Es256k, Algorithm::Es256] {
        let victim = SoftwareKey::from_seed(algorithm, [1; 32]);
        let thief = SoftwareKey::from_seed(algorithm, [2; 32]);
        let registration = forge.registration(&victim);
        let signature = forge.sign(&thief, &registration);
        let outcome = forge.register(registration.clone(), signature).await;
        assert!(is::<Contract::InvalidDeviceSignature>(outcome));
        // With the thief's key in the details the address no longer fits.
        let mut swapped = registration;
        swapped.details = forge.registration(&thief).details;
        let signature = forge.sign(&thief, &swapped);
        assert!(is::<Contract::KeyMismatch>(forge.register(swapped, signature).await));
    }
}

#[tokio::test]
async fn a_consent_covers_every_field_contract_and_chain() {
    let devnet = Devnet::start();
    let forge = Forge::at(&devnet, &registry(&devnet).await);
    let key = device(1).0;
    let honest = forge.registration(&key);
    let signature = forge.sign(&key, &honest);
    let changes: [fn(&mut Contract::Registration); 7] = [
        |r| r.details.nextKeyHash = B256::repeat_byte(1),
        |r| r.details.nullifier = B256::repeat_byte(1),
        |r| r.owner = Address::repeat_byte(0xbb),
        |r| r.details.documentHash = B256::repeat_byte(1),
        |r| r.details.documentURI = "ipfs://evil".into(),
        |r| r.details.evidenceHash = B256::repeat_byte(1),
        |r| r.deadline += U256::ONE,
    ];
    for change in changes {
        let mut changed = honest.clone();
        change(&mut changed);
        let outcome = forge.register(changed, signature.clone()).await;
        assert!(is::<Contract::InvalidDeviceSignature>(outcome));
    }
    let (contract, chain) = (forge.registry.address(), forge.registry.chain().id().value());
    for (contract, chain) in [(Address::repeat_byte(1), chain), (contract, 1)] {
        let elsewhere = forge.sign_in(contract, chain, &key, &honest);
        let outcome = forge.register(honest.clone(), elsewhere).await;
        assert!(is::<Contract::InvalidDeviceSignature>(outcome));
    }
    forge.register(honest, signature).await.unwrap();
}

#[tokio::test]
async fn a_replayed_registration_is_refused_even_after_revocation() {
    let devnet = Devnet::start();
    let forge = Forge::at(&devnet, &registry(&devnet).await);
    let (key, did) = device(1);
    let registration = forge.registration(&key);
    let signature = forge.sign(&key, &registration);
    forge.register(registration.clone(), signature.clone()).await.unwrap();
    let again = forge.register(registration.clone(), signature.clone()).await;
    assert!(is::<Contract::AlreadyRegistered>(again));
    forge.registry.set_status(&did, DeviceStatus::Revoked).await.unwrap();
    assert!(is::<Contract::AlreadyRegistered>(forge.register(registration, signature).await));
}

#[tokio::test]
async fn a_signature_for_one_action_is_worthless_for_the_other() {
    let devnet = Devnet::start();
    let forge = Forge::at(&devnet, &registry(&devnet).await);
    let key = device(1).0;
    let registration = forge.registration(&key);
    let as_update = forge.sign(&key, &forge.update(&key, 0));
    let outcome = forge.register(registration.clone(), as_update).await;
    assert!(is::<Contract::InvalidDeviceSignature>(outcome));

    let signature = forge.sign(&key, &registration);
    forge.register(registration.clone(), signature.clone()).await.unwrap();
    let update = forge.update(&key, 0);
    let outcome = forge.change(update, registration.details, signature).await;
    assert!(is::<Contract::InvalidDeviceSignature>(outcome));
}

#[tokio::test]
async fn a_replayed_change_of_the_document_is_refused() {
    let devnet = Devnet::start();
    let forge = Forge::at(&devnet, &registry(&devnet).await);
    let key = device(1).0;
    let registration = forge.registration(&key);
    let signature = forge.sign(&key, &registration);
    forge.register(registration.clone(), signature).await.unwrap();
    let update = forge.update(&key, 0);
    let signature = forge.sign(&key, &update);
    let current = registration.details;
    forge.change(update.clone(), current.clone(), signature.clone()).await.unwrap();
    let stale = forge.change(update.clone(), current.clone(), signature.clone()).await;
    assert!(is::<Contract::DetailsMismatch>(stale));
    let next = Contract::Details {
        documentHash: update.documentHash,
        documentURI: update.documentURI.clone(),
        ..current
    };
    let stale = forge.change(update.clone(), next.clone(), signature.clone()).await;
    assert!(is::<Contract::DetailsMismatch>(stale));
    let later = Contract::DocumentUpdate { nonce: U256::ONE, ..update };
    assert!(is::<Contract::InvalidDeviceSignature>(forge.change(later, next, signature).await));
}

#[tokio::test]
async fn an_expired_consent_is_refused() {
    let devnet = Devnet::start();
    let forge = Forge::at(&devnet, &registry(&devnet).await);
    let key = device(1).0;
    let registration = forge.registration(&key);
    let signature = forge.sign(&key, &registration);
    devnet.increase_time(3600).unwrap();
    devnet.mine(1);
    assert!(is::<Contract::SignatureExpired>(forge.register(registration, signature).await));
}

/// As `updateDocument` with a URI of any bytes: those of the ABI, which need not be a text.
#[tokio::test]
async fn a_uri_that_is_no_text_does_not_make_a_device_unreadable() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let forge = Forge::at(&devnet, &registry);
    let (key, did) = device(1);
    forge
        .register(forge.registration(&key), forge.sign(&key, &forge.registration(&key)))
        .await
        .unwrap();
    let contract = Contract::new(registry.address(), registry.chain().provider());
    let current = forge.registration(&key).details;
    let mut update = forge.update(&key, 0);
    update.documentURI = "~".into();
    let signature = forge.sign(&key, &update);
    let call = contract.updateDocument(update, current, signature);
    let mut input = call.calldata().to_vec();
    let tilde = input.iter().rposition(|byte| *byte == b'~').unwrap();
    // The contract looks at the bytes before the signature.
    for byte in [0x80, 0xff] {
        input[tilde] = byte;
        let tx = depin_evm::alloy::rpc::types::TransactionRequest::default();
        let tx = tx.to(registry.address()).input(input.clone().into());
        assert!(is::<Contract::DocumentURINotASCII>(forge.send(tx).await));
    }
    assert!(registry.device(&did).await.unwrap().is_some());
}
