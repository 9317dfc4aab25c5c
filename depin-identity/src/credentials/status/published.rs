//! Lists as their issuers publish them: who says it, about what, and until when it may be believed.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
};
use core::time::Duration;

use depin_core::{Did, Error, ErrorKind, Timestamp};

use super::{Purpose, StatusEntry, StatusError, StatusList, clip};

/// For what a list speaks, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListTerms {
    /// Where it is published; the `id` of its credential.
    pub id: String,
    /// Who answers for it.
    pub issuer: Did,
    /// What its bits say.
    pub purposes: BTreeSet<Purpose>,
    /// The moment whose state it tells (`validFrom`), which also numbers its versions.
    pub as_of: Timestamp,
    /// The last moment at which it may be believed.
    pub fresh_until: Timestamp,
}

/// A list with its terms, verified or made by its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedList {
    pub(super) terms: ListTerms,
    pub(super) list: StatusList,
}

impl PublishedList {
    /// The list of an issuer at `as_of`, to be believed for `life`.
    pub fn new(
        id: impl Into<String>,
        issuer: Did,
        purpose: Purpose,
        list: StatusList,
        as_of: Timestamp,
        life: Duration,
    ) -> Self {
        let fresh_until = as_of.plus(life);
        let purposes = [purpose].into();
        Self { terms: ListTerms { id: id.into(), issuer, purposes, as_of, fresh_until }, list }
    }

    /// The next version: some entries set or cleared at `as_of`, to be believed for `life`.
    ///
    /// # Errors
    /// [`StatusError::Range`] for an entry outside of the list, [`StatusError::Early`] when `as_of` is
    /// not after that of this version.
    pub fn update(
        &self,
        changes: impl IntoIterator<Item = (usize, bool)>,
        as_of: Timestamp,
        life: Duration,
    ) -> Result<Self, StatusError> {
        if as_of <= self.terms.as_of {
            return Err(StatusError::Early(clip(&self.terms.id)));
        }
        let mut next = self.clone();
        for (index, value) in changes {
            next.list.set(index, value)?;
        }
        next.terms.as_of = as_of;
        next.terms.fresh_until = as_of.plus(life);
        Ok(next)
    }

    /// The terms.
    pub const fn terms(&self) -> &ListTerms {
        &self.terms
    }

    /// The bits.
    pub const fn list(&self) -> &StatusList {
        &self.list
    }

    /// Whether the entry is set, if the list may be believed now and speaks about it.
    fn is_set(&self, entry: &StatusEntry, now: Timestamp) -> Result<bool, StatusError> {
        if now < self.terms.as_of {
            return Err(StatusError::Early(clip(&self.terms.id)));
        }
        if now > self.terms.fresh_until {
            return Err(StatusError::Stale(clip(&self.terms.id)));
        }
        if !self.terms.purposes.contains(&entry.purpose) {
            return Err(StatusError::Purpose(entry.purpose));
        }
        let index = usize::try_from(entry.index).ok();
        let range = StatusError::Range { index: entry.index, entries: self.list.entries() };
        index.and_then(|index| self.list.get(index)).ok_or(range)
    }
}

/// The lists at hand, by where they are published and by who answers for them.
///
/// Asking is failing closed: a list that is missing, stale or silent about a purpose is an error and
/// never means that a credential is valid.
#[derive(Clone, Debug, Default)]
pub struct StatusLists(BTreeMap<(String, Did), PublishedList>);

impl StatusLists {
    /// No lists.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Keeps a list in place of an older version of it, or of the same one.
    ///
    /// Versions are told apart by `as_of`: an issuer that changes bits has to move `validFrom` on.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when a newer version is at hand: somebody plays back an old list.
    /// [`ErrorKind::Conflict`] when another list of the same moment is, of which one is older.
    pub fn insert(&mut self, list: PublishedList) -> Result<(), Error> {
        let key = (list.terms.id.clone(), list.terms.issuer.clone());
        let refuse = |kind, message| Err(Error::new(kind, message).with("list", clip(&key.0)));
        if let Some(held) = self.0.get(&key) {
            if held.terms.as_of > list.terms.as_of {
                let message = "a newer version of the status list is at hand; do not go back";
                return refuse(ErrorKind::Rejected, message);
            }
            let same = held.list == list.list && held.terms.purposes == list.terms.purposes;
            if held.terms.as_of == list.terms.as_of && !same {
                let message = "another status list of the same moment is at hand; its issuer has \
                               to move validFrom on with every change";
                return refuse(ErrorKind::Conflict, message);
            }
        }
        self.0.insert(key, list);
        Ok(())
    }

    /// The list that `issuer` publishes at `id`.
    pub fn get(&self, id: &str, issuer: &Did) -> Option<&PublishedList> {
        self.0.get(&(id.into(), issuer.clone()))
    }

    /// As [`get`](Self::get), to [apply](PublishedList::apply) changes.
    pub fn get_mut(&mut self, id: &str, issuer: &Did) -> Option<&mut PublishedList> {
        self.0.get_mut(&(id.into(), issuer.clone()))
    }

    /// Whether an entry is set in the list that one of `issuers` publishes.
    ///
    /// # Errors
    /// [`StatusError::Missing`], [`StatusError::Stale`], [`StatusError::Early`],
    /// [`StatusError::Purpose`] or [`StatusError::Range`].
    pub fn is_set<'a>(
        &self,
        entry: &StatusEntry,
        issuers: impl IntoIterator<Item = &'a Did>,
        now: Timestamp,
    ) -> Result<bool, StatusError> {
        let list = issuers.into_iter().find_map(|issuer| self.get(&entry.list, issuer));
        list.ok_or_else(|| StatusError::Missing(clip(&entry.list)))?.is_set(entry, now)
    }
}
