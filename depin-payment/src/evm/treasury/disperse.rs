//! Where `Disperse` is: at one address on every chain, so that it is found when everything else is lost.
//!
//! The keys of batches that were paid are in that contract. A second one would know nothing of them, so none
//! is made: the address follows from the code by CREATE2, through the deployer that public chains share.

use depin_core::{Address, B256, Error, ErrorKind, Result, keccak256};
use depin_evm::{
    Chain,
    alloy::{
        primitives::{Bytes, address},
        providers::Provider,
        rpc::types::TransactionRequest,
    },
    bindings::Disperse,
};

use crate::evm::calls::patiently;

/// The address on every chain.
pub(super) fn address() -> Address {
    DEPLOYER.create2(SALT, keccak256(&Disperse::BYTECODE))
}

/// Creates the contract unless it is there.
pub(super) async fn deploy(chain: &Chain) -> Result<Address> {
    let address = address();
    if is_contract(chain, address).await? {
        return Ok(address);
    }
    if !is_contract(chain, DEPLOYER).await? {
        let text = "the chain lacks the contract that creates others at the same address everywhere; put it \
                    there, or create Disperse once by yourself and keep its address";
        return Err(Error::new(ErrorKind::Unsupported, text).with("deployer", DEPLOYER));
    }
    let input = Bytes::from([SALT.as_slice(), &Disperse::BYTECODE].concat());
    let tx = TransactionRequest::default().to(DEPLOYER).input(input.into());
    let sent = chain.send_once(&format!("treasury/disperse/{address}"), tx).await;
    // Somebody else may have been faster, and that is as good.
    match (is_contract(chain, address).await?, sent) {
        (true, _) => Ok(address),
        (false, Err(error)) => Err(error),
        (false, Ok(receipt)) => {
            let text = "the chain took Disperse back, or did not create it; try again";
            Err(Error::unavailable(text).with("transaction", receipt.transaction_hash))
        }
    }
}

pub(super) async fn is_contract(chain: &Chain, address: Address) -> Result<bool> {
    let code = patiently(|| chain.ask(chain.provider().get_code_at(address))).await;
    code.map(|code| !code.is_empty())
}

/// What a contract answered; of one that the node does not find, and has, that it is to be asked again: nodes behind one
/// URL are not equally fast, and to some of them the contract is newer than all that they know.
pub(super) async fn found<T>(chain: &Chain, contract: Address, answer: Result<T>) -> Result<T> {
    match answer {
        Err(error)
            if error.kind() == ErrorKind::NotFound && is_contract(chain, contract).await? =>
        {
            let text =
                "the node does not find a contract that it has; run it again, or use another node";
            Err(Error::unavailable(text).with("contract", contract).source(error))
        }
        answer => answer,
    }
}

/// Creates what follows the first word of its input, by CREATE2 with that word as salt.
const DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
const SALT: B256 = B256::ZERO;

#[cfg(test)]
mod tests {
    use super::*;

    /// Where this fails, lists that were paid through the former contract could be paid again: let treasuries
    /// ask both before it is given a new address.
    #[test]
    fn disperse_stays_where_it_is() {
        assert_eq!(address(), address!("f9c00a96f579bfc1aef307d7155720ead00488af"));
    }
}
