//! Somebody on the way to a NATS server, who speaks before TLS begins.

use depin_core::{Algorithm, ErrorKind};
use depin_data::nats::{NatsOptions, NatsTransport};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{
    super::{net, wire::nats_server},
    AUTHORITY, nats_over_tls,
};
use crate::{broker::Broker, support::Device};

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Passes one connection on to the broker, telling the client of a server that the broker does not know.
async fn redirect(client: &mut TcpStream, broker: u16, to: u16) -> BufReader<TcpStream> {
    let mut server = BufReader::new(TcpStream::connect(("127.0.0.1", broker)).await.unwrap());
    let mut told = String::new();
    server.read_line(&mut told).await.unwrap();
    let rest = told.strip_prefix("INFO {").unwrap();
    let told = format!("INFO {{\"connect_urls\":[\"127.0.0.1:{to}\"],{rest}");
    client.write_all(told.as_bytes()).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_named_on_the_way_is_never_dialled() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::nats(nats_over_tls) else { return };
    let ((middle, port), (evil, evil_port)) = (listener().await, listener().await);
    let (net, device) = (net(), Device::new("a", Algorithm::EdDsa));
    let options = NatsOptions::new(format!("tls://127.0.0.1:{port}"))
        .root_certificates(authority.certificate())
        .token("secret");
    let rng = &mut rand::thread_rng();
    let connecting = NatsTransport::connect(&options, &device.did, net.receipts.clone(), rng);
    let relay = async {
        let (mut client, _) = middle.accept().await.unwrap();
        let mut server = redirect(&mut client, broker.port, evil_port).await;
        // Until the test has its transport, and cuts.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    };
    let _transport = tokio::select! {
        transport = connecting => transport.unwrap(),
        () = relay => panic!("the broker lets nobody in"),
    };
    // The connection is cut now. Each further one is cut as well, after which a client would turn to another server.
    for _ in 0..6 {
        tokio::select! {
            biased;
            _ = evil.accept() => panic!("the device turns to whoever was named on the way"),
            cut = middle.accept() => drop(cut.unwrap()),
        }
    }
}

#[tokio::test]
async fn who_insists_on_tls_at_one_server_speaks_to_none_in_the_clear() {
    let Some(bare) = Broker::nats(nats_server) else { return };
    let (net, device) = (net(), Device::new("a", Algorithm::EdDsa));
    let (closed, port) = listener().await;
    drop(closed);
    for other in [bare.url(), format!("127.0.0.1:{}", bare.port)] {
        let options = NatsOptions::new(format!("tls://127.0.0.1:{port}")).or(other);
        let rng = &mut rand::thread_rng();
        let connected =
            NatsTransport::connect(&options, &device.did, net.receipts.clone(), rng).await;
        let kind = connected.unwrap_err().kind();
        // Which of the two failed last is by chance.
        assert!(matches!(kind, ErrorKind::Config | ErrorKind::Unavailable), "{kind:?}");
    }
}
