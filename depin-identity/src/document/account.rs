//! Accounts of EVM chains as CAIP-10 writes them: `eip155:1:0x…`.

use alloc::{format, string::String};

use depin_core::{Address, ChainId};

use crate::methods::digits_to_address;

/// `eip155:` with the chain and the address in EIP-55.
pub(super) fn to_caip10(chain: ChainId, address: Address) -> String {
    format!("eip155:{chain}:{address}")
}

/// What follows `eip155:`. The address is of one case, or its EIP-55 checksum is right.
pub(super) fn from_caip10(text: &str) -> Option<(ChainId, Address)> {
    let (chain, address) = text.split_once(':')?;
    // Only the shortest way to write a number names a chain.
    let number = chain.parse::<u64>().ok().filter(|number| format!("{number}") == chain)?;
    Some((ChainId::new(number), digits_to_address(address.strip_prefix("0x")?)?))
}
