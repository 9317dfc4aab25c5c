//! Proof sets and proof chains.

use super::*;

fn id(id: &str) -> impl FnOnce(&mut Options) {
    let id = id.to_owned();
    move |options| options.id = Some(id)
}

fn after(ids: &[&str], own: Option<&str>) -> impl FnOnce(&mut Options) {
    let (previous, id) = (ids.iter().map(|id| (*id).into()).collect(), own.map(Into::into));
    move |options| (options.previous, options.id) = (previous, id)
}

/// Three people approve one after the other.
fn chain() -> (Object, [Party; 3]) {
    let parties = [
        Party::new(Algorithm::EdDsa, 1),
        Party::new(Algorithm::Es256, 2),
        Party::new(Algorithm::EdDsa, 3),
    ];
    let [first, second, third] = &parties;
    let mut document = reading();
    document.insert("@context", vec!["https://www.w3.org/ns/credentials/v2"]);
    let one = first.with(&document, id("urn:proof-1"));
    let two = second.with(&one, after(&["urn:proof-1"], Some("urn:proof-2")));
    (third.with(&two, after(&["urn:proof-1", "urn:proof-2"], None)), parties)
}

#[test]
fn a_chain_holds_and_says_who_covers_whom() {
    let (secured, parties) = chain();
    let verified = verify(&secured, &expected()).unwrap();
    assert_eq!(verified.document.len(), 2);
    let signers: Vec<_> =
        verified.proofs.iter().map(|proof| proof.verification_method.did()).collect();
    assert_eq!(signers, parties.each_ref().map(Party::did));
    assert_eq!(verified.proofs[2].previous, ["urn:proof-1", "urn:proof-2"]);
    assert!(verified.is_signed_by(parties[1].did()));
    assert!(!verified.is_signed_by(Party::new(Algorithm::EdDsa, 9).did()));
}

#[test]
fn a_link_cannot_be_taken_out_of_a_chain() {
    let (secured, _) = chain();
    let all = proofs(&secured);
    let without = |index: usize| {
        let mut left = all.clone();
        left.remove(index);
        verify(&with_proofs(&secured, left), &expected()).map(|verified| verified.proofs.len())
    };
    assert_eq!(without(0), Err(ProofError::Previous("urn:proof-1".into())));
    assert_eq!(without(1), Err(ProofError::Previous("urn:proof-2".into())));
    // The last one covers the others, not they it.
    assert_eq!(without(2), Ok(2));
}

#[test]
fn a_link_cannot_be_replaced_even_by_a_proof_that_holds() {
    let (secured, _) = chain();
    let attacker = Party::new(Algorithm::EdDsa, 66);
    let mut document = secured.clone();
    document.remove("proof");
    let forged = proofs(&attacker.with(&document, id("urn:proof-1"))).remove(0);
    let mut all = proofs(&secured);
    all[0] = forged;
    let error = verify(&with_proofs(&secured, all), &expected()).unwrap_err();
    assert!(matches!(error, ProofError::Signature(_)), "{error}");
}

#[test]
fn a_chain_whose_dependency_was_left_out_of_the_claim_does_not_hold() {
    let (secured, _) = chain();
    let mut all = proofs(&secured);
    all[1].remove("previousProof");
    let error = verify(&with_proofs(&secured, all), &expected()).unwrap_err();
    assert!(matches!(error, ProofError::Signature(_)), "{error}");
}

#[test]
fn circles_and_unknown_previous_proofs_are_refused() {
    let (secured, _) = chain();
    let all = proofs(&secured);
    let previous = |index: usize, value: Value| {
        let mut all = all.clone();
        all[index].insert("previousProof", value);
        verify(&with_proofs(&secured, all), &expected()).unwrap_err()
    };
    assert_eq!(previous(0, "urn:proof-2".into()), ProofError::Cycle("urn:proof-1".into()));
    assert_eq!(previous(0, "urn:proof-1".into()), ProofError::Cycle("urn:proof-1".into()));
    assert_eq!(previous(2, "urn:proof-9".into()), ProofError::Previous("urn:proof-9".into()));
    for malformed in
        [Value::Null, Value::List(vec![]), 7.into(), vec![7].into(), vec!["urn:proof-1"; 2].into()]
    {
        assert_eq!(previous(2, malformed), ProofError::Member("previousProof"));
    }
}

#[test]
fn two_proofs_with_one_id_are_refused() {
    let (one, two) = (Party::new(Algorithm::EdDsa, 1), Party::new(Algorithm::EdDsa, 2));
    let first = one.with(&reading(), id("urn:a"));
    let second = two.with(&reading(), id("urn:a"));
    let both = with_proofs(&first, vec![proofs(&first).remove(0), proofs(&second).remove(0)]);
    assert_eq!(verify(&both, &expected()), Err(ProofError::Twice("urn:a".into())));
    let mut options = two.options();
    options.id = Some("urn:a".into());
    assert!(data_integrity::secure(&first, &options, &two.key).is_err());
}

#[test]
fn every_proof_of_a_set_must_hold() {
    let parties = [1, 2, 3].map(|seed| Party::new(Algorithm::EdDsa, seed));
    let secured =
        parties.iter().fold(reading(), |document, party| party.secure(&document, &party.options()));
    assert_eq!(verify(&secured, &expected()).unwrap().proofs.len(), 3);
    // They stand beside one another: any order, and any of them alone.
    let mut all = proofs(&secured);
    all.reverse();
    assert!(verify(&with_proofs(&secured, all.clone()), &expected()).is_ok());
    assert!(verify(&with_proofs(&secured, vec![all[1].clone()]), &expected()).is_ok());
    let spoiled = parties[0].with(&object([("temperature", 99)]), |_| {});
    all.extend(proofs(&spoiled));
    assert!(verify(&with_proofs(&secured, all), &expected()).is_err());
}

#[test]
fn nothing_is_added_to_what_is_not_there() {
    let party = Party::new(Algorithm::EdDsa, 1);
    let mut options = party.options();
    options.previous = vec!["urn:nowhere".into()];
    for document in [reading(), party.secure(&reading(), &party.options())] {
        assert!(data_integrity::secure(&document, &options, &party.key).is_err());
    }
}

#[test]
fn the_number_of_proofs_is_bounded() {
    let party = Party::new(Algorithm::EdDsa, 1);
    let one = party.secure(&reading(), &party.options());
    let proof = proofs(&one).remove(0);
    let many = |count: usize| with_proofs(&one, vec![proof.clone(); count]);
    assert!(verify(&many(data_integrity::MAX_PROOFS), &expected()).is_ok());
    assert_eq!(
        verify(&many(data_integrity::MAX_PROOFS + 1), &expected()),
        Err(ProofError::TooMany)
    );
    assert_eq!(verify(&many(0), &expected()), Err(ProofError::Missing));
    let full = many(data_integrity::MAX_PROOFS);
    assert!(data_integrity::secure(&full, &party.options(), &party.key).is_err());
}
