//! Tokens that are not as others: a fee on transfers, six decimals.

use depin_core::{Address, Amount, ErrorKind};
use depin_evm::{
    alloy::{
        network::TransactionBuilder as _,
        primitives::{Bytes, TxKind, U256, hex, keccak256},
        rpc::types::TransactionRequest,
    },
    bindings::NetworkToken,
};
use depin_payment::evm::{PayList, Treasury, Way};

use super::{Bank, list, someone};

/// A token that burns a tenth of every transfer, of which the treasury has a million units.
async fn fee_token(bank: &Bank) -> (Address, Treasury) {
    let code = include_str!("../../../../depin-evm/artifacts/test/FeeToken.json");
    let artifact: serde_json::Value = serde_json::from_str(code).unwrap();
    let code: Bytes = artifact["bytecode"]["object"].as_str().unwrap().parse().unwrap();
    let create = TransactionRequest::default().with_deploy_code(code);
    let token = bank.chain.send(create).await.unwrap().contract_address.unwrap();
    let contract = NetworkToken::new(token, bank.chain.provider());
    let mint = contract.mint(bank.chain.account(), U256::from(1_000_000));
    bank.chain.send(mint.into_transaction_request()).await.unwrap();
    let treasury = Treasury::new(bank.chain.clone(), token).transfers(bank.disperse);
    treasury.allow(Amount::from(1_000_000)).await.unwrap();
    (token, treasury)
}

#[tokio::test]
async fn nobody_is_blamed_for_the_fee_of_a_token() {
    let bank = Bank::open().await;
    let (_, treasury) = fee_token(&bank).await;
    let large = (0..20).map(|i| (someone(i), Amount::from(1_000)));
    // Each of these alone rounds its fee to nothing, and all together do not.
    let small = (0..20).map(|i| (someone(i), Amount::from(9)));
    let mixed = (0..20).map(|i| (someone(i), Amount::from(if i < 10 { 9 } else { 10 })));
    for (id, text, payments) in [
        ("large", "takes a fee", large.collect::<Vec<_>>()),
        ("small", "smaller batches", small.collect()),
        ("mixed", "takes a fee", mixed.collect()),
    ] {
        let plan = treasury.plan(&PayList::new(id, payments).unwrap()).await.unwrap();
        let error = treasury.run(&plan, bank.journal(id)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{id}: {error}");
        assert!(error.to_string().contains(text), "{id}: {error}");
        let journal = std::fs::read_to_string(bank.journal(id)).unwrap();
        assert!(!journal.contains("skip"), "{id}: nobody is left out");
    }
}

/// Ends the run with its first batch, though the token takes nothing from the treasury.
#[tokio::test]
async fn a_fee_on_what_disperse_sends_on_ends_the_run_after_one_batch() {
    let bank = Bank::open().await;
    let (token, treasury) = fee_token(&bank).await;
    let treasury = treasury.batch(2);
    let me = bank.chain.account().into_word();
    let exempt = [&keccak256("exempt(address)")[..4], me.as_slice()];
    let exempt = TransactionRequest::default().to(token).input(Bytes::from(exempt.concat()).into());
    bank.chain.send(exempt).await.unwrap();
    let payments = (0..6).map(|i| (someone(i), Amount::from(1_000)));
    let plan = treasury.plan(&PayList::new("short", payments).unwrap()).await.unwrap();
    let blocks = bank.devnet.block_number();
    // Nor does the next try send another.
    for _ in 0..2 {
        let error = treasury.run(&plan, bank.journal("short")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.to_string().contains("took a fee"), "{error}");
        let said: Vec<_> = error.context().collect();
        assert!(said.contains(&("due", "1000")) && said.contains(&("got", "900")), "{error}");
        assert_eq!(bank.devnet.block_number(), blocks + 1);
    }
    assert!(!std::fs::read_to_string(bank.journal("short")).unwrap().contains("skip"));
}

/// A contract that answers six to every question.
async fn six(bank: &Bank) -> Address {
    // The constructor copies what follows its nine bytes.
    let code = hex!("60088060095f395ff360065f5260205ff3").to_vec();
    let create = TransactionRequest { to: Some(TxKind::Create), ..TransactionRequest::default() }
        .input(code.into());
    bank.chain.send(create).await.unwrap().contract_address.unwrap()
}

#[tokio::test]
async fn amounts_are_shown_by_the_decimals_of_the_token() {
    let bank = Bank::open().await;
    let treasury = Treasury::new(bank.chain.clone(), six(&bank).await).transfers(bank.disperse);
    let text = "account,amount\n0x0000000000000000000000000000000000000101,31499.5\n\
                0x0000000000000000000000000000000000000102, 0.5\n";
    let list = PayList::from_csv("dollars", text, 6).unwrap();
    assert_eq!(list.total(), Amount::from(31_500_000_000));
    let plan = treasury.plan(&list).await.unwrap();
    let shown = plan.to_string();
    assert!(shown.contains(" 31500 tokens\n"), "{shown}");
    assert!(shown.contains("in coin"), "{shown}");
    let error = treasury.run(&plan, bank.journal("dollars")).await.unwrap_err();
    let said: Vec<_> = error.context().collect();
    assert!(said.contains(&("has", "0.000006")) && said.contains(&("needed", "31500")), "{error}");
}

#[tokio::test]
async fn the_plan_shows_both_ways_before_anything_is_sent() {
    let bank = Bank::open().await;
    let list = list("november", 100);
    let distributor =
        depin_payment::evm::EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    let treasury = bank.treasury().claims(distributor, depin_payment::Cumulative::default());
    let blocks = bank.devnet.block_number();
    let plan = treasury.plan(&list).await.unwrap();
    assert!(!plan.to_string().contains("not open"), "{plan}");
    let (first, publish) = (plan.estimate(Way::Claims).unwrap(), 199_200);
    assert!(first.treasury_gas > publish + 100 * 17_000);
    assert_eq!(bank.devnet.block_number(), blocks);
}

#[test]
fn lists_of_spreadsheets_are_read_to_the_letter() {
    let (ann, bob) = (someone(1), someone(2));
    let text = format!("\u{feff}account,amount\r\n{ann},12.5\r\n\r\n{bob:?} , 3\r\n");
    let list = PayList::from_csv("november", &text, 18).unwrap();
    let (half, three) = (Amount::parse("12.5").unwrap(), Amount::tokens(3));
    assert_eq!(list.payments(), [(ann, half), (bob, three)]);

    let small = "0x52908400098527886e0f7030069857d2e4169ee7";
    let wrong = "0x52908400098527886E0f7030069857d2e4169EE7";
    let kind = |line: &str| PayList::from_csv("a", line, 6).map(drop).map_err(|e| e.kind());
    assert_eq!(kind(&format!("{small},1.500000000")), Ok(()));
    // The point is where decimals begin, as the total shows before anything is sent.
    let list = PayList::from_csv("a", &format!("{small},1.000"), 6).unwrap();
    assert_eq!(list.total(), Amount::from(1_000_000), "one token and not a thousand");
    for line in [
        format!("{small},1,000"),
        format!("{small},1.000.000"),
        format!("{small},1'000"),
        format!("{small},1\u{2019}000"),
        format!("{small},1_000"),
        format!("{small};1"),
        format!("{small},1e3"),
        format!("{small},-1"),
        format!("{small},+1"),
        format!("{small},"),
        format!("{small},1."),
        format!("{small},.5"),
        format!("{small},1.2345678"),
        format!("{small},1 000"),
        format!("{wrong},1"),
        format!("{},1", &small[2..]),
        format!("{},1", &small[..41]),
        format!("{small},1\nbob,2"),
        format!("{small},1\naccount,amount"),
    ] {
        assert_eq!(kind(&line), Err(ErrorKind::Malformed), "{line:?}");
    }
    assert_eq!(kind(&format!("{small},0")), Err(ErrorKind::Rejected));
    assert_eq!(kind(&format!("{small},1\n{small},1")), Err(ErrorKind::Conflict));
    assert_eq!(kind(&format!("{small},{}", "9".repeat(79))), Err(ErrorKind::Overflow));
    let error = PayList::from_csv("a", &format!("{small},1\nbob,2"), 6).unwrap_err();
    assert!(error.context().any(|pair| pair == ("line", "2")), "{error}");
    assert_eq!(PayList::from_csv("a", "", 6).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(PayList::from_csv("a", "", 37).unwrap_err().kind(), ErrorKind::Malformed);
}
