//! The `NetworkToken` contract, or any other ERC-20.

use async_trait::async_trait;
use depin_core::{Address, Amount, Result, reward::TokenLedger};
use depin_evm::{Chain, bindings::NetworkToken as Contract};

/// An ERC-20 on an EVM chain, read at its latest block.
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
}

#[async_trait]
impl TokenLedger for EvmToken {
    async fn balance(&self, account: Address) -> Result<Amount> {
        let contract = Contract::new(self.address, self.chain.provider());
        self.chain.read(&contract.balanceOf(account)).await.map(Amount::units)
    }

    async fn supply(&self) -> Result<Amount> {
        let contract = Contract::new(self.address, self.chain.provider());
        self.chain.read(&contract.totalSupply()).await.map(Amount::units)
    }
}
