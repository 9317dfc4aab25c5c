//! Who shares in what a device earned: the device, its owner, its operator, those who delegated to it.
//!
//! The split is in basis points that sum to 10,000, so a typing error is found when the network is set up
//! and not when it pays. A class that nobody belongs to leaves its part to the others.

use std::{collections::BTreeMap, fmt};

use depin_core::{Address, Amount, Error, ErrorKind, Result, U256};

use super::LargestRemainder;

/// A hundred percent in basis points.
pub const WHOLE: u16 = 10_000;

/// `floor(amount * basis_points / 10,000)`.
///
/// # Errors
/// [`ErrorKind::Overflow`] past 2^256 - 1, which takes more than 10,000 basis points.
pub fn basis_points(amount: Amount, basis_points: u32) -> Result<Amount> {
    amount.mul_div(u64::from(basis_points).into(), u64::from(WHOLE).into())
}

/// A class of recipients. The order is that in which equal remainders are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The device's own account.
    Device,
    /// Who owns the device.
    Owner,
    /// Who runs it.
    Operator,
    /// Those who delegated stake to it, by their stakes.
    Delegators,
}

impl Class {
    const ALL: [Self; 4] = [Self::Device, Self::Owner, Self::Operator, Self::Delegators];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Delegators => "delegators",
        }
    }
}

/// The accounts behind a device. Who is absent takes no part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    /// The device's own account.
    pub device: Option<Address>,
    /// Who owns it.
    pub owner: Option<Address>,
    /// Who runs it.
    pub operator: Option<Address>,
    /// Delegators with their stakes, each once.
    pub delegators: Vec<(Address, U256)>,
}

/// A part of what a device earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// As what the account is paid.
    pub class: Class,
    /// Who is paid.
    pub account: Address,
    /// How much, never zero.
    pub amount: Amount,
}

/// How much of a device's reward each class gets.
///
/// ```
/// use depin_core::{Address, Amount, U256};
/// use depin_payment::shares::classes::{Class, Classes, Parties};
///
/// let classes = Classes::new([(Class::Owner, 7_000), (Class::Delegators, 3_000)])?;
/// let [owner, ann, bob] = [1, 2, 3].map(Address::repeat_byte);
/// let parties = Parties {
///     owner: Some(owner),
///     delegators: vec![(ann, U256::from(2)), (bob, U256::from(1))],
///     ..Parties::default()
/// };
/// let (parts, unallocated) = classes.split(Amount::from(100), &parties)?;
/// let paid: Vec<_> = parts.iter().map(|part| (part.account, part.amount)).collect();
/// assert_eq!(paid, [(owner, 70), (ann, 20), (bob, 10)].map(|(who, n)| (who, Amount::from(n))));
/// assert!(unallocated.is_zero());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes(BTreeMap<Class, u16>);

impl Classes {
    /// Basis points per class; a class that is not listed gets nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a class is listed twice or the sum is not 10,000.
    pub fn new(parts: impl IntoIterator<Item = (Class, u16)>) -> Result<Self> {
        let (mut classes, mut sum) = (BTreeMap::new(), 0_u32);
        for (class, part) in parts {
            if classes.insert(class, part).is_some() {
                let text = "a class is listed twice; give each class one part";
                return Err(Error::new(ErrorKind::Config, text).with("class", class.as_str()));
            }
            sum = sum.saturating_add(u32::from(part));
        }
        if sum != u32::from(WHOLE) {
            let text = "the parts of the classes do not sum to 10,000 basis points";
            return Err(Error::new(ErrorKind::Config, text).with("sum", sum));
        }
        Ok(Self(classes))
    }

    /// Splits what a device earned. The parts and what is unallocated, second, sum to `amount`.
    ///
    /// First among the classes that somebody belongs to (delegators: with stake), by their basis points
    /// with [`LargestRemainder`] in the order of [`Class`]; then among delegators by stake, in the order of
    /// their accounts. When nobody belongs to any class, all is unallocated.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when a delegator is listed twice, [`ErrorKind::Overflow`] when the stakes
    /// sum to 2^256 or more.
    pub fn split(&self, amount: Amount, parties: &Parties) -> Result<(Vec<Part>, Amount)> {
        let mut delegators = parties.delegators.clone();
        delegators.sort_unstable();
        if let Some([(twice, _), _]) = delegators.array_windows().find(|[a, b]| a.0 == b.0) {
            let text = "a delegator is listed twice; add up its stakes first";
            return Err(Error::new(ErrorKind::Conflict, text).with("account", twice));
        }
        let stakes: Vec<U256> = delegators.iter().map(|(_, stake)| *stake).collect();
        let staked = !super::sum(stakes.iter().copied())?.is_zero();
        let single = |class| match class {
            Class::Device => parties.device,
            Class::Owner => parties.owner,
            Class::Operator => parties.operator,
            Class::Delegators => None,
        };
        let weight = |class: Class| {
            let present = single(class).is_some() || (class == Class::Delegators && staked);
            U256::from(self.0.get(&class).filter(|_| present).copied().unwrap_or_default())
        };
        let split = LargestRemainder::split(amount, &Class::ALL.map(weight))?;
        let mut parts = Vec::new();
        for (class, share) in Class::ALL.into_iter().zip(split.shares) {
            if let Some(account) = single(class) {
                parts.push(Part { class, account, amount: share });
            } else if class == Class::Delegators && staked {
                let shares = LargestRemainder::split(share, &stakes)?.shares;
                let part = |((account, _), amount): (&(Address, U256), Amount)| Part {
                    class,
                    account: *account,
                    amount,
                };
                parts.extend(delegators.iter().zip(shares).map(part));
            }
        }
        parts.retain(|part| !part.amount.is_zero());
        Ok((parts, split.unallocated))
    }
}

impl fmt::Display for Classes {
    /// The rule with its parameters, for manifests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("classes(")?;
        for (at, (class, part)) in self.0.iter().enumerate() {
            write!(f, "{}{}:{part}bps", if at == 0 { "" } else { ", " }, class.as_str())?;
        }
        f.write_str(")")
    }
}
