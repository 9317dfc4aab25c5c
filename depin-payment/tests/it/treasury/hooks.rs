//! A recipient whose hook lets every simulation pass and reverts on chain.

use depin_core::{Address, Amount, ErrorKind};
use depin_evm::{
    alloy::{primitives::Bytes, providers::Provider, sol_types::SolCall},
    bindings::NetworkToken,
};

use super::{Bank, list, someone};

/// The code of a token that asks nobody but `villain`, who says no whenever gas has a price, as in no simulation. All
/// else is done by the code at `token`.
fn hooked(token: Address, villain: Address) -> Bytes {
    let mut code = vec![0x3a, 0x15, 0x60, 0x21, 0x57]; // gas without a price: go on
    code.extend(refusing(villain));
    as_at(code, token)
}

/// Reverts when it is the villain whom `transfer` pays; for 28 bytes of code, and what comes before it.
fn refusing(villain: Address) -> Vec<u8> {
    [&[0x60, 0x04, 0x35, 0x73][..], villain.as_slice(), &[0x14, 0x60, 0x4f, 0x57]].concat()
}

/// The code of a token that pays `villain` never.
pub(super) fn closed_to(token: Address, villain: Address) -> Bytes {
    let mut code = vec![0x5b; 5]; // for as long as the other
    code.extend(refusing(villain));
    as_at(code, token)
}

/// The code of a token that transfers no more than this at once.
pub(super) fn limited(token: Address, most: u8) -> Bytes {
    let mut code = vec![0x5f, 0x35, 0x60, 0xe0, 0x1c, 0x63]; // the selector
    code.extend(NetworkToken::transferCall::SELECTOR);
    code.extend([0x14, 0x15, 0x60, 0x21, 0x57]); // no transfer: go on
    code.extend([0x60, 0x24, 0x35, 0x60, most, 0x10, 0x60, 0x4f, 0x57]); // more: revert
    code.resize(0x21, 0x5b);
    as_at(code, token)
}

/// Goes on at 0x21 as the other code does, and reverts at 0x4f.
fn as_at(mut code: Vec<u8>, token: Address) -> Bytes {
    assert_eq!(code.len(), 0x21);
    code.extend([0x5b, 0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f, 0x73]);
    code.extend(token);
    code.extend([0x5a, 0xf4, 0x3d, 0x5f, 0x5f, 0x3e, 0x60, 0x4b, 0x57, 0x3d, 0x5f, 0xfd]);
    code.extend([0x5b, 0x3d, 0x5f, 0xf3, 0x5b, 0x5f, 0x5f, 0xfd]);
    code.into()
}

impl Bank {
    /// Puts the token elsewhere, and such code in front of it; answers its own.
    pub(super) async fn hook(&self, code: impl FnOnce(Address) -> Bytes) -> Bytes {
        let (token, copy) = (self.contracts.token, Address::repeat_byte(0xc0));
        let own = self.chain.provider().get_code_at(token).await.unwrap();
        self.devnet.set_code(copy, own.clone());
        self.devnet.set_code(token, code(copy));
        own
    }
}

#[tokio::test]
async fn a_hook_that_reverts_on_chain_alone_keeps_no_other_batch_from_being_paid() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let treasury = bank.funded(list.total()).await.batch(3);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let code = bank.hook(|copy| hooked(copy, someone(1))).await;
    for _ in 0..2 {
        let error = treasury.run(&plan, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.context().any(|pair| pair == ("batch", "0")), "{error}");
        for (at, (account, amount)) in list.payments().iter().enumerate() {
            let expected = if at < 3 { Amount::ZERO } else { *amount };
            assert_eq!(bank.held(*account).await, expected, "{at}");
        }
    }
    // When he gives up, the rest is paid.
    bank.devnet.set_code(bank.contracts.token, code);
    let report = treasury.run(&plan, &path).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (9, 0));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}
