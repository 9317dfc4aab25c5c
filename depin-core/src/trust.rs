//! Trust as a type.
//!
//! What came from outside is [`Unverified`]; only passing a [`Verifier`] turns it into [`Verified`].
//! Reward policies and message handlers accept nothing else, so skipping a check does not compile.

use core::{fmt, ops::Deref};

use crate::error::Error;

/// Something from outside that nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified<T>(T);

impl<T> Unverified<T> {
    /// Marks `value` as coming from outside.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The unchecked value, for routing and logging only.
    pub const fn peek(&self) -> &T {
        &self.0
    }

    /// Lets `verifier` decide.
    ///
    /// # Errors
    /// Whatever the verifier objects to.
    pub fn verify<V: Verifier<T> + ?Sized>(
        &self,
        verifier: &V,
    ) -> Result<Verified<V::Output>, V::Error> {
        verifier.check(&self.0).map(Verified)
    }
}

/// Decides whether an unverified `T` is what it claims to be.
///
/// # Contract
/// 1. `check` MUST return `Ok` only if every claim in the output was checked against `candidate`.
/// 2. `check` MUST be a function of the candidate and of what the verifier was built with: same
///    question, same answer.
/// 3. `check` MUST NOT panic, whatever the candidate holds.
///
/// ```
/// use depin_core::{Error, ErrorKind, Unverified, Verified, Verifier};
///
/// struct Even;
/// impl Verifier<u32> for Even {
///     type Output = u32;
///     type Error = Error;
///     fn check(&self, candidate: &u32) -> Result<u32, Error> {
///         if candidate % 2 == 0 { Ok(*candidate) } else { Err(Error::new(ErrorKind::Rejected, "odd")) }
///     }
/// }
/// let four: Verified<u32> = Unverified::new(4).verify(&Even)?;
/// assert_eq!(*four, 4);
/// assert!(Unverified::new(5).verify(&Even).is_err());
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot verify `{T}`",
    note = "implement `depin_core::Verifier<{T}>`"
)]
pub trait Verifier<T> {
    /// What a successful check yields.
    type Output;
    /// Why a check failed.
    type Error: Into<Error>;

    /// Checks the candidate.
    ///
    /// # Errors
    /// Says what is wrong with the candidate.
    fn check(&self, candidate: &T) -> Result<Self::Output, Self::Error>;
}

/// Something that passed a [`Verifier`].
///
/// There is no public constructor, no `Default` and no `Deserialize`:
///
/// ```compile_fail
/// let forged = depin_core::Verified(5);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Gives up the proof of verification and returns the value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.0).finish()
    }
}
