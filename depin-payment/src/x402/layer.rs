//! A price on a route: the layer around a service of any tower server, axum among them.
//!
//! Nothing leaves a priced route unpaid: the payment is verified, the service answers, the answer is stored with
//! the payment, the money moves, and only then the answer goes out. Whoever repeats payment and request gets the
//! stored answer; the service is asked once.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use depin_core::{Amount, B256, Error, ErrorKind, Result, keccak256};
use http::{HeaderValue, Request, Response, StatusCode, header, request, response};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    answer::Answer,
    batch::{self, Commitment},
    exact::{ExactTerms, network_of},
    identifier,
    message::{
        PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload, PaymentRequired,
        ResourceInfo, SettleResponse,
    },
    pledge::{Pledge, Terms},
    refusal::Refusal,
    till::{Outcome, Sale, Till},
};
use crate::{evm::ChannelRail, typed::hash_words};

/// A price for every request to what it is laid around.
///
/// Bodies are read whole before the service sees them, and answers before they go out, each up to a limit, so
/// streams cannot be sold this way.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use axum::{Router, routing::get};
/// use depin_core::{Amount, NetworkId, SystemClock};
/// # use depin_devnet::Devnet;
/// # use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::x402::{PaymentRequired, Till, TillOptions};
///
/// # let devnet = Devnet::start();
/// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// # let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// let till = Till::open(chain, token, Arc::new(SystemClock), TillOptions::in_memory()).await?;
/// let price = till.price(Amount::from(100)).described("the newest reading");
/// let app = Router::new()
///     .route("/readings/newest", get(|| async { "21.5" }).layer(price))
///     .route("/about", get(|| async { "a station" }));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let url = format!("http://{}", listener.local_addr().unwrap());
/// tokio::spawn(async { axum::serve(listener, app).await });
///
/// assert_eq!(reqwest::get(format!("{url}/about")).await.unwrap().status(), 200);
/// let unpaid = reqwest::get(format!("{url}/readings/newest")).await.unwrap();
/// assert_eq!(unpaid.status(), 402);
/// let offer = unpaid.headers()["payment-required"].to_str().unwrap();
/// assert_eq!(PaymentRequired::from_header(offer)?.accepts[0].amount, "100");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "lay it around a route"]
pub struct Price {
    till: Till,
    /// The price, or the most of it.
    amount: Amount,
    how: How,
    pub(super) vouchers: Option<Arc<ChannelRail>>,
    base: String,
    resource: ResourceInfo,
    request_limit: usize,
    answer_limit: usize,
}

/// Whether the price is known before the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Exact,
    Upto,
}

/// How much of a price [up to so much](Till::price_upto) was used, in the token's smallest unit. The service puts it
/// into the extensions of its response; in axum by answering with `Extension(Used(units))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an amount with a meaning")]
pub struct Used(pub Amount);

impl Till {
    /// A price for a route, in the token's smallest unit.
    pub fn price(&self, amount: Amount) -> Price {
        self.priced(amount, How::Exact)
    }

    /// A price of up to `most` for a route: the payer signs for that much, and the service says how much of it was
    /// [`Used`]. That is what moves. With nothing used nothing is sent, and the answer is free: it is kept for who
    /// repeats the request like others, as long as all free ones that are kept have at most 8 MiB together.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// use axum::{Extension, Router, routing::post};
    /// use depin_core::{Amount, ErrorKind, NetworkId, SystemClock};
    /// # use depin_devnet::Devnet;
    /// # use depin_evm::{Chain, DeployOptions, deploy};
    /// use depin_payment::x402::{Till, TillOptions, Used};
    ///
    /// /// Sells echoes by the byte.
    /// async fn echo(text: String) -> (Extension<Used>, String) {
    ///     (Extension(Used(Amount::from(text.len() as u64))), text)
    /// }
    ///
    /// # let devnet = Devnet::start();
    /// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
    /// # let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
    /// let till = Till::open(chain, token, Arc::new(SystemClock), TillOptions::in_memory()).await?;
    /// match till.price_upto(Amount::from(1_000)).await {
    ///     Ok(price) => drop::<Router>(Router::new().route("/echo", post(echo).layer(price))),
    ///     // The embedded chain starts without Permit2 and x402's proxy; public chains have them.
    ///     Err(error) => assert_eq!(error.kind(), ErrorKind::Config),
    /// }
    /// # Ok::<(), depin_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the chain does not have Permit2 and x402's proxy, or `most` is zero;
    /// [`ErrorKind::Unavailable`] when the node does not answer.
    pub async fn price_upto(&self, most: Amount) -> Result<Price> {
        if most.is_zero() {
            let text = "nobody can sign for up to nothing; lay no price around what is free";
            return Err(Error::new(ErrorKind::Config, text));
        }
        self.require_upto().await?;
        Ok(self.priced(most, How::Upto))
    }

    fn priced(&self, amount: Amount, how: How) -> Price {
        Price {
            till: self.clone(),
            amount,
            how,
            vouchers: None,
            base: String::new(),
            resource: ResourceInfo::default(),
            request_limit: 64 * 1024,
            answer_limit: 1024 * 1024,
        }
    }
}

impl Price {
    /// What is sold, for people.
    pub fn described(mut self, description: &str) -> Self {
        self.resource.description = Some(description.to_owned());
        self
    }

    /// The MIME type of what is sold.
    pub fn mime_type(mut self, mime_type: &str) -> Self {
        self.resource.mime_type = Some(mime_type.to_owned());
        self
    }

    /// Where clients reach the server, such as `https://api.example`, which goes before the paths in offers.
    /// Unless told offers name the path only: what a request says of its host may be made up.
    pub fn at(mut self, base: &str) -> Self {
        self.base = base.trim_end_matches('/').to_owned();
        self
    }

    /// Most bytes of a request's body; 64 KiB unless told.
    pub const fn request_limit(mut self, bytes: usize) -> Self {
        self.request_limit = bytes;
        self
    }

    /// Most bytes of an answer's body; 1 MiB unless told. Longer answers are an error and cost nothing.
    pub const fn answer_limit(mut self, bytes: usize) -> Self {
        self.answer_limit = bytes;
        self
    }
}

impl<S> Layer<S> for Price {
    type Service = Priced<S>;

    fn layer(&self, service: S) -> Priced<S> {
        Priced { price: Arc::new(self.clone()), service }
    }
}

/// A service with a [`Price`].
#[derive(Clone, Debug)]
pub struct Priced<S> {
    price: Arc<Price>,
    service: S,
}

type Cause = Box<dyn StdError + Send + Sync>;

impl<S, B, R> Service<Request<B>> for Priced<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Cause>> + From<Bytes> + Send + 'static,
    R: Body<Data: Send, Error: Into<Cause>> + From<Bytes> + Send + 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes with the request, a copy stays.
        let copy = self.service.clone();
        let service = mem::replace(&mut self.service, copy);
        let price = Arc::clone(&self.price);
        Box::pin(async move {
            let response = price.sell(request, service).await;
            Ok(response.map(R::from))
        })
    }
}

enum Done {
    /// The answer, and how much it costs.
    Worked(Answer, Amount),
    /// What costs nothing.
    Failed(Response<Bytes>),
}

/// A request that brings a payment.
struct Order {
    pledge: Pledge,
    purpose: B256,
    name: Option<B256>,
}

impl Price {
    async fn sell<S, B, R>(&self, request: Request<B>, service: S) -> Response<Bytes>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Send,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<Cause>> + From<Bytes> + Send,
        R: Body<Data: Send, Error: Into<Cause>> + Send,
    {
        let (parts, body) = request.into_parts();
        match self.trade(&parts, body, service).await {
            Ok(response) => response,
            Err(error) => self.refuse(&parts, &error),
        }
    }

    async fn trade<S, B, R>(
        &self,
        parts: &request::Parts,
        body: B,
        service: S,
    ) -> Result<Response<Bytes>>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Send,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<Cause>> + From<Bytes> + Send,
        R: Body<Data: Send, Error: Into<Cause>> + Send,
    {
        let Some(payload) = payload_of(parts)? else { return Ok(self.ask(parts, None)) };
        let body = whole(body, self.request_limit, "request").await?;
        let name = identifier::of(&payload)?;
        let purpose = self.purpose(parts, &body, name);
        let request = Request::from_parts(parts.clone(), B::from(body));
        if payload.accepted.scheme == batch::SCHEME {
            let commitment = self.commitment(&payload, name).await?;
            return self.trade_voucher(&commitment, purpose, request, service).await;
        }
        let order = Order { pledge: self.pledge(&payload)?, purpose, name };
        let sale = self.sale(&order);
        // Without a name one request at a time: whoever sees the payment on its way cannot overtake.
        if name.is_some()
            && let Some(id) = self.till.taken(&sale)?
        {
            return self.deliver(parts, &order, id, None).await;
        }
        let id = order.pledge.id(&self.all_terms());
        let Some(_mark) = self.till.mark(id) else { return Err(busy()) };
        // Another request may have been through since.
        if let Some(id) = self.till.taken(&sale)? {
            return self.deliver(parts, &order, id, None).await;
        }
        // Given up with the request, however that ends.
        let reserved = self.till.reserve((self.amount, self.amount), &order.pledge).await?;
        match self.work(request, service).await? {
            Done::Failed(response) => Ok(response),
            Done::Worked(answer, used) => {
                self.till.keep(&sale, used, &reserved, Some(&answer))?;
                drop(reserved);
                self.deliver(parts, &order, id, Some(answer)).await
            }
        }
    }

    /// Serves a charge that a voucher pays, once. The voucher is taken when there is an answer, and before that
    /// goes out: a service that fails costs nothing, and the same voucher is good for the next request.
    async fn trade_voucher<S, B, R>(
        &self,
        commitment: &Commitment,
        purpose: B256,
        request: Request<B>,
        service: S,
    ) -> Result<Response<Bytes>>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Send,
        S::Future: Send,
        R: Body<Data: Send, Error: Into<Cause>> + Send,
        B: Send,
    {
        let charge = commitment.charge.id;
        let Some(_mark) = self.till.mark(charge) else { return Err(busy()) };
        if commitment.is_taken(purpose)? {
            let answer = self.till.answer(charge)?.ok_or(Refusal::Spent)?;
            return Ok(commitment.hand_over(&answer));
        }
        match self.work(request, service).await? {
            Done::Failed(response) => Ok(response),
            Done::Worked(answer, _) => {
                // First: what is paid can be handed over again, also after a crash.
                self.till.keep_answer(charge, &answer)?;
                commitment.accept(purpose).await?;
                Ok(commitment.hand_over(&answer))
            }
        }
    }

    /// Lets the service answer.
    async fn work<S, B, R>(&self, request: Request<B>, mut service: S) -> Result<Done>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Send,
        S::Future: Send,
        R: Body<Data: Send, Error: Into<Cause>> + Send,
        B: Send,
    {
        let Ok(response) = service.call(request).await;
        let (mut head, body) = response.into_parts();
        let body = whole(body, self.answer_limit, "answer").await?;
        // What became of this payment only this side can say, and not a server that the service asked.
        head.headers.remove(PAYMENT_RESPONSE);
        if head.status.is_client_error() || head.status.is_server_error() {
            return Ok(Done::Failed(Response::from_parts(head, body)));
        }
        let used = self.used(&head)?;
        Ok(Done::Worked(Answer::of(&head, body), used))
    }

    /// What an answer costs.
    fn used(&self, head: &response::Parts) -> Result<Amount> {
        if self.how == How::Exact {
            return Ok(self.amount);
        }
        let Some(Used(used)) = head.extensions.get() else {
            let text = "the service does not say how much of its price was used; put `Used` into \
                        the extensions of its response";
            return Err(Error::new(ErrorKind::Config, text));
        };
        if *used > self.amount {
            let text = "the service used more than its price allows; raise the price or do less";
            let error = Error::new(ErrorKind::Config, text).with("used", used.to_units());
            let error = error.with("reason", "invalid_upto_evm_payload_settlement_exceeds_amount");
            return Err(error.with("price", self.amount.to_units()));
        }
        Ok(*used)
    }

    /// How much a payment costs, where its scheme leaves that open.
    fn cost(&self, id: B256) -> Result<Option<Amount>> {
        if self.how == How::Upto { self.till.cost(id) } else { Ok(None) }
    }

    pub(super) const fn how(&self) -> How {
        self.how
    }

    fn all_terms(&self) -> Terms {
        self.till.all_terms(self.amount)
    }

    pub(super) const fn till(&self) -> &Till {
        &self.till
    }

    pub(super) fn terms(&self) -> ExactTerms {
        self.till.terms(self.amount)
    }

    const fn sale<'a>(&self, order: &'a Order) -> Sale<'a> {
        let Order { pledge, purpose, name } = order;
        Sale { amount: self.amount, pledge, purpose: *purpose, name: *name }
    }

    /// Parses the payment that a client brings, and refuses one for another offer.
    fn pledge(&self, payload: &PaymentPayload) -> Result<Pledge> {
        let pledge = Pledge::parse(payload, &self.all_terms())?;
        match (self.how, &pledge) {
            (How::Exact, Pledge::Exact(_)) | (How::Upto, Pledge::Upto(_)) => Ok(pledge),
            _ => Err(Refusal::Offer.into()),
        }
    }

    /// What a request asks for, so that another request is not taken for it.
    fn purpose(&self, parts: &request::Parts, body: &Bytes, name: Option<B256>) -> B256 {
        let described = self.resource.description.as_deref().unwrap_or_default();
        hash_words([
            keccak256(parts.method.as_str()),
            keccak256(self.url(parts)),
            keccak256(described),
            keccak256(body),
            name.unwrap_or_default(),
        ])
    }

    /// Settles what was taken and hands over the answer that it bought, which is fresh or was kept.
    async fn deliver(
        &self,
        parts: &request::Parts,
        order: &Order,
        id: B256,
        fresh: Option<Answer>,
    ) -> Result<Response<Bytes>> {
        let mut said =
            SettleResponse { payer: Some(order.pledge.payer().to_string()), ..self.said(None) };
        // Before settling, for what is settled may be forgotten.
        let answer = fresh.map_or_else(|| self.till.answer(id), |fresh| Ok(Some(fresh)))?;
        let cost = self.cost(id)?;
        match self.till.settle_one(id).await? {
            outcome @ (Outcome::Settled(_) | Outcome::Unused) => {
                said.success = true;
                if let Outcome::Settled(transaction) = outcome {
                    said.transaction = transaction.to_string();
                }
                said.amount = cost.map(|amount| amount.to_units().to_string());
                let answer = answer.ok_or(Refusal::Spent)?;
                if order.name.is_none() {
                    // The payment is public now, and nothing else tells its payer from others.
                    self.till.drop_answer(id)?;
                }
                Ok(tell(answer.to_response(), &said))
            }
            Outcome::Pending => {
                said.error_reason = Some(SettleResponse::PENDING.to_owned());
                Ok(tell(unsettled(), &said))
            }
            Outcome::Failed(refusal) => {
                let code = self.code(refusal);
                said.error_reason = Some(code.to_owned());
                Ok(tell(self.ask(parts, Some(code)), &said))
            }
        }
    }

    /// 402 with the offer.
    fn ask(&self, parts: &request::Parts, error: Option<&str>) -> Response<Bytes> {
        let error = error.unwrap_or("PAYMENT-SIGNATURE header is required");
        let offer = match self.how {
            How::Exact => self.terms().to_requirements(),
            How::Upto => self.till.upto_terms(self.amount).to_requirements(),
        };
        let resource = ResourceInfo { url: self.url(parts), ..self.resource.clone() };
        let accepts = [offer].into_iter().chain(self.voucher_offer()).collect();
        let required = PaymentRequired::asking(resource, accepts).because(error);
        let mut response = problem(StatusCode::PAYMENT_REQUIRED, error);
        insert(&mut response, PAYMENT_REQUIRED, &required.to_header());
        response
    }

    fn refuse(&self, parts: &request::Parts, error: &Error) -> Response<Bytes> {
        if error.kind() == ErrorKind::Rejected {
            let refusal = Refusal::of(error);
            let code = refusal.map_or_else(|| error.message(), |refusal| self.code(refusal));
            return self.ask(parts, Some(code));
        }
        let status = match error.kind() {
            ErrorKind::Malformed | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
            ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // What payers do to themselves is no trouble of the service.
        if status.is_server_error() && Refusal::of(error).is_none() {
            tracing::warn!(%error, "a request that brought a payment could not be served");
        }
        let mut response = problem(status, error.message());
        // So that nobody takes a conflict that the service itself answers with for one of the payment.
        if let (StatusCode::CONFLICT, Some(refusal)) = (status, Refusal::of(error)) {
            response = tell(response, &self.said(Some(self.code(refusal))));
        }
        let soon = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY);
        if let Some(delay) = error.retry_after().or(soon) {
            insert(&mut response, header::RETRY_AFTER.as_str(), &delay.as_secs().to_string());
        }
        response
    }

    /// That nothing moved, and why.
    fn said(&self, reason: Option<&str>) -> SettleResponse {
        SettleResponse {
            error_reason: reason.map(str::to_owned),
            network: network_of(self.terms().chain),
            ..SettleResponse::default()
        }
    }

    const fn code(&self, refusal: Refusal) -> &'static str {
        match self.how {
            How::Exact => refusal.code(),
            How::Upto => refusal.upto_code(),
        }
    }

    fn url(&self, parts: &request::Parts) -> String {
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        format!("{}{path}", self.base)
    }
}

/// The payment that a request brings, if it brings one.
fn payload_of(parts: &request::Parts) -> Result<Option<PaymentPayload>> {
    let mut values = parts.headers.get_all(PAYMENT_SIGNATURE).iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| more.is_none()).ok_or_else(|| {
        Error::new(ErrorKind::Malformed, "a request brings one PAYMENT-SIGNATURE header of base64")
    })?;
    PaymentPayload::from_header(text).map(Some)
}

async fn whole<B>(body: B, limit: usize, of: &'static str) -> Result<Bytes>
where
    B: Body<Error: Into<Cause>>,
{
    let collected = Limited::new(body, limit).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|cause| {
        if of == "answer" {
            let text = "the service's answer broke off or is longer than the price allows; raise \
                        its answer limit";
            return Error::new(ErrorKind::Config, text).source(cause);
        }
        let text = "the request's body broke off or is longer than this route takes";
        Error::new(ErrorKind::Limit, text).with("limit", limit).source(cause)
    })
}

fn busy() -> Error {
    let text = "the same payment is being worked on; repeat the request in a moment";
    Error::new(ErrorKind::Conflict, text).retry_in(std::time::Duration::from_secs(1))
}

fn unsettled() -> Response<Bytes> {
    let text = "the payment is not settled yet; repeat the request with the same payment";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

fn problem(status: StatusCode, text: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "error": text }).to_string();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn tell(mut response: Response<Bytes>, said: &SettleResponse) -> Response<Bytes> {
    insert(&mut response, PAYMENT_RESPONSE, &said.to_header());
    response
}

fn insert(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// When to repeat what could not be served now.
const RETRY: std::time::Duration = std::time::Duration::from_secs(2);
