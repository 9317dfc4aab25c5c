//! Chains of delegations, as the contract sees them.

use depin_core::Timestamp;
use depin_identity::registry::evm::SignedDelegation;

use super::*;

const OPERATE: u64 = 1 << 3;
const DELEGATE: u64 = 1 << 4;

struct Scene {
    devnet: Devnet,
    registry: EvmRegistry,
    owner: SoftwareKey,
    device: SoftwareKey,
    next: SoftwareKey,
    operator: SoftwareKey,
    did: Did,
}

fn address(key: &SoftwareKey) -> Address {
    key.public_key().to_address().unwrap()
}

impl Scene {
    async fn set() -> Self {
        let devnet = Devnet::start();
        let registry = registry(&devnet).await;
        let [owner, device, next, operator] = [1, 2, 3, 4].map(|seed| device(seed).0);
        let mut wish = wish(&device).next_key(next.public_key());
        wish.owner = address(&owner);
        let did = registry.register(&wish, &device).await.unwrap().did;
        Self { devnet, registry, owner, device, next, operator, did }
    }

    fn hours(&self, from: i64, until: i64) -> (Timestamp, Timestamp) {
        let at = |hours: i64| {
            let now = i64::try_from(self.devnet.timestamp()).unwrap();
            Timestamp::from_secs(u64::try_from(now + hours * 3600).unwrap())
        };
        (at(from), at(until))
    }

    /// Owner to device to operator.
    async fn chain(&self) -> [SignedDelegation; 2] {
        let (from, until) = self.hours(-1, 24);
        let scopes = OPERATE | DELEGATE;
        let subject = address(&self.device);
        let first = self.registry.delegate(&self.did, subject, scopes, from, until).await.unwrap();
        let first = first.sign(&self.owner).unwrap();
        let second = first.extend(address(&self.operator), OPERATE, from, until).unwrap();
        let second = second.sign(&self.device).unwrap();
        [first, second]
    }

    async fn refused(&self, chain: &[SignedDelegation], why: &str) {
        let error = self.registry.verify_delegation(chain).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn an_operator_acts_by_the_word_of_owner_and_device() {
    let scene = Scene::set().await;
    let chain = scene.chain().await;
    let granted = scene.registry.verify_delegation(&chain).await.unwrap();
    assert_eq!(granted, (address(&scene.operator), OPERATE));
    let granted = scene.registry.verify_delegation(&chain[..1]).await.unwrap();
    assert_eq!(granted, (address(&scene.device), OPERATE | DELEGATE));
    scene.refused(&chain[1..], "its issuer is not the owner").await;
    scene.refused(&[], "at least one").await;
}

#[tokio::test]
async fn nobody_passes_on_more_than_he_has() {
    let scene = Scene::set().await;
    let [first, _] = scene.chain().await;
    let (from, until) = scene.hours(-1, 24);
    let (_, later) = scene.hours(-1, 25);
    let operator = address(&scene.operator);
    for more in [
        first.extend(operator, OPERATE | 1, from, until),
        first.extend(operator, OPERATE, from, later),
    ] {
        let more = more.unwrap().sign(&scene.device).unwrap();
        scene.refused(&[first.clone(), more], "gives more").await;
    }
    let thief = device(9).0;
    let forged = first.extend(operator, OPERATE, from, until).unwrap().sign(&thief).unwrap();
    scene.refused(&[first.clone(), forged], "did not sign").await;
    let other = scene.registry.delegate(&scene.did, operator, 1, from, until).await.unwrap();
    assert!(other.sign(&thief).is_err());
}

#[tokio::test]
async fn a_delegation_ends_when_it_is_taken_back() {
    let scene = Scene::set().await;
    let (owner, device) = (address(&scene.owner), address(&scene.device));
    let [first, second] = scene.chain().await;
    let granted = second.delegation();
    let stranger = device_and_back(&scene, granted).await;
    assert_eq!(stranger.kind(), ErrorKind::Rejected);
    scene.registry.revoke_delegation(granted.hash()).await.unwrap();
    let chain = [first.clone(), second.clone()];
    scene.registry.verify_delegation(&chain).await.expect("a stranger takes nothing back");
    scene.registry.revoke_delegation_signed(granted, device, &scene.device).await.unwrap();
    scene.refused(&chain, "took it back").await;
    scene.registry.verify_delegation(&chain[..1]).await.unwrap();
    let granted = first.delegation();
    scene.registry.revoke_delegation_signed(granted, owner, &scene.owner).await.unwrap();
    scene.refused(&chain[..1], "took it back").await;
}

/// What the registry says when another key signs in the device's name.
async fn device_and_back(
    scene: &Scene,
    granted: &depin_identity::registry::evm::Delegation,
) -> depin_core::Error {
    let device = address(&scene.device);
    scene.registry.revoke_delegation_signed(granted, device, &scene.operator).await.unwrap_err()
}

#[tokio::test]
async fn rotation_and_sale_end_every_delegation() {
    let scene = Scene::set().await;
    let chain = scene.chain().await;
    scene.registry.rotate(&scene.did, &scene.next, None).await.unwrap();
    scene.refused(&chain, "changed hands or key").await;

    // The thief of the old key issues for the new generation; the new key does it rightly.
    let [first, stolen] = scene.chain().await;
    scene.refused(&[first.clone(), stolen], "did not sign").await;
    let (from, until) = scene.hours(-1, 24);
    let fresh = first.extend(address(&scene.operator), OPERATE, from, until);
    let chain = [first, fresh.unwrap().sign(&scene.next).unwrap()];
    scene.registry.verify_delegation(&chain).await.unwrap();

    scene.registry.set_status(&scene.did, DeviceStatus::Suspended).await.unwrap();
    scene.refused(&chain, "status").await;
    scene.registry.set_status(&scene.did, DeviceStatus::Active).await.unwrap();
    let buyer = Address::repeat_byte(0xbb);
    scene.registry.transfer(&scene.did, buyer, &scene.owner).await.unwrap();
    scene.refused(&chain, "changed hands or key").await;
}

#[tokio::test]
async fn a_delegation_counts_in_its_time_only() {
    let scene = Scene::set().await;
    let chain = scene.chain().await;
    scene.devnet.increase_time(25 * 3600).unwrap();
    scene.devnet.mine(1);
    scene.refused(&chain, "no longer").await;
}

#[tokio::test]
async fn a_delegation_within_a_second_is_refused_and_not_rounded() {
    let scene = Scene::set().await;
    let [first, _] = scene.chain().await;
    let (from, until) = scene.hours(-1, 24);
    let operator = address(&scene.operator);
    let within = |moment: Timestamp| Timestamp::from_millis(moment.millis() + 1);
    for (from, until) in [(within(from), until), (from, within(until))] {
        let registry = &scene.registry;
        let own = registry.delegate(&scene.did, operator, OPERATE, from, until).await;
        let passed = first.extend(operator, OPERATE, from, until);
        for refused in [own, passed] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Malformed);
        }
    }
}
