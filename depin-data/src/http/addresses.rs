//! How many connections each address holds, served or waiting, so that no one takes all that there are.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::queue::Queue;

/// Connections by address; those of IPv6 count together by /64, which is what one customer has at least.
#[derive(Debug)]
pub(super) struct Addresses {
    most: usize,
    served: usize,
    held: Mutex<HashMap<IpAddr, Held>>,
}

/// What one address holds, as long as it holds anything.
#[derive(Debug)]
struct Held {
    count: usize,
    share: Arc<Queue>,
}

impl Addresses {
    /// For at most so many connections of an address, of which so many are served at a time.
    pub(super) fn new(most: usize, served: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), served, held: Mutex::default() })
    }

    /// A visitor from this address, unless it has sent enough.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Visitor> {
        let origin = origin(address);
        let mut all = self.held();
        let anew = || Held { count: 0, share: Arc::new(Queue::new(self.served)) };
        let held = all.entry(origin).or_insert_with(anew);
        if held.count >= self.most {
            return None;
        }
        held.count = held.count.saturating_add(1);
        let share = Arc::clone(&held.share);
        Some(Visitor { addresses: Arc::clone(self), origin, share })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Visitor {
    addresses: Arc<Addresses>,
    origin: IpAddr,
    share: Arc<Queue>,
}

impl Visitor {
    /// For the places that its address may have.
    pub(super) fn share(&self) -> &Queue {
        &self.share
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.addresses.held().entry(self.origin) {
            match held.get().count.checked_sub(1) {
                None | Some(0) => _ = held.remove(),
                Some(rest) => held.get_mut().count = rest,
            }
        }
    }
}

/// What counts as one address.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_has_its_own_count_and_leaves_nothing_behind() {
        let addresses = Addresses::new(2, 1);
        let enter = |address: &str| addresses.enter(address.parse().unwrap());
        let held = [enter("192.0.2.1"), enter("::ffff:192.0.2.1"), enter("192.0.2.2")];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none(), "in whichever way it is written");
        let customer = [enter("2001:db8:1:2::1"), enter("2001:db8:1:2:ffff::9")];
        assert!(customer.iter().all(Option::is_some));
        assert!(enter("2001:db8:1:2:3::").is_none(), "a customer has 2^64 of them");
        let other = enter("2001:db8:1:3::1");
        assert!(other.is_some());
        let [one, same, another] = &held;
        let share =
            |visitor: &Option<Visitor>| visitor.as_ref().unwrap().share().try_enter().is_some();
        let served = one.as_ref().unwrap().share().try_enter();
        assert!(served.is_some() && !share(same) && share(another), "one has its share");
        drop(served);
        assert!(share(same));
        drop((held, customer, other));
        assert!(addresses.held().is_empty());
    }
}
