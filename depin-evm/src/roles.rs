//! Who may do what in a contract, and how that passes to somebody else.
//!
//! All contracts with roles use OpenZeppelin's `AccessControl`, so one handle serves each of them: the token, the
//! emission controller, distributors, the registry, minters, stakes. Every call looks first and sends nothing where
//! nothing changes, so each can be made again after a crash.

use alloy::{
    contract::SolCallBuilder,
    primitives::{Address, B256, keccak256},
    providers::{DynProvider, Provider},
    sol_types::SolCall,
};
use depin_core::{Error, ErrorKind, Result};

use crate::{
    Chain, Revert,
    bindings::NetworkToken::{
        AccessControlUnauthorizedAccount, NetworkTokenInstance, new as access_control,
    },
};

/// A right in a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Role(&'static str);

impl Role {
    /// Grants and withdraws all roles of the contract; of a distributor, ends pauses too.
    pub const ADMIN: Self = Self("DEFAULT_ADMIN_ROLE");
    /// Admits devices to a `DeviceRegistry`.
    pub const REGISTRAR: Self = Self("REGISTRAR_ROLE");
    /// Issues a `NetworkToken` up to its cap.
    pub const MINTER: Self = Self("MINTER_ROLE");
    /// Has an `EmissionController` or a `CreditMinter` issue what its rules allow.
    pub const EMITTER: Self = Self("EMITTER_ROLE");
    /// Reports stake or revenue to an `EmissionController`.
    pub const REPORTER: Self = Self("REPORTER_ROLE");
    /// Publishes the epochs of a distributor.
    pub const PUBLISHER: Self = Self("PUBLISHER_ROLE");
    /// Decides the disputes of a distributor.
    pub const ARBITER: Self = Self("ARBITER_ROLE");
    /// Stops the claims of a distributor.
    pub const GUARDIAN: Self = Self("GUARDIAN_ROLE");
    /// Uses up the credits of a `CreditMinter`.
    pub const SPENDER: Self = Self("SPENDER_ROLE");
    /// Slashes stakes of a `StakeManager`.
    pub const SLASHER: Self = Self("SLASHER_ROLE");
    /// Withdraws slashes of a `StakeManager` on appeal.
    pub const JUDGE: Self = Self("JUDGE_ROLE");

    /// The role of a contract of your own, by the name that it hashes.
    pub const fn named(name: &'static str) -> Self {
        Self(name)
    }

    /// The name that the contract gives it.
    pub const fn name(&self) -> &'static str {
        self.0
    }

    /// The word that stands for it on chain: the hash of its name; zero for [`ADMIN`](Self::ADMIN).
    pub fn id(&self) -> B256 {
        if *self == Self::ADMIN { B256::ZERO } else { keccak256(self.0) }
    }
}

/// The roles of one contract, through an account of the chain.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{ErrorKind, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, Roles, deploy};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
/// let (station, safe) = (devnet.account(1).address(), devnet.account(2).address());
///
/// let distributor = Roles::of(chain.clone(), contracts.distributor);
/// distributor.grant(Role::GUARDIAN, station).await?;
/// assert!(distributor.has(Role::GUARDIAN, station).await?);
///
/// // From here on the safe administers the contract, and this account does not.
/// distributor.hand_over(safe).await?;
/// assert!(distributor.has(Role::ADMIN, safe).await?);
/// let error = distributor.withdraw(Role::GUARDIAN, station).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Rejected);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Roles {
    chain: Chain,
    contract: Address,
}

impl Roles {
    /// The roles of the contract at `contract`.
    pub const fn of(chain: Chain, contract: Address) -> Self {
        Self { chain, contract }
    }

    /// Whether `account` has the role.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn has(&self, role: Role, account: Address) -> Result<bool> {
        self.chain.read(&self.access().hasRole(role.id(), account)).await
    }

    /// Gives `account` the role. Only the administrator may.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for anybody else; [`ErrorKind::Config`] for the address zero, otherwise as
    /// [`Chain::send`].
    pub async fn grant(&self, role: Role, account: Address) -> Result<()> {
        if account.is_zero() {
            let text = "the address zero can use no role; name an account";
            return Err(Error::new(ErrorKind::Config, text).with("role", role.name()));
        }
        if self.has(role, account).await? {
            return Ok(());
        }
        self.send(self.access().grantRole(role.id(), account)).await
    }

    /// Takes the role from `account`. Only the administrator may.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for anybody else, otherwise as [`Chain::send`].
    pub async fn withdraw(&self, role: Role, account: Address) -> Result<()> {
        if !self.has(role, account).await? {
            return Ok(());
        }
        self.send(self.access().revokeRole(role.id(), account)).await
    }

    /// Gives up a role of this account. A contract whose last administrator gives up keeps its roles as they are
    /// for ever, and a pause of it never ends: [`hand_over`](Self::hand_over) leaves it to somebody.
    ///
    /// # Errors
    /// As [`Chain::send`].
    pub async fn renounce(&self, role: Role) -> Result<()> {
        let own = self.chain.account();
        if !self.has(role, own).await? {
            return Ok(());
        }
        self.send(self.access().renounceRole(role.id(), own)).await
    }

    /// Makes `to` the administrator in place of this account, as [`hand_over`] does for many contracts.
    ///
    /// # Errors
    /// As [`hand_over`].
    pub async fn hand_over(&self, to: Address) -> Result<()> {
        hand_over(&self.chain, &[self.contract], to).await
    }

    async fn send<P: Provider, C: SolCall>(&self, call: SolCallBuilder<P, C>) -> Result<()> {
        let sent = self.chain.send(call.into_transaction_request()).await;
        sent.map(drop).map_err(|error| explain(error).with("contract", self.contract))
    }

    fn access(&self) -> NetworkTokenInstance<&DynProvider> {
        access_control(self.contract, self.chain.provider())
    }
}

/// Makes `to`, a multisig or a timelock for instance, the administrator of contracts in place of this account.
///
/// In an order that leaves no contract without an administrator wherever it stops: everywhere it is seen that this
/// account may, then everywhere `to` is appointed, then everywhere the chain says so, and only then does this account
/// give up. The same again goes on where it stopped. Other roles of this account stay: withdraw them first, or
/// have `to` do it.
///
/// Nobody can undo it but `to`, so first see that it can act on this chain: a multisig of another chain has no code
/// at the same address here. To try it, [grant](Roles::grant) it [`Role::ADMIN`] and have it do something.
///
/// # Errors
/// [`ErrorKind::Config`] when `to` is zero, this account or one of the contracts; [`ErrorKind::Rejected`] when this
/// account does not administer one of them, and nothing is sent then. Otherwise as [`Chain::send`].
pub async fn hand_over(chain: &Chain, contracts: &[Address], to: Address) -> Result<()> {
    let own = chain.account();
    if to.is_zero() || to == own || contracts.contains(&to) {
        let text = "the new administrator has to be another account, which can act; name a \
                    multisig, a timelock or a key";
        return Err(Error::new(ErrorKind::Config, text).with("to", to));
    }
    let all = || contracts.iter().map(|contract| Roles::of(chain.clone(), *contract));
    for roles in all() {
        if !roles.has(Role::ADMIN, own).await? && !roles.has(Role::ADMIN, to).await? {
            let error = Error::new(ErrorKind::Rejected, NOT_ADMIN);
            return Err(error.with("contract", roles.contract));
        }
    }
    for roles in all() {
        roles.grant(Role::ADMIN, to).await?;
    }
    for roles in all() {
        if !roles.has(Role::ADMIN, to).await? {
            let text = "the chain does not show the new administrator yet; hand over again";
            return Err(Error::unavailable(text).with("contract", roles.contract));
        }
    }
    for roles in all() {
        roles.renounce(Role::ADMIN).await?;
    }
    Ok(())
}

fn explain(error: Error) -> Error {
    let Some(revert) = Revert::of(&error) else { return error };
    if revert.decode::<AccessControlUnauthorizedAccount>().is_none() {
        return error;
    }
    let reason = revert.to_string();
    Error::new(ErrorKind::Rejected, NOT_ADMIN).with("reason", reason).source(error)
}

const NOT_ADMIN: &str = "this account does not administer the contract; have its administrator grant, withdraw or \
                         hand over";
