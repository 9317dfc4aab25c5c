//! The books, and what other programs say about them.

use std::process::Command;

use depin_core::{Address, Amount, ErrorKind, Timestamp, U256};
use depin_payment::books::{Account, Books, Commodity, Side, Transaction};
use proptest::{collection::vec, prelude::*};

fn account(name: &str) -> Account {
    Account::parse(name).unwrap()
}

fn token() -> Commodity {
    Commodity::new("DEP", 18).unwrap()
}

fn day(n: u64) -> Timestamp {
    Timestamp::from_secs(n * 86_400 + 5)
}

fn transaction(reference: &str, at: u64) -> Transaction {
    Transaction::new(reference, day(at), "A movement, no. 1").unwrap()
}

/// Emission into the vault, claims out of it, a fee in another commodity.
fn sample() -> Books {
    let (token, gas) = (token(), Commodity::new("IOTX2", 18).unwrap());
    let [issued, vault, gas_used] =
        ["Equity:Issued", "Assets:Chain:Vault", "Expenses:Gas"].map(account);
    let holder = |byte| account(&format!("Assets:Chain:{}", Address::repeat_byte(byte)));
    let mut books = Books::default();
    let odd = Amount::parse("1234567.000000000000000089").unwrap();
    books.enter(transaction("epoch-0", 3).transfer(&issued, &vault, &token, odd)).unwrap();
    for (byte, amount) in [(1, "1000.1"), (2, "0.000000000000000001")] {
        let amount = Amount::parse(amount).unwrap();
        let claim = transaction(&format!("0xab/{byte}"), 2)
            .transfer(&vault, &holder(byte), &token, amount)
            .transfer(&holder(9), &gas_used, &gas, Amount::from(21_000));
        books.enter(claim).unwrap();
    }
    books
}

#[test]
fn a_transaction_that_does_not_balance_changes_nothing() {
    let (from, to) = (account("Equity:Issued"), account("Assets:Chain:Vault"));
    let mut books = Books::default();
    let other = Commodity::new("USD", 2).unwrap();
    let one = Amount::from(1);
    let half = transaction("a", 0).post(Side::Debit, &to, &token(), one);
    let crossed = half.clone().post(Side::Credit, &from, &other, one);
    let more = half.clone().post(Side::Credit, &from, &token(), Amount::from(2));
    for wrong in [transaction("a", 0), half, crossed, more] {
        assert_eq!(books.enter(wrong).unwrap_err().kind(), ErrorKind::Rejected);
    }
    let much = transaction("a", 0).transfer(&from, &to, &token(), Amount::MAX);
    let again = much.clone().transfer(&from, &to, &token(), one);
    assert_eq!(books.enter(again).unwrap_err().kind(), ErrorKind::Overflow);
    assert!(books.transactions().is_empty() && books.balances().count() == 0);
    assert!(books.enter(much).unwrap());
    let past = transaction("b", 0).transfer(&from, &to, &token(), one);
    assert_eq!(books.enter(past).unwrap_err().kind(), ErrorKind::Overflow);
    assert_eq!(books.balance(&from, &token()), (Side::Credit, Amount::MAX));
}

#[test]
fn a_reference_is_entered_once() {
    let (from, to) = (account("Equity:Issued"), account("Assets:Chain:Vault"));
    let mut books = Books::default();
    let first = transaction("a", 0).transfer(&from, &to, &token(), Amount::from(1));
    assert!(books.enter(first.clone()).unwrap());
    assert!(!books.enter(first).unwrap());
    let other = transaction("a", 0).transfer(&from, &to, &token(), Amount::from(2));
    assert_eq!(books.enter(other).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(books.balance(&to, &token()), (Side::Debit, Amount::from(1)));
}

#[test]
fn a_symbol_has_one_number_of_decimals() {
    let (from, to) = (account("Equity:Issued"), account("Assets:Chain:Vault"));
    let mut books = sample();
    let other = Commodity::new("DEP", 6).unwrap();
    let wrong = transaction("z", 0).transfer(&from, &to, &other, Amount::from(1));
    assert_eq!(books.enter(wrong).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn names_that_other_programs_would_read_otherwise_are_refused() {
    for bad in [
        "",
        "Assets",
        "Assets:",
        "assets:A",
        "Assets:a",
        "Assets:A B",
        "Assets:A::B",
        "Money:A",
        "Assets:A\n",
    ] {
        assert!(Account::parse(bad).is_err(), "{bad:?}");
    }
    for bad in ["", "D", "dep", "2DEP", "DE P", "DEP\"", "ABCDEFGHIJKLMNOPQRSTUVWXY"] {
        assert!(Commodity::new(bad, 18).is_err(), "{bad:?}");
    }
    for bad in ["", " a", "=1+1", "-1", "a;b", "a\"b", "a\nb", "a:b", "a|b", "a\\b", "(a)"] {
        assert!(Transaction::new(bad, day(0), "a").is_err(), "{bad:?}");
        assert!(Transaction::new("a", day(0), bad).is_err(), "{bad:?}");
    }
    assert!(Transaction::new("a", Timestamp::from_secs(253_402_300_800), "a").is_err());
}

#[test]
fn reconciliation_names_the_first_difference() {
    let books = sample();
    let observed: Vec<_> = books
        .balances()
        .filter(|(account, commodity, ..)| {
            account.as_str().starts_with("Assets:Chain:") && commodity.symbol() == "DEP"
        })
        .map(|(account, commodity, _, amount)| (account.clone(), commodity.clone(), amount))
        .collect();
    assert_eq!(observed.len(), 3);
    // The account that paid for gas owes it, so the whole chain does not reconcile.
    let error = books.reconcile("Assets:Chain", observed.clone()).unwrap_err();
    assert!(error.to_string().contains("0x0909"), "{error}");
    for at in 0..3 {
        let mut wrong = observed.clone();
        wrong[at].2 = wrong[at].2.checked_add(1.into()).unwrap();
        let name = wrong[at].0.clone();
        let error = books.reconcile(name.as_str(), [wrong[at].clone()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains(name.as_str()), "{error}");
        assert_eq!(books.reconcile(name.as_str(), [observed[at].clone()]).unwrap(), 1);
        assert!(books.reconcile(name.as_str(), []).is_err(), "nothing observed");
        let twice = [observed[at].clone(), observed[at].clone()];
        assert_eq!(books.reconcile(name.as_str(), twice).unwrap_err().kind(), ErrorKind::Malformed);
    }
    // A name that only begins like the scope is outside of it.
    assert!(books.reconcile("Assets:Ch", [observed[0].clone()]).is_err());
    assert_eq!(books.reconcile("Liabilities", []).unwrap(), 0);
}

#[test]
fn the_table_has_every_posting_with_all_decimals() {
    let csv = sample().csv();
    assert_eq!(csv.lines().count(), 1 + 2 + 2 * 4);
    assert!(csv.contains(",Equity:Issued,DEP,-1234567.000000000000000089\n"), "{csv}");
    assert!(
        csv.starts_with("time,reference,note,account,commodity,amount\n1970-01-04T00:00:05"),
        "{csv}"
    );
}

/// Runs a program over a file with `text`; `None`, and says so, when it is not installed.
fn run(program: &str, arguments: &[&str], name: &str, text: &str) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let Ok(output) = Command::new(program).args(arguments).arg(&path).output() else {
        depin_testkit::skip::skipped(format_args!("{program} is not installed"));
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn hledger_comes_to_the_same_balances() {
    let journal = sample().hledger();
    let Some((fine, said)) = run("hledger", &["check", "-f"], "a.journal", &journal) else {
        return;
    };
    assert!(fine, "{said}\n{journal}");
    // It does check: a unit more in the last assertion fails.
    let wrong = journal.replace("= 1000.100000000000000000", "= 1000.100000000000000001");
    assert_ne!(wrong, journal);
    let Some((fine, _)) = run("hledger", &["check", "-f"], "a.journal", &wrong) else { return };
    assert!(!fine);
}

#[test]
fn beancount_comes_to_the_same_balances() {
    let input = sample().beancount();
    let Some((fine, said)) = bean_check(&input) else { return };
    assert!(fine, "{said}\n{input}");
    let wrong = input.replace("  1000.100000000000000000 DEP", "  1000.100000000000000009 DEP");
    assert_ne!(wrong, input);
    let Some((fine, _)) = bean_check(&wrong) else { return };
    assert!(!fine);
}

/// Beancount's own check, of a Python that has it: `DEPIN_PYTHON`, or the one on the path.
fn bean_check(input: &str) -> Option<(bool, String)> {
    let python = std::env::var("DEPIN_PYTHON").unwrap_or_else(|_| "python3".into());
    let module = "beancount.scripts.check";
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if !has.is_ok_and(|has| has.status.success()) {
        depin_testkit::skip::skipped(format_args!("{python} has no beancount"));
        return None;
    }
    run(&python, &["-m", module], "a.beancount", input)
}

proptest! {
    #[test]
    fn all_balances_of_a_commodity_sum_to_nothing(
        movements in vec((0usize..5, 0usize..5, any::<u128>()), 0..60),
    ) {
        let accounts = ["Assets:A", "Assets:B", "Equity:C", "Income:D", "Expenses:E"].map(account);
        let mut books = Books::default();
        for (number, (from, to, amount)) in movements.into_iter().enumerate() {
            let amount = Amount::units(U256::from(amount));
            let movement = transaction(&number.to_string(), 0);
            books.enter(movement.transfer(&accounts[from], &accounts[to], &token(), amount)).unwrap();
        }
        let side = |wanted| {
            let amounts = books.balances().filter(|(.., side, _)| *side == wanted).map(|(.., amount)| amount);
            Amount::sum(amounts).unwrap()
        };
        prop_assert_eq!(side(Side::Debit), side(Side::Credit));
    }
}
