//! Logs of many blocks, from nodes that answer for few, or seldom.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use depin_core::NetworkId;
use depin_devnet::{Devnet, DevnetTransport};
use depin_evm::{
    Chain, DeployOptions, Deployment, ErrorKind,
    alloy::{
        primitives::{Address, U256},
        providers::{Provider, ProviderBuilder},
        rpc::{
            client::RpcClient,
            json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload},
            types::{Filter, Log},
        },
        sol_types::SolEvent,
        transports::{TransportError, TransportFut},
    },
    bindings::NetworkToken,
    deploy,
};
use serde_json::value::RawValue;
use tower::Service;

use crate::anvil::Anvil;

/// Between a chain handle and its node: says no as it is told, and keeps what was asked.
#[derive(Clone)]
struct Moody<S> {
    inner: S,
    /// Answers to the next questions for logs; the node's own where there is none.
    refusals: Arc<Mutex<VecDeque<ErrorPayload>>>,
    /// The most blocks at once.
    most: Arc<Mutex<u64>>,
    /// The most blocks at once of which it says anything at all.
    heard: Arc<Mutex<u64>>,
    asked: Arc<Mutex<Vec<(u64, u64)>>>,
    /// What happens before the last of the refusals reaches who asked.
    meanwhile: Arc<Mutex<Option<TransportFut<'static, ()>>>>,
}

impl<S> Moody<S> {
    fn new(inner: S) -> Self {
        let (most, heard) = (Arc::new(Mutex::new(u64::MAX)), Arc::new(Mutex::new(u64::MAX)));
        let (refusals, asked, meanwhile) = (Arc::default(), Arc::default(), Arc::default());
        Self { inner, refusals, most, heard, asked, meanwhile }
    }

    fn be_silent_beyond(&self, blocks: u64) {
        *self.heard.lock().unwrap() = blocks;
    }

    /// Whether it says nothing to what it heard last.
    fn is_silent(&self) -> bool {
        let last = self.asked.lock().unwrap().last().copied();
        last.is_some_and(|(first, last)| last - first >= *self.heard.lock().unwrap())
    }

    fn refuse(&self, times: usize, answer: &str) {
        let answer: ErrorPayload = serde_json::from_str(answer).unwrap();
        self.refusals.lock().unwrap().extend(std::iter::repeat_n(answer, times));
    }

    /// After the refusals that wait.
    fn meanwhile(&self, others: impl Future<Output = ()> + Send + 'static) {
        let others = async {
            others.await;
            Ok(())
        };
        *self.meanwhile.lock().unwrap() = Some(Box::pin(others));
    }

    fn limit(&self, blocks: u64) {
        *self.most.lock().unwrap() = blocks;
    }

    fn asked(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn hear(&self, params: &str) -> Option<ErrorPayload> {
        let params: serde_json::Value = serde_json::from_str(params).unwrap();
        let block = |name| {
            let block = params[0][name].as_str().unwrap().strip_prefix("0x").unwrap();
            u64::from_str_radix(block, 16).unwrap()
        };
        let (first, last) = (block("fromBlock"), block("toBlock"));
        self.asked.lock().unwrap().push((first, last));
        if let Some(refusal) = self.refusals.lock().unwrap().pop_front() {
            return Some(refusal);
        }
        let refusal = r#"{"code": -32602, "message": "block range is too large"}"#;
        (last - first >= *self.most.lock().unwrap()).then(|| serde_json::from_str(refusal).unwrap())
    }
}

impl<S> Moody<S>
where
    Self: Service<
            RequestPacket,
            Response = ResponsePacket,
            Error = TransportError,
            Future = TransportFut<'static>,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    async fn connect(&self, devnet: &Devnet) -> Chain {
        let client = RpcClient::new(self.clone(), true);
        let provider = ProviderBuilder::default().connect_client(client).erased();
        let chain = Chain::from_provider(provider, devnet.account(0));
        chain.poll_interval(Duration::from_millis(5)).connect().await.unwrap()
    }
}

impl<S> Service<RequestPacket> for Moody<S>
where
    S: Service<RequestPacket, Response = ResponsePacket, Error = TransportError>,
    S::Future: Send + 'static,
{
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        if let Some(single) = packet.as_single()
            && single.method() == "eth_getLogs"
        {
            let refusal = self.hear(single.params().map_or("", RawValue::get));
            if self.is_silent() {
                return Box::pin(std::future::pending());
            }
            let Some(refusal) = refusal else { return Box::pin(self.inner.call(packet)) };
            let (id, payload) = (single.id().clone(), ResponsePayload::Failure(refusal));
            let is_last = self.refusals.lock().unwrap().is_empty();
            let meanwhile = is_last.then(|| self.meanwhile.lock().unwrap().take()).flatten();
            return Box::pin(async move {
                if let Some(others) = meanwhile {
                    others.await?;
                }
                Ok(ResponsePacket::Single(Response { id, payload }))
            });
        }
        Box::pin(self.inner.call(packet))
    }
}

/// A chain of more than 2,000 blocks with transfers at both ends and between.
async fn history(chain: &Chain, mine: impl AsyncFn(u64)) -> Deployment {
    let contracts =
        deploy(chain, &DeployOptions::new(NetworkId::parse("logs").unwrap())).await.unwrap();
    let token = NetworkToken::new(contracts.token, chain.provider());
    for amount in 0..4_u64 {
        let friend = Address::repeat_byte(7);
        chain
            .send(token.approve(friend, U256::from(amount)).into_transaction_request())
            .await
            .unwrap();
        mine(700).await;
    }
    contracts
}

fn approvals(contracts: &Deployment) -> Filter {
    let event = NetworkToken::Approval::SIGNATURE_HASH;
    Filter::new().address(contracts.token).event_signature(event)
}

fn amounts(logs: &[Log]) -> Vec<u64> {
    let amount = |log: &Log| log.log_decode::<NetworkToken::Approval>().unwrap().inner.data.value;
    logs.iter().map(|log| amount(log).to()).collect()
}

/// A chain behind a moody node, and its approvals of 0, 1, 2 and 3.
async fn long() -> (Devnet, Moody<DevnetTransport>, Chain, Filter) {
    let devnet = Devnet::start();
    let node = Moody::new(devnet.transport());
    let chain = node.connect(&devnet).await;
    let contracts = history(&chain, async |blocks| devnet.mine(blocks)).await;
    (devnet, node, chain, approvals(&contracts))
}

#[tokio::test]
async fn windows_shrink_to_what_a_node_answers_are_remembered_and_grow_again() {
    let (devnet, node, chain, filter) = long().await;
    let height = devnet.block_number();
    node.limit(500);
    let all = chain.logs(filter.clone(), 0..=height).all().await.unwrap();
    assert_eq!(amounts(&all), [0, 1, 2, 3]);
    // A chain of 2,800 blocks fits into one window at first: 1,400, 700, then 350.
    let asked = node.asked();
    assert!(asked.len() < 16, "{asked:?}");
    let mut next = 0;
    for (first, last) in asked.iter().filter(|(first, last)| last - first < 500) {
        assert_eq!(*first, next, "nothing is left out or asked twice");
        next = last + 1;
    }
    assert_eq!(next, height + 1);

    // The next reader begins with what worked, and the other end of the range.
    let mut backwards = chain.logs(filter.clone(), 0..=height).newest_first();
    let newest = backwards.next().await.unwrap().unwrap();
    assert_eq!(*newest.blocks.end(), height);
    assert!((250..=500).contains(&(height + 1 - newest.blocks.start())));
    assert_eq!(node.asked().len(), 1);
    let mut amounts_back = amounts(&newest.logs);
    while let Some(window) = backwards.next().await.unwrap() {
        amounts_back.extend(amounts(&window.logs).into_iter().rev());
    }
    assert_eq!(amounts_back, [3, 2, 1, 0]);

    // What was refused for a while is asked for again.
    node.limit(u64::MAX);
    node.asked();
    for _ in 0..10 {
        chain.logs(filter.clone(), 0..=height).all().await.unwrap();
    }
    let widest = node.asked().iter().map(|(first, last)| last - first + 1).max().unwrap();
    assert!(widest > 500, "{widest}");
}

#[tokio::test]
async fn what_is_refused_for_its_rate_waits_and_stays_whole() {
    let (devnet, node, chain, filter) = long().await;
    let height = devnet.block_number();
    let busy = r#"{"code": -32005, "message": "project ID request rate exceeded", "data": {"rate": {"backoff_seconds": 0}}}"#;
    node.refuse(3, busy);
    let all = chain.logs(filter.clone(), 0..=height).all().await.unwrap();
    assert_eq!(amounts(&all), [0, 1, 2, 3]);
    assert_eq!(node.asked(), [(0, height); 4]);

    // Not for ever, and not for as long as it pleases the node.
    node.refuse(8, busy);
    let error = chain.logs(filter.clone(), 0..=height).all().await.unwrap_err();
    assert_eq!((error.kind(), node.asked().len()), (ErrorKind::Unavailable, 8), "{error}");
    node.refuse(1, &busy.replace(": 0}", ": 3600}"));
    let error = chain.logs(filter, 0..=height).all().await.unwrap_err();
    assert_eq!((error.kind(), node.asked().len()), (ErrorKind::Unavailable, 1), "{error}");
}

#[tokio::test]
async fn a_node_that_refuses_everything_is_not_asked_for_ever() {
    let (devnet, node, chain, filter) = long().await;
    node.limit(0);
    let height = devnet.block_number();
    let refusal = r#"{"code": -32005, "message": "limit exceeded", "data": {"rate": {"backoff_seconds": 0}}}"#;
    node.refuse(100, refusal);
    let error = chain.logs(filter.clone(), 0..=height).all().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let asked = node.asked();
    assert_eq!(asked.last(), Some(&(0, 0)));
    assert!(asked.len() <= 12 + 8, "{}", asked.len());
    // Of a node that lags no less is asked for.
    node.refusals.lock().unwrap().clear();
    node.limit(u64::MAX);
    let lags = r#"{"code": -32000, "message": "block range extends beyond current head block"}"#;
    node.refuse(5, lags);
    let mut windows = chain.logs(filter, 5..=height);
    windows.next().await.unwrap_err();
    assert_eq!(node.asked(), [(5, 5); 5]);
    // One that catches up meanwhile is not given up on.
    node.refuse(4, lags);
    assert_eq!(windows.next().await.unwrap().unwrap().blocks, 5..=5, "the same window is next");
    assert_eq!(node.asked(), [(5, 5); 5]);
}

#[tokio::test]
async fn a_node_that_is_silent_about_many_blocks_is_asked_for_fewer() {
    let (devnet, node, chain, filter) = long().await;
    let height = devnet.block_number();
    let read = || chain.logs(filter.clone(), 0..=height).deadline(Duration::from_secs(1));
    node.be_silent_beyond(height / 3);
    let all = read().all().await.unwrap();
    assert_eq!(amounts(&all), [0, 1, 2, 3]);
    let asked = node.asked();
    assert_eq!(asked[0], (0, height));
    assert_eq!(asked[1].0, 0);
    assert!(asked[1].1 > height / 3 && asked[2].1 <= height / 3, "{asked:?}");

    // One that is silent about all of them is asked for ever less, and not for ever.
    node.be_silent_beyond(0);
    let read = || chain.logs(filter.clone(), 0..=height).deadline(Duration::from_millis(10));
    let error = read().next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let widths: Vec<_> = node.asked().iter().map(|(first, last)| last - first).collect();
    assert!(widths.len() == 3 && widths.is_sorted_by(|a, b| a > b), "{widths:?}");
}

#[tokio::test]
async fn a_node_that_was_silent_for_a_while_is_asked_for_as_much_as_before() {
    let (devnet, node, chain, filter) = long().await;
    let height = devnet.block_number();
    node.be_silent_beyond(0);
    for _ in 0..5 {
        let read = chain.logs(filter.clone(), 0..=height).deadline(Duration::from_millis(10));
        read.all().await.unwrap_err();
    }
    // Or about the last few blocks: that may be for any reason, and others ask for more.
    node.be_silent_beyond(4);
    let last = chain.logs(filter.clone(), height - 7..=height).deadline(Duration::from_secs(1));
    last.all().await.unwrap();
    node.be_silent_beyond(u64::MAX);
    node.asked();
    let all = chain.logs(filter, 0..=height).all().await.unwrap();
    assert_eq!(amounts(&all), [0, 1, 2, 3]);
    assert_eq!(node.asked(), [(0, height)]);
}

#[tokio::test]
async fn a_node_that_is_silent_about_a_quarter_too_is_asked_for_fewer_blocks_by_the_next_reader() {
    let (devnet, node, _, filter) = long().await;
    devnet.mine(8_000);
    let height = devnet.block_number();
    for most in [10_000, u64::MAX] {
        let chain = node.connect(&devnet).await;
        let read = || chain.logs(filter.clone(), 0..=height).window(most);
        node.be_silent_beyond(2_000);
        read().deadline(Duration::from_millis(10)).all().await.unwrap_err();
        assert_eq!(node.asked().len(), 3);
        assert_eq!(amounts(&read().all().await.unwrap()), [0, 1, 2, 3]);
        let asked = node.asked();
        assert!(asked.iter().all(|(first, last)| last - first < 2_000), "{asked:?}");
        assert!(asked.len() < 12, "{asked:?}");

        // One that was only down is soon asked for many again.
        node.be_silent_beyond(0);
        for _ in 0..6 {
            read().deadline(Duration::from_millis(10)).all().await.unwrap_err();
        }
        node.be_silent_beyond(u64::MAX);
        node.asked();
        assert_eq!(amounts(&read().all().await.unwrap()), [0, 1, 2, 3]);
        let asked = node.asked();
        assert_eq!(asked[0], (0, 99), "not for single blocks");
        assert!(asked.len() < 36, "{}", asked.len());
    }
}

#[tokio::test]
async fn a_silence_about_many_blocks_is_remembered_where_a_window_may_have_all() {
    let (devnet, node, chain, filter) = long().await;
    devnet.mine(8_000);
    let height = devnet.block_number();
    node.be_silent_beyond(height * 2 / 3);
    let read = || {
        let all = chain.logs(filter.clone(), 0..=height).window(u64::MAX).newest_first();
        all.deadline(Duration::from_secs(1)).all()
    };
    read().await.unwrap();
    assert_eq!(node.asked()[0], (0, height));
    assert_eq!(read().await.unwrap().len(), 4);
    let asked = node.asked();
    assert!(asked.iter().all(|(first, last)| last - first <= height / 2), "{asked:?}");
}

#[tokio::test]
async fn what_one_reader_was_refused_it_asks_for_no_more_though_others_read_it_meanwhile() {
    let (devnet, node, chain, filter) = long().await;
    let height = devnet.block_number();
    node.limit(height);
    node.refuse(1, r#"{"code": -32005, "message": "query returned more than 10000 results"}"#);
    let busy = r#"{"code": -32005, "message": "project ID request rate exceeded", "data": {"rate": {"backoff_seconds": 0}}}"#;
    node.refuse(1, busy);
    let (others, light) = (chain.clone(), filter.clone());
    node.meanwhile(async move {
        for _ in 0..8 {
            others.logs(light.clone(), 0..=height).all().await.unwrap();
        }
    });
    let mut heavy = chain.logs(filter, 0..=height);
    let blocks = heavy.next().await.unwrap().unwrap().blocks;
    let asked = node.asked();
    assert_eq!(asked[0], (0, height));
    let widest = asked[2..].iter().map(|(first, last)| last - first).max().unwrap();
    assert!(widest > asked[1].1, "others read more at once: {asked:?}");
    assert_eq!((*blocks.start(), *blocks.end()), asked[1]);
}

#[tokio::test]
async fn windows_grow_fast_where_a_node_answers_more_again_and_few_are_refused_for_it() {
    let (devnet, node, chain, filter) = long().await;
    let height = devnet.block_number();
    node.limit(10);
    chain.logs(filter.clone(), 0..=height).all().await.unwrap();
    node.limit(u64::MAX);
    node.asked();
    let all = chain.logs(filter.clone(), 0..=height).all().await.unwrap();
    assert_eq!(amounts(&all), [0, 1, 2, 3]);
    let asked = node.asked().len();
    assert!(asked < 40, "{asked}");

    node.limit(100);
    for _ in 0..5 {
        chain.logs(filter.clone(), 0..=height).all().await.unwrap();
    }
    let asked = node.asked();
    let refused = asked.iter().filter(|(first, last)| last - first >= 100).count();
    assert!(refused * 15 < asked.len(), "{refused} of {}", asked.len());
}

#[tokio::test]
async fn there_are_no_logs_of_no_blocks() {
    let (_, node, chain, filter) = long().await;
    #[expect(clippy::reversed_empty_ranges, reason = "that is the question")]
    let none = chain.logs(filter.clone(), 5..=4).all().await.unwrap();
    assert!(none.is_empty() && node.asked().is_empty());
    let end = chain.logs(filter, u64::MAX..=u64::MAX).newest_first().all().await;
    assert!(end.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_anvil_are_read_whole_through_a_gate_that_limits_ranges() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    let devnet = Devnet::start();
    let node = Moody::new(anvil.transport());
    let chain = node.connect(&devnet).await;
    let contracts = history(&chain, async |blocks| anvil.mine(blocks).await).await;
    node.limit(500);
    let height = chain.provider().get_block_number().await.unwrap();
    assert!(height > 2_800);
    for width in [1_000, u64::MAX] {
        let logs = chain.logs(approvals(&contracts), 0..=height).window(width);
        assert_eq!(amounts(&logs.all().await.unwrap()), [0, 1, 2, 3]);
    }
}
