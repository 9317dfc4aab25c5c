//! From a history to the document at a moment, without a network.

use alloc::{collections::BTreeMap, format, string::ToString, vec::Vec};

use depin_core::{
    Address, B256, ChainId, Timestamp,
    document::{Material, Relationships},
    resolution::DocumentMetadata,
};

use super::{
    Block, Change, History, Identifier,
    attribute::{Attribute, SECP256K1, endpoint, text},
};
use crate::{Did, DidDocument, DidUrl, Result, Service, VerificationMethod};

/// Which state of an identity is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// The newest one, seen at a time. Should the newest change be later, then at its time: a clock that
    /// is behind must not bring back what was revoked.
    Head(Timestamp),
    /// The one that a block left behind.
    Block {
        /// Its number.
        number: u64,
        /// Its time, which decides what had expired.
        time: Timestamp,
    },
    /// The one that was valid at a time.
    Time(Timestamp),
}

/// The document of an identity at a moment, and what is known about it.
///
/// `history` must reach to the moment; what it holds beyond tells of the next version.
///
/// ```
/// use depin_core::{Address, ChainId, Timestamp};
/// use depin_identity::methods::ethr::{self, Block, Change, History, Moment};
///
/// let did = "did:ethr:0xf3beac30c498d9e26865f34fcaa57dbb935b0d74".parse()?;
/// let lost = Block::new(90, Timestamp::from_secs(900), vec![Change::Owner(Address::ZERO)]);
/// let history = History::new(vec![lost])?;
/// let at = |moment| ethr::document(&did, ChainId::new(1), &history, moment);
///
/// let (document, metadata) = at(Moment::Time(Timestamp::from_secs(899)))?;
/// assert_eq!(document.verification_method[0].id.fragment(), Some("controller"));
/// assert_eq!(metadata.next_version_id.as_deref(), Some("90"));
///
/// let (document, metadata) = at(Moment::Head(Timestamp::from_secs(1000)))?;
/// assert!(metadata.deactivated && document.verification_method.is_empty());
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// As [`Identifier::of`].
pub fn document(
    did: &Did,
    chain: ChainId,
    history: &History,
    moment: Moment,
) -> Result<(DidDocument, DocumentMetadata)> {
    State::at(history, moment).write(did, &Identifier::of(did)?, chain)
}

/// What the events up to a moment leave behind.
pub(super) struct State<'a> {
    now: u64,
    owner: Option<Address>,
    version: Option<&'a Block>,
    next: Option<&'a Block>,
    keys: Entries<'a>,
    services: Entries<'a>,
}

impl<'a> State<'a> {
    pub(super) fn at(history: &'a History, moment: Moment) -> Self {
        let newest = history.blocks().last().map_or(Timestamp::EPOCH, |block| block.time);
        let (height, now) = match moment {
            Moment::Head(now) => (u64::MAX, now.max(newest)),
            Moment::Block { number, time } => (number, time),
            Moment::Time(time) => (u64::MAX, time),
        };
        let now = now.secs();
        let mut state = Self {
            now,
            owner: None,
            version: None,
            next: None,
            keys: Entries::default(),
            services: Entries::default(),
        };
        let counted = history.blocks().iter().filter(|block| block.changes.iter().any(is_readable));
        for block in counted {
            if block.number > height || block.time.secs() > now {
                state.next = Some(block);
                break;
            }
            state.version = Some(block);
            block.changes.iter().for_each(|change| state.apply(change));
            if state.is_deactivated() {
                break;
            }
        }
        state
    }

    /// The null owner is for ever: the contract would let the identity's own key go on, but the method
    /// says that what follows does not count.
    pub(super) fn is_deactivated(&self) -> bool {
        self.owner == Some(Address::ZERO)
    }

    fn apply(&mut self, change: &'a Change) {
        if self.is_deactivated() {
            return;
        }
        match change {
            Change::Owner(owner) => self.owner = Some(*owner),
            Change::Delegate { kind, delegate, valid_to } => {
                if text(kind).is_some() {
                    self.keys.note((kind, delegate.as_slice()), change, *valid_to > self.now);
                }
            }
            Change::Attribute { name, value, valid_to } => {
                let entries = match text(name).map(Attribute::of) {
                    Some(Attribute::Key(_)) => &mut self.keys,
                    Some(Attribute::Service(_)) => &mut self.services,
                    _ => return,
                };
                entries.note((name, value), change, *valid_to > self.now);
            }
        }
    }

    pub(super) fn write(
        &self,
        did: &Did,
        identifier: &Identifier,
        chain: ChainId,
    ) -> Result<(DidDocument, DocumentMetadata)> {
        let mut metadata = DocumentMetadata::default();
        metadata.deactivated = self.is_deactivated();
        metadata.updated = self.version.map(|block| block.time);
        metadata.version_id = self.version.map(|block| block.number.to_string());
        metadata.next_update = self.next.map(|block| block.time);
        metadata.next_version_id = self.next.map(|block| block.number.to_string());
        let mut document = DidDocument::new(did.clone());
        if metadata.deactivated {
            return Ok((document, metadata));
        }
        document.verification_method = controllers(did, identifier, chain, self.owner)?;
        for (number, change) in self.keys.living() {
            document.verification_method.extend(method(did, chain, number, change)?);
        }
        for (number, change) in self.services.living() {
            document.service.extend(service(did, number, change)?);
        }
        Ok((document, metadata))
    }
}

/// Whether an event counts at all: one with an unreadable name is some other use of the registry.
fn is_readable(change: &Change) -> bool {
    match change {
        Change::Owner(_) => true,
        Change::Delegate { kind: name, .. } | Change::Attribute { name, .. } => {
            text(name).is_some()
        }
    }
}

/// Keys or services in the order in which they first came, each with the number of its newest event.
#[derive(Default)]
struct Entries<'a> {
    events: u64,
    places: BTreeMap<(&'a B256, &'a [u8]), usize>,
    slots: Vec<Option<(u64, &'a Change)>>,
}

impl<'a> Entries<'a> {
    /// Counts every event, so that numbers never mean something else later.
    fn note(&mut self, key: (&'a B256, &'a [u8]), change: &'a Change, lives: bool) {
        self.events = self.events.saturating_add(1);
        if !lives {
            let place = self.places.remove(&key);
            if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
                *slot = None;
            }
            return;
        }
        let entry = Some((self.events, change));
        let place = *self.places.entry(key).or_insert(self.slots.len());
        match self.slots.get_mut(place) {
            Some(slot) => *slot = entry,
            None => self.slots.push(entry),
        }
    }

    fn living(&self) -> impl Iterator<Item = (u64, &'a Change)> {
        self.slots.iter().copied().flatten()
    }
}

/// The `type` of accounts.
pub(in crate::methods) const ACCOUNT: &str = "EcdsaSecp256k1RecoveryMethod2020";

/// The owner's account, and the key of the DID itself as long as that is the owner's.
fn controllers(
    did: &Did,
    identifier: &Identifier,
    chain: ChainId,
    owner: Option<Address>,
) -> Result<Vec<VerificationMethod>> {
    let address = owner.unwrap_or_else(|| identifier.address());
    let both = Relationships::AUTHENTICATION | Relationships::ASSERTION;
    let account = Material::Account { chain, address };
    let mut methods = Vec::from([entry(did, "controller", ACCOUNT, account, both)?]);
    if let Some(key) = identifier.key().filter(|_| address == identifier.address()) {
        let key = Material::Key(key.clone());
        methods.push(entry(did, "controllerKey", SECP256K1, key, both)?);
    }
    Ok(methods)
}

fn method(
    did: &Did,
    chain: ChainId,
    number: u64,
    change: &Change,
) -> Result<Option<VerificationMethod>> {
    let fragment = format!("delegate-{number}");
    match change {
        Change::Delegate { kind, delegate, .. } => {
            let relationships = match text(kind) {
                Some("sigAuth") => Relationships::AUTHENTICATION | Relationships::ASSERTION,
                Some("veriKey") => Relationships::ASSERTION,
                _ => return Ok(None),
            };
            let account = Material::Account { chain, address: *delegate };
            entry(did, &fragment, ACCOUNT, account, relationships).map(Some)
        }
        Change::Attribute { name, value, .. } => {
            let Some(Attribute::Key(Some(key))) = text(name).map(Attribute::of) else {
                return Ok(None);
            };
            let Some(material) = key.material(value) else { return Ok(None) };
            entry(did, &fragment, key.kind(), material, key.relationships()).map(Some)
        }
        Change::Owner(_) => Ok(None),
    }
}

fn service(did: &Did, number: u64, change: &Change) -> Result<Option<Service>> {
    let Change::Attribute { name, value, .. } = change else { return Ok(None) };
    let Some(Attribute::Service(Some(kind))) = text(name).map(Attribute::of) else {
        return Ok(None);
    };
    let Some(endpoint) = endpoint(value) else { return Ok(None) };
    let id = DidUrl::parse(&format!("{did}#service-{number}"))?;
    Ok(Some(Service { id, kind: kind.into(), endpoint }))
}

fn entry(
    did: &Did,
    fragment: &str,
    kind: &str,
    material: Material,
    relationships: Relationships,
) -> Result<VerificationMethod> {
    let id = DidUrl::parse(&format!("{did}#{fragment}"))?;
    Ok(VerificationMethod {
        id,
        controller: did.clone(),
        kind: kind.into(),
        material,
        relationships,
    })
}
