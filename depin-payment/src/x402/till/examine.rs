//! What the chain says of a payment before it is taken, and what its reverts mean.

use std::collections::BTreeMap;

use depin_core::{Amount, B256, Error, ErrorKind, Result};
use depin_evm::{
    Revert,
    alloy::{providers::Provider, rpc::types::TransactionRequest},
    bindings::NetworkToken as Token,
};

use super::Till;
use crate::x402::{
    exact::ExactPayment,
    pledge::Pledge,
    refusal::Refusal,
    upto::{PERMIT2, UPTO_PROXY, UptoPayment, permit2},
};

/// What the chain showed of a payer.
#[derive(Clone, Debug)]
pub(in crate::x402) struct Seen {
    pub(super) block: u64,
    /// What can be moved.
    pub(super) balance: Amount,
    /// What was due before the balance was read.
    pub(super) due: BTreeMap<B256, Amount>,
}

/// What the chain shows of one payment.
struct Shown {
    balance: Amount,
    /// What the payer lets Permit2 move, where that matters.
    allowance: Option<Amount>,
    used: bool,
}

impl Till {
    /// Makes sure that all of `amount` could be moved now.
    pub(in crate::x402) async fn examine(&self, amount: Amount, pledge: &Pledge) -> Result<Seen> {
        pledge
            .check(&self.all_terms(amount), self.0.clock.now())
            .map_err(|refusal| pledge.refuse(refusal))?;
        // Before the balance is read: what is settled in between is in neither of them.
        let due = self.0.book.due_of(pledge.payer())?;
        let (chain, provider) = (&self.0.chain, self.0.chain.provider());
        let transfer = self.transfer(pledge, amount)?.from(chain.account());
        let (block, shown, simulated) = tokio::join!(
            chain.ask(provider.get_block_number()),
            self.look(pledge),
            chain.ask(provider.call(transfer)),
        );
        let Shown { balance, allowance, used } = shown?;
        if balance < amount {
            return Err(pledge.refuse(Refusal::Funds));
        }
        if allowance.is_some_and(|allowance| allowance < amount) {
            return Err(pledge.refuse(Refusal::Allowance));
        }
        if used {
            return Err(pledge.refuse(Refusal::Used));
        }
        simulated.map_err(|error| refused(pledge, error))?;
        let balance = allowance.map_or(balance, |allowance| balance.min(allowance));
        Ok(Seen { block: block?, balance, due })
    }

    async fn look(&self, pledge: &Pledge) -> Result<Shown> {
        let (chain, payer) = (&self.0.chain, pledge.payer());
        let token = Token::new(self.0.token, chain.provider());
        let balance = token.balanceOf(payer);
        match pledge {
            Pledge::Exact(_) => {
                let (balance, used) = tokio::join!(chain.read(&balance), self.is_used(pledge));
                Ok(Shown { balance: Amount::units(balance?), allowance: None, used: used? })
            }
            Pledge::Upto(_) => {
                self.require_upto().await?;
                let allowance = token.allowance(payer, PERMIT2);
                let (balance, allowance, used) = tokio::join!(
                    chain.read(&balance),
                    chain.read(&allowance),
                    self.is_used(pledge)
                );
                let allowance = Some(Amount::units(allowance?));
                Ok(Shown { balance: Amount::units(balance?), allowance, used: used? })
            }
        }
    }

    /// Whether the payer's nonce is used up, by this payment or otherwise.
    pub(super) async fn is_used(&self, pledge: &Pledge) -> Result<bool> {
        let chain = &self.0.chain;
        match pledge {
            Pledge::Exact(payment) => {
                let given = payment.authorization();
                let token = Token::new(self.0.token, chain.provider());
                chain.read(&token.authorizationState(given.from, given.nonce)).await
            }
            Pledge::Upto(payment) => {
                permit2::is_used(chain, payment.payer(), payment.nonce()).await
            }
        }
    }

    /// Makes sure, once, that the contracts of the scheme `upto` are where they have to be: a call to an address
    /// without code succeeds, and moves nothing.
    pub(in crate::x402) async fn require_upto(&self) -> Result<()> {
        let look = || async {
            for contract in [PERMIT2, UPTO_PROXY] {
                let chain = &self.0.chain;
                let code = chain.ask(chain.provider().get_code_at(contract)).await?;
                if code.is_empty() {
                    let text = "the chain does not have a contract that x402 upto needs; price exactly \
                                there, or take vouchers";
                    let error = Error::new(ErrorKind::Config, text).with("contract", contract);
                    return Err(error.with("reason", "permit2_proxy_not_deployed"));
                }
            }
            Ok(())
        };
        self.0.upto.get_or_try_init(look).await.copied()
    }

    /// The transaction that moves `amount` of a payment.
    pub(super) fn transfer(&self, pledge: &Pledge, amount: Amount) -> Result<TransactionRequest> {
        match pledge {
            Pledge::Exact(payment) => Ok(self.authorized_transfer(payment)),
            Pledge::Upto(payment) => payment.transaction(amount),
        }
    }

    fn authorized_transfer(&self, payment: &ExactPayment) -> TransactionRequest {
        let given = payment.authorization();
        let [signature @ .., v] = payment.signature();
        let (r, s) = signature.split_at(32);
        let token = Token::new(self.0.token, self.0.chain.provider());
        let call = token.transferWithAuthorization(
            given.from,
            given.to,
            given.value.to_units(),
            given.valid_after,
            given.valid_before,
            given.nonce,
            *v,
            B256::from_slice(r),
            B256::from_slice(s),
        );
        call.into_transaction_request()
    }

    /// Why `amount` cannot be moved, when Permit2 does not say it: it hides what the token said.
    pub(super) async fn diagnose(&self, payment: &UptoPayment, amount: Amount) -> Result<Refusal> {
        let pledge = Pledge::Upto(payment.clone());
        let Shown { balance, allowance, used } = self.look(&pledge).await?;
        Ok(match () {
            () if used => Refusal::Used,
            () if balance < amount => Refusal::Funds,
            () if allowance.is_some_and(|allowance| allowance < amount) => Refusal::Allowance,
            () => Refusal::Transfer,
        })
    }
}

/// Gives a revert its refusal; leaves other errors alone.
pub(super) fn refused(pledge: &Pledge, error: Error) -> Error {
    if error.kind() != ErrorKind::Rejected {
        return error;
    }
    let Some(revert) = Revert::of(&error) else { return pledge.refuse(Refusal::Transfer) };
    let refusal = match pledge {
        Pledge::Exact(_) => refusal_of_token(revert),
        Pledge::Upto(_) => permit2::refusal_of(revert),
    };
    let error = pledge.refuse(refusal);
    if refusal == Refusal::Transfer { error.with("revert", revert) } else { error }
}

fn refusal_of_token(revert: &Revert) -> Refusal {
    match () {
        () if revert.decode::<Token::ERC3009UsedAuthorization>().is_some() => Refusal::Used,
        () if revert.decode::<Token::ERC20InsufficientBalance>().is_some() => Refusal::Funds,
        () if revert.decode::<Token::ERC3009InvalidAuthorizationTime>().is_some() => {
            Refusal::Expired
        }
        () => Refusal::Transfer,
    }
}
