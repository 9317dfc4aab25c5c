//! The `NetworkToken` contract, or any other ERC-20.

use async_trait::async_trait;
use depin_core::{Address, Amount, Error, ErrorKind, Result, reward::TokenLedger};
use depin_evm::{
    Chain, Revert,
    alloy::{
        providers::{DynProvider, Provider},
        rpc::types::TransactionRequest,
    },
    bindings::NetworkToken as Contract,
};

use super::calls::declines;

/// An ERC-20 on an EVM chain, read at its latest block, and spent by the account of the chain handle.
///
/// What moves tokens takes an `intent`: the same one again, after a timeout or a crash, waits for the first and moves
/// nothing. Permits (ERC-2612) and payments by signature (ERC-3009) are what [x402](crate::x402) signs.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Amount, NetworkId, reward::TokenLedger};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::evm::EvmToken;
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
///
/// let token = EvmToken::new(chain, contracts.token);
/// assert_eq!(token.supply().await?, Amount::ZERO);
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmToken {
    chain: Chain,
    address: Address,
}

impl EvmToken {
    /// The token at `address`.
    pub const fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address }
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Sends `amount` to `to`. `intent` names the payment. A token that takes a fee brings less.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use depin_core::{Address, Amount, ErrorKind, NetworkId, reward::TokenLedger};
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, DeployOptions, Role, Roles, bindings::NetworkToken, deploy};
    /// # use depin_payment::evm::EvmToken;
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// # let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
    /// # Roles::of(chain.clone(), contracts.token).grant(Role::MINTER, chain.account()).await?;
    /// # let minter = NetworkToken::new(contracts.token, chain.provider());
    /// # let mint = minter.mint(chain.account(), Amount::tokens(5).to_units());
    /// # chain.send(mint.into_transaction_request()).await?;
    /// let token = EvmToken::new(chain, contracts.token);
    /// let alice = Address::repeat_byte(0xa1);
    /// token.transfer("rent of May", alice, Amount::tokens(3)).await?;
    /// token.transfer("rent of May", alice, Amount::tokens(3)).await?; // after a timeout: nothing moves again
    /// assert_eq!(token.balance(alice).await?, Amount::tokens(3));
    ///
    /// token.burn("credits of May", Amount::tokens(2)).await?;
    /// assert_eq!(token.supply().await?, Amount::tokens(3));
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no contract, [`ErrorKind::Rejected`] when the account holds less or the
    /// token declines, [`ErrorKind::Conflict`] when the intent was for another payment, otherwise as
    /// [`Chain::send_once`].
    pub async fn transfer(&self, intent: &str, to: Address, amount: Amount) -> Result<()> {
        let call = self.contract().transfer(to, amount.to_units()).into_transaction_request();
        self.once("transfer", intent, call).await
    }

    /// Destroys `amount` of what the account holds. `intent` names what for.
    ///
    /// # Errors
    /// As [`transfer`](Self::transfer).
    pub async fn burn(&self, intent: &str, amount: Amount) -> Result<()> {
        let call = self.contract().burn(amount.to_units()).into_transaction_request();
        self.once("burn", intent, call).await
    }

    async fn once(&self, what: &str, intent: &str, tx: TransactionRequest) -> Result<()> {
        let key = format!("token-{what}/{}/{intent}", self.address);
        // What was moved need not be possible a second time.
        if !self.chain.knows(&key).await? {
            self.examine(tx.clone()).await?;
        }
        self.chain.send_once(&key, tx).await.map(drop).map_err(explain)
    }

    /// Refuses what would cost gas and move nothing: a call to an address without code succeeds, and some tokens
    /// answer false instead of reverting.
    async fn examine(&self, tx: TransactionRequest) -> Result<()> {
        let provider = self.chain.provider();
        if self.chain.ask(provider.get_code_at(self.address)).await?.is_empty() {
            let text = "there is no contract at the address of the token; is this the right chain?";
            return Err(Error::new(ErrorKind::NotFound, text).with("token", self.address));
        }
        let call = provider.call(tx.from(self.chain.account()));
        let answer = self.chain.ask(call).await.map_err(explain)?;
        if declines(&answer) {
            let text = "the token declines; does the account hold enough?";
            return Err(Error::new(ErrorKind::Rejected, text).with("token", self.address));
        }
        Ok(())
    }

    fn contract(&self) -> Contract::NetworkTokenInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }
}

fn explain(error: Error) -> Error {
    let Some(revert) = Revert::of(&error) else { return error };
    if revert.decode::<Contract::ERC20InsufficientBalance>().is_none() {
        return error;
    }
    let reason = revert.to_string();
    let text = "the account holds less than that; send it tokens first";
    Error::new(ErrorKind::Rejected, text).with("reason", reason).source(error)
}

#[async_trait]
impl TokenLedger for EvmToken {
    async fn balance(&self, account: Address) -> Result<Amount> {
        self.chain.read(&self.contract().balanceOf(account)).await.map(Amount::units)
    }

    async fn supply(&self) -> Result<Amount> {
        self.chain.read(&self.contract().totalSupply()).await.map(Amount::units)
    }
}
