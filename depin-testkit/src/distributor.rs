//! Conformance of [`RewardDistributor`] and [`TokenLedger`].
//!
//! Reward trees are OpenZeppelin's over `["address", "uint256"]`; the suite builds its own small ones.

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind, Result, keccak256,
    reward::{Claim, Commitment, RewardDistributor, TokenLedger},
};

/// Runs every clause of the distributor's contract, with its effects on the token it pays.
///
/// The distributor MUST be fresh: nothing published, and allowed to publish. Publishes epochs 0, 2 and 3.
///
/// # Panics
/// When a clause does not hold.
pub async fn conforms(distributor: &dyn RewardDistributor, token: &dyn TokenLedger) {
    let [ann, bob] = [Address::repeat_byte(0xa1), Address::repeat_byte(0xb0)];
    let suite = Suite { distributor, token };
    suite.starts_empty(ann).await;

    let first = Tree::of((ann, 70), (bob, 30));
    suite.publish(&first.commitment(0, 100)).await;
    suite.a_published_epoch_stays(&first.commitment(0, 100)).await;
    suite.proofs_decide(&first, ann, bob).await;
    suite.pays(&first, ann, 70).await;

    let second = Tree::of((ann, 75), (bob, 45));
    suite.order_is_kept(&second.commitment(2, 120)).await;
    suite.refuses(&first, ann, "clause 3: an old proof is refused").await;
    suite.pays_many(&second, [(ann, 5), (bob, 45)]).await;
    suite.pays(&second, bob, 0).await;
    suite.cannot_overdraw(ann, bob).await;
}

/// Clause 2 of the ledger: `holders`, which MUST be all there are, hold the supply.
///
/// # Panics
/// When the clause does not hold.
pub async fn supply_is_held(token: &dyn TokenLedger, holders: &[Address]) {
    let mut held = Amount::ZERO;
    for holder in holders {
        let balance = token.balance(*holder).await.expect("clause 1: balances can be read");
        held = held.checked_add(balance).expect("clause 2: balances sum to the supply");
    }
    let supply = token.supply().await.expect("clause 2: the supply can be read");
    assert_eq!(held, supply, "clause 2: balances sum to the supply");
}

struct Suite<'a> {
    distributor: &'a dyn RewardDistributor,
    token: &'a dyn TokenLedger,
}

impl Suite<'_> {
    async fn starts_empty(&self, account: Address) {
        let none = self.distributor.latest().await.expect("the ledger answers");
        assert_eq!(none, None, "the suite needs a fresh distributor");
        let waits = self.distributor.last().await.expect("the ledger answers");
        assert_eq!(waits, None, "the suite needs a fresh distributor");
        let unknown =
            self.distributor.published(EpochId::new(0)).await.expect("the ledger answers");
        assert_eq!(unknown, None, "clause 1: what was not published is not there");
        let claim = self.distributor.claim(account, 1.into(), &[]).await;
        assert_eq!(kind(claim), Some(ErrorKind::Rejected), "clause 3: no root admits no claim");
    }

    async fn publish(&self, commitment: &Commitment) {
        self.distributor.publish(commitment).await.expect("clause 2: the next epoch is published");
        let epoch = commitment.epoch;
        let found = self.distributor.published(epoch).await.expect("the ledger answers");
        assert_eq!(found.as_ref(), Some(commitment), "clause 1: it reads as it was published");
        let latest = self.distributor.latest().await.expect("the ledger answers");
        assert_eq!(latest, Some(epoch), "clause 2: it is the latest");
        let last = self.distributor.last().await.expect("the ledger answers");
        assert_eq!(last, Some(epoch), "clause 7: nothing waits after it");
    }

    async fn a_published_epoch_stays(&self, commitment: &Commitment) {
        self.distributor.publish(commitment).await.expect("clause 1: the same again is fine");
        let others = [
            Commitment { root: B256::repeat_byte(7), ..*commitment },
            Commitment { manifest: B256::repeat_byte(7), ..*commitment },
            Commitment { cumulative: 1_000.into(), ..*commitment },
        ];
        for other in others {
            let answer = self.distributor.publish(&other).await;
            assert_eq!(kind(answer), Some(ErrorKind::Conflict), "clause 1: another is a conflict");
        }
        let found = self.distributor.published(commitment.epoch).await.expect("the ledger answers");
        assert_eq!(found.as_ref(), Some(commitment), "clause 1: it did not change");
    }

    /// Publishes `commitment` after attempts that break the order.
    async fn order_is_kept(&self, commitment: &Commitment) {
        let fallen = Commitment { cumulative: 99.into(), ..*commitment };
        let answer = self.distributor.publish(&fallen).await;
        assert_eq!(kind(answer), Some(ErrorKind::Rejected), "clause 2: the sum cannot fall");
        self.publish(commitment).await;
        let earlier = Commitment { epoch: EpochId::new(1), ..*commitment };
        let answer = self.distributor.publish(&earlier).await;
        assert_eq!(kind(answer), Some(ErrorKind::Conflict), "clause 2: epochs come in order");
    }

    async fn proofs_decide(&self, tree: &Tree, ann: Address, bob: Address) {
        let (amount, proof) = tree.claim(ann);
        let forged = [
            (ann, amount.checked_add(1.into()).expect("small"), proof.clone()),
            (bob, amount, proof.clone()),
            (ann, amount, Vec::new()),
            (ann, amount, vec![B256::ZERO]),
            (ann, amount, [proof.clone(), proof].concat()),
        ];
        for (account, cumulative, proof) in forged {
            let answer = self.distributor.claim(account, cumulative, &proof).await;
            assert_eq!(kind(answer), Some(ErrorKind::Rejected), "clause 3: the proof decides");
        }
        let claimed = self.distributor.claimed(ann).await.expect("the ledger answers");
        assert!(claimed.is_zero(), "clause 3: nothing was paid without a proof");
    }

    async fn refuses(&self, tree: &Tree, account: Address, clause: &str) {
        let (cumulative, proof) = tree.claim(account);
        let answer = self.distributor.claim(account, cumulative, &proof).await;
        assert_eq!(kind(answer), Some(ErrorKind::Rejected), "{clause}");
    }

    /// Claims, and claims again.
    async fn pays(&self, tree: &Tree, account: Address, due: u64) {
        let before = self.token.balance(account).await.expect("the ledger answers");
        let (cumulative, proof) = tree.claim(account);
        for expected in [due, 0] {
            let paid = self.distributor.claim(account, cumulative, &proof).await;
            let clause = "clauses 3 and 5: a claim pays the difference, and then nothing";
            assert_eq!(paid.expect(clause), Amount::from(expected), "{clause}");
        }
        let claimed = self.distributor.claimed(account).await.expect("the ledger answers");
        assert_eq!(claimed, cumulative, "clause 3: what was claimed is known");
        let after = self.token.balance(account).await.expect("the ledger answers");
        let gained = after.checked_sub(before).expect("ledger clause 1: a claim arrives");
        assert_eq!(gained, due.into(), "ledger clause 1: a claim arrives");
    }

    /// Claims for both, and again.
    async fn pays_many(&self, tree: &Tree, due: [(Address, u64); 2]) {
        let claims = due.map(|(account, _)| {
            let (cumulative, proof) = tree.claim(account);
            Claim { account, cumulative, proof }
        });
        for expected in [due.map(|(_, due)| Amount::from(due)), [Amount::ZERO; 2]] {
            let paid = self.distributor.claim_many(&claims).await;
            let clause = "clause 6: many claims pay what as many single ones would, in their order";
            assert_eq!(paid.expect(clause), expected, "{clause}");
        }
        let claimed = self.distributor.claimed(due[0].0).await.expect("the ledger answers");
        assert_eq!(claimed, claims[0].cumulative, "clause 6: what was claimed is known");
    }

    /// A tree that promises more than was ever emitted.
    async fn cannot_overdraw(&self, ann: Address, bob: Address) {
        let greedy = Tree::of((ann, 1_000_000), (bob, 45));
        self.publish(&greedy.commitment(3, 121)).await;
        self.refuses(&greedy, ann, "clause 4: no more is paid than was emitted").await;
    }
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Two accounts and what each has earned.
struct Tree {
    rows: [(Address, u64); 2],
    leaves: [B256; 2],
}

impl Tree {
    fn of(a: (Address, u64), b: (Address, u64)) -> Self {
        let leaf = |(account, amount): (Address, u64)| {
            let encoded = [account.into_word().0, B256::left_padding_from(&amount.to_be_bytes()).0];
            keccak256(keccak256(encoded.concat()))
        };
        Self { rows: [a, b], leaves: [leaf(a), leaf(b)] }
    }

    fn commitment(&self, epoch: u64, cumulative: u64) -> Commitment {
        let [a, b] = self.leaves;
        let root = keccak256([a.min(b), a.max(b)].concat());
        let manifest = keccak256(epoch.to_be_bytes());
        Commitment { epoch: EpochId::new(epoch), root, cumulative: cumulative.into(), manifest }
    }

    fn claim(&self, account: Address) -> (Amount, Vec<B256>) {
        let [a, b] = self.leaves;
        let [(first, x), (_, y)] = self.rows;
        if account == first { (x.into(), vec![b]) } else { (y.into(), vec![a]) }
    }
}
