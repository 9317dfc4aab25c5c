//! A recipient whose hook lets every simulation pass and reverts on chain.

use depin_core::{Address, Amount, ErrorKind};
use depin_evm::alloy::{primitives::Bytes, providers::Provider};

use super::{Bank, list, someone};

/// The code of a token that asks nobody but `villain`, who says no whenever gas has a price, as in no simulation. All
/// else is done by the code at `token`.
fn hooked(token: Address, villain: Address) -> Bytes {
    let mut code = vec![0x3a, 0x15, 0x60, 0x21, 0x57]; // gas without a price: go on
    code.extend([0x60, 0x04, 0x35, 0x73]); // whom transfer pays
    code.extend(villain);
    code.extend([0x14, 0x60, 0x4f, 0x57]); // the villain: revert
    code.extend([0x5b, 0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f, 0x73]); // go on: as the other code does
    code.extend(token);
    code.extend([0x5a, 0xf4, 0x3d, 0x5f, 0x5f, 0x3e, 0x60, 0x4b, 0x57, 0x3d, 0x5f, 0xfd]);
    code.extend([0x5b, 0x3d, 0x5f, 0xf3, 0x5b, 0x5f, 0x5f, 0xfd]);
    code.into()
}

#[tokio::test]
async fn a_hook_that_reverts_on_chain_alone_keeps_no_other_batch_from_being_paid() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let treasury = bank.funded(list.total()).await.batch(3);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let (token, copy) = (bank.contracts.token, Address::repeat_byte(0xc0));
    let code = bank.chain.provider().get_code_at(token).await.unwrap();
    bank.devnet.set_code(copy, code.clone());
    bank.devnet.set_code(token, hooked(copy, someone(1)));
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
    bank.devnet.set_code(token, code);
    let report = treasury.run(&plan, &path).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (9, 0));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}
