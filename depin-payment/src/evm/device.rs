//! The account of a device (ERC-6551): the device earns, and whoever owns it commands what it earned.

use depin_core::{Address, Amount, Bytes, Error, ErrorKind, Result, U256};
use depin_evm::{
    Chain, Revert,
    alloy::{
        contract::SolCallBuilder,
        providers::{DynProvider, Provider},
        sol_types::SolCall,
    },
    bindings::{DeviceAccount as Contract, DeviceRegistry, NetworkToken},
};

use super::calls::declines;

/// The account that belongs to a device of a registry.
///
/// Its [address](Self::address) is known before anything is there. A network that pays the accounts of its devices
/// (`Builder::pay_device_accounts` of the crate `depin`) names it as the beneficiary, and claims pay it as they pay
/// anybody. Its tokens go with the device when the device is sold. To move them the account needs code, which
/// [`create`](Self::create) puts there once; anybody may pay for that. Payments take an `intent`, which happens once.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, ErrorKind, NetworkId};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::evm::EvmDeviceAccount;
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
///
/// let device = Address::repeat_byte(7);
/// let account = EvmDeviceAccount::of(chain, contracts.registry, device).await?;
/// assert_ne!(account.address(), device);
/// assert!(!account.exists().await?);
/// assert_eq!(account.create().await.unwrap_err().kind(), ErrorKind::NotFound, "nobody registered it");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmDeviceAccount {
    chain: Chain,
    registry: Address,
    device: Address,
    address: Address,
}

impl EvmDeviceAccount {
    /// The account of the device with this address in the `DeviceRegistry` at `registry`; through the account of
    /// `chain`, which moves tokens when it owns the device.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn of(chain: Chain, registry: Address, device: Address) -> Result<Self> {
        let contract = DeviceRegistry::new(registry, chain.provider());
        let address = chain.read(&contract.accountOf(device)).await?;
        Ok(Self { chain, registry, device, address })
    }

    /// Where the account is, with or without code.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Whether the account has code, which it needs to pay, not to be paid.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the chain does not answer now.
    pub async fn exists(&self) -> Result<bool> {
        let code = self.chain.provider().get_code_at(self.address);
        Ok(!self.chain.ask(code).await?.is_empty())
    }

    /// Puts code at the address; does nothing when it is there. Anybody may pay for it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a device that is not registered, otherwise as [`Chain::send`].
    pub async fn create(&self) -> Result<()> {
        if self.exists().await? {
            return Ok(());
        }
        let registry = DeviceRegistry::new(self.registry, self.chain.provider());
        let call = registry.createAccount(self.device).into_transaction_request();
        self.chain.send(call).await.map(drop).map_err(explain)
    }

    /// Pays tokens from the account to `to`, as the owner of the device. `intent` names the payment: the same one
    /// again, after a timeout or a crash, waits for the first and pays nothing; another one pays again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] as long as the account has no code, [`ErrorKind::Rejected`] when the account of the
    /// chain handle does not own the device or the account holds less, [`ErrorKind::Conflict`] when the intent was
    /// for another payment, otherwise as [`Chain::send_once`].
    pub async fn transfer(
        &self,
        intent: &str,
        token: Address,
        to: Address,
        amount: Amount,
    ) -> Result<()> {
        let call = NetworkToken::transferCall { to, value: amount.to_units() }.abi_encode();
        let contract = self.contract();
        let call = contract.execute(token, U256::ZERO, Bytes::from(call), PLAIN_CALL);
        let call = call.from(self.chain.account());
        let key = format!("device-transfer/{}/{intent}", self.address);
        // What was paid need not be possible a second time.
        if !self.chain.knows(&key).await? {
            self.examine(&call, token).await?;
        }
        let tx = call.into_transaction_request();
        self.chain.send_once(&key, tx).await.map(drop).map_err(explain)
    }

    /// Refuses what would cost gas and move nothing.
    async fn examine<P: Provider>(
        &self,
        call: &SolCallBuilder<P, Contract::executeCall>,
        token: Address,
    ) -> Result<()> {
        // A call to an address without code would succeed.
        if !self.exists().await? {
            let text = "the account has no code yet; create it first";
            return Err(Error::new(ErrorKind::NotFound, text).with("account", self.address));
        }
        let answer = self.chain.read(call).await.map_err(explain)?;
        if declines(&answer) {
            let text = "the token refuses the transfer; does the account hold enough?";
            return Err(Error::new(ErrorKind::Rejected, text).with("token", token));
        }
        Ok(())
    }

    fn contract(&self) -> Contract::DeviceAccountInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

fn explain(error: Error) -> Error {
    let Some(revert) = Revert::of(&error) else { return error };
    let (kind, text) = if revert.decode::<Contract::NotOwner>().is_some() {
        (ErrorKind::Rejected, "only the owner of the device moves what its account holds")
    } else if revert.decode::<DeviceRegistry::UnknownDevice>().is_some() {
        (ErrorKind::NotFound, "the device is not registered; register it first")
    } else {
        return error;
    };
    let reason = revert.to_string();
    Error::new(kind, text).with("reason", reason).source(error)
}

/// The only operation that accounts execute.
const PLAIN_CALL: u8 = 0;
