//! What the chain says of a payment before it is taken, and what its reverts mean.

use std::collections::BTreeMap;

use depin_core::{Amount, B256, Error, ErrorKind, Result};
use depin_evm::{
    Revert,
    alloy::{eips::BlockId, providers::Provider, rpc::types::TransactionRequest},
    bindings::NetworkToken as Token,
};

use super::{
    Till,
    work::{Claim, Funds},
};
use crate::x402::{
    book::Owed,
    exact::ExactPayment,
    pledge::{Pledge, Terms},
    refusal::Refusal,
    upto::{PERMIT2, UPTO_PROXY, UptoPayment, permit2},
};

/// A payment that is good, and money for it that nobody else is served for as long as this lives.
#[derive(Debug)]
#[must_use = "others are served for the same money when it is dropped"]
pub(in crate::x402) struct Reserved {
    /// The block at which it was good.
    pub(super) block: u64,
    _claim: Claim,
}

/// What the chain shows of one payment.
struct Shown {
    funds: Funds,
    used: bool,
}

impl Till {
    /// Makes sure that all of `amount` could be moved now, and that `asked` of it can be beside everything else of that
    /// payer that is due or being worked for, and reserves that.
    pub(in crate::x402) async fn reserve(
        &self,
        (amount, asked): (Amount, Amount),
        pledge: &Pledge,
    ) -> Result<Reserved> {
        let terms = self.check(amount, pledge)?;
        let claim = self.claim(asked, pledge, pledge.id(&terms))?;
        let (block, funds) = self.examine(amount, pledge).await?;
        match claim.lacks(&funds)? {
            None => Ok(Reserved { block, _claim: claim }),
            Some(refusal) => Err(pledge.refuse(refusal)),
        }
    }

    /// Checks all that needs no chain.
    pub(super) fn check(&self, amount: Amount, pledge: &Pledge) -> Result<Terms> {
        let terms = self.all_terms(amount);
        let checked = pledge.check(&terms, self.0.clock.now());
        checked.map(|()| terms).map_err(|refusal| pledge.refuse(refusal))
    }

    /// Makes sure that all of `amount` could be moved now if nothing else was due. Answers the block, and what can be
    /// moved.
    pub(super) async fn examine(&self, amount: Amount, pledge: &Pledge) -> Result<(u64, Funds)> {
        let (chain, provider) = (&self.0.chain, self.0.chain.provider());
        let transfer = self.transfer(pledge, amount)?.from(chain.account());
        let (block, shown, simulated) = tokio::join!(
            chain.ask(provider.get_block_number()),
            self.look(pledge),
            chain.ask(provider.call(transfer)),
        );
        let Shown { funds, used } = shown?;
        let asked = Owed { amount, by_permit2: pledge.is_by_permit2() };
        if let Some(refusal) = funds.lack(&BTreeMap::new(), asked)? {
            return Err(pledge.refuse(refusal));
        }
        if used {
            return Err(pledge.refuse(Refusal::Used));
        }
        simulated.map_err(|error| refused(pledge, error))?;
        Ok((block?, funds))
    }

    async fn look(&self, pledge: &Pledge) -> Result<Shown> {
        let (chain, payer) = (&self.0.chain, pledge.payer());
        let token = Token::new(self.0.token, chain.provider());
        let balance = token.balanceOf(payer);
        match pledge {
            Pledge::Exact(_) => {
                let (balance, used) =
                    tokio::join!(chain.read(&balance), self.is_used(pledge, BlockId::latest()));
                let funds = Funds { balance: Amount::units(balance?), allowance: None };
                Ok(Shown { funds, used: used? })
            }
            Pledge::Upto(_) => {
                self.require_upto().await?;
                let allowance = token.allowance(payer, PERMIT2);
                let (balance, allowance, used) = tokio::join!(
                    chain.read(&balance),
                    chain.read(&allowance),
                    self.is_used(pledge, BlockId::latest())
                );
                let (balance, allowance) = (Amount::units(balance?), Amount::units(allowance?));
                Ok(Shown { funds: Funds { balance, allowance: Some(allowance) }, used: used? })
            }
        }
    }

    /// Whether the payer's nonce is used up at a block, by this payment or otherwise.
    pub(super) async fn is_used(&self, pledge: &Pledge, at: BlockId) -> Result<bool> {
        let chain = &self.0.chain;
        match pledge {
            Pledge::Exact(payment) => {
                let given = payment.authorization();
                let token = Token::new(self.0.token, chain.provider());
                chain.read(&token.authorizationState(given.from, given.nonce).block(at)).await
            }
            Pledge::Upto(payment) => {
                permit2::is_used(chain, payment.payer(), payment.nonce(), at).await
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
        let Shown { funds, used } = self.look(&pledge).await?;
        if used {
            return Ok(Refusal::Used);
        }
        let lack = funds.lack(&BTreeMap::new(), Owed { amount, by_permit2: true })?;
        Ok(lack.unwrap_or(Refusal::Transfer))
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
