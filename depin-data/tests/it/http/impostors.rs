//! Whoever answers in place of ingest, or of its log, is found out.

use super::*;

/// A server that gives the same answer to anything.
fn impostor(answer: Vec<u8>) -> String {
    liar(move |_| answer.clone())
}

/// A server that answers one request after another with what `lie` makes of the head of each.
fn liar(lie: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let _ = stream.write_all(&lie(&String::from_utf8_lossy(&request[..length])));
        }
    });
    url
}

#[tokio::test]
async fn a_refusal_that_the_log_has_not_signed_for_this_request_is_no_answer() {
    let (net, server) = start().await;
    let batch = Device::new("stranger", Algorithm::Es256).measure();
    // A refusal of the log itself, for a request with another nonce: whoever heard it keeps it for later.
    let kept = raw(&server, &post(batch.as_bytes(), COSE)).await.into_bytes();
    fails_without_ingest(&transport(&net, &liar(move |_| kept.clone())), &batch).await;
    for (seed, believed) in [(77, true), (78, false)] {
        let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [seed; 32]));
        let signer = HeadSigner::new(&network(), key, "did:example:log".parse().unwrap());
        let hash = batch.hash();
        let lie = move |head: &str| {
            let nonce = nonce_in(head);
            let (code, detail) = (RefusalCode::Superseded, "give it up".into());
            let refusal = Refusal { code, detail, batch: hash, device: None };
            let signed = encode_answer(&Answer::Refusal(refusal), &nonce, &signer).unwrap();
            let body = format!(
                r#"{{"code":"superseded","batch":"{hash}","signed":"{}"}}"#,
                Bytes::from(signed)
            );
            let head = "HTTP/1.1 409 Conflict\r\nconnection: close\r\ncontent-type: application/problem+json\r\n";
            format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        let transport = transport(&net, &liar(lie));
        if believed {
            let Answer::Refusal(refusal) = transport.send(&batch).await.unwrap() else { panic!() };
            assert_eq!(refusal.code, RefusalCode::Superseded);
        } else {
            fails_without_ingest(&transport, &batch).await;
        }
    }
    for nonce in ["", "12", "zz", &"0".repeat(34)] {
        let headers = format!("{COSE}depin-nonce: {nonce}\r\n");
        assert_eq!(status(&raw(&server, &post(batch.as_bytes(), &headers)).await), "400");
    }
}

/// The nonce in the head of a request.
fn nonce_in(head: &str) -> Nonce {
    let nonce = head.split("depin-nonce: 0x").nth(1).unwrap()[..32].parse::<Bytes>();
    Nonce::from_bytes(nonce.unwrap()[..].try_into().unwrap())
}

#[tokio::test]
async fn a_standing_that_the_log_has_not_signed_for_this_question_is_no_answer() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    let (did, key) = (device.did.clone(), device.key.clone());
    // What the log has said before the device sent anything, kept by whoever is on the way.
    let old = wire::question(&*key, &did, &network(), &Nonce::default()).unwrap();
    let kept = raw(&server, &post_to("/v1/standing", old.as_bytes(), COSE)).await;
    assert_eq!(status(&kept), "200", "{kept}");
    let standing = net.ingest.standing(&old).await.unwrap();
    assert_eq!(standing, Standing::Tip(None));
    net.taken(&device.measure()).await;
    let log = net.ingest.signer().clone();
    let key_of = |seed| Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [seed; 32]));
    let log_did = || "did:example:log".parse().unwrap();
    let thief = HeadSigner::new(&network(), key_of(66), log_did());
    let elsewhere = HeadSigner::new(&NetworkId::parse("drive").unwrap(), key_of(77), log_did());
    // What is on the way sees the nonce and signs as best it can.
    type Lie = Box<dyn Fn(&str) -> Vec<u8> + Send>;
    let signed = |log: HeadSigner, about: B256, nonce: Option<Nonce>| -> Lie {
        let standing = standing.clone();
        Box::new(move |head| {
            let nonce = nonce.unwrap_or_else(|| nonce_in(head));
            ok("application/cose", &encode_standing(&standing, about, &nonce, &log).unwrap())
        })
    };
    let receipt = receipt::encode(&net.ingest.receipt_of(&did, Sequence::new(0)).await.unwrap());
    let receipt = receipt.unwrap();
    let lies: Vec<Lie> = vec![
        Box::new(move |_| kept.clone().into_bytes()),
        signed(log.clone(), old.hash(), Some(Nonce::default())),
        signed(log, old.hash(), None),
        signed(thief, old.hash(), None),
        signed(elsewhere, old.hash(), None),
        Box::new(move |_| ok("application/cbor", &receipt)),
        Box::new(|_| ok("application/cose", b"noise")),
    ];
    for lie in lies {
        let transport = transport(&net, &liar(lie));
        tells_nothing_without_ingest(&transport, &did, &*key).await;
    }
    let honest = transport(&net, &server.url());
    let told = honest.standing(&did, &*key).await.unwrap();
    assert_eq!(told, Standing::Tip(net.ingest.log().tip(&did).await.unwrap()));
}

#[tokio::test]
async fn an_auditor_follows_the_log_and_finds_out_when_it_takes_something_back() {
    let (net, server) = start().await;
    let line = transport(&net, &server.url());
    let mut device = net.enrol("a");
    let empty = line.head().await.unwrap();
    assert_eq!((empty.tree.size, &line.follow(&empty).await.unwrap()), (0, &empty));
    let first = device.measure();
    let Answer::Receipt(receipt) = line.send(&first).await.unwrap() else { panic!() };
    // What a device keeps is what the receipt of its last batch shows.
    let kept = net.receipts.verify(&receipt, &first).unwrap();
    for _ in 0..9 {
        net.clock.advance(Duration::from_secs(1));
        net.taken(&device.measure()).await;
    }
    let followed = line.follow(&kept).await.unwrap();
    assert_eq!((followed.tree.size, line.follow(&empty).await.unwrap()), (10, followed.clone()));

    // Another history under the same key. While it is shorter it may be a view that lags.
    for more in [9, 10, 12] {
        let other = Net::over(Arc::new(MemoryLog::new()));
        other.clock.advance(Duration::from_secs(100));
        let server = serve(other.ingest.clone(), ANY.into()).await.unwrap();
        let mut device = other.enrol("b");
        for _ in 0..more {
            other.taken(&device.measure()).await;
        }
        let error = transport(&other, &server.url()).follow(&followed).await.unwrap_err();
        let kind = if more < 10 { ErrorKind::Unavailable } else { ErrorKind::Rejected };
        assert_eq!(error.kind(), kind, "{error:?}");
    }
    // An old head is no evidence, only no news.
    let old = net.ingest.log().root(4).await.unwrap();
    let old = TreeHead { size: 4, root: old };
    let old = net.ingest.signer().sign(&old, NOW.plus(Duration::from_secs(3))).unwrap();
    let answer = move |_: &str| {
        let length = old.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/cose\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), &old].concat()
    };
    let error = transport(&net, &liar(answer)).follow(&followed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn an_answer_of_someone_else_is_no_answer() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = Device::new("a", Algorithm::EdDsa);
    let (batch, other) = (device.measure(), device.measure());
    let answer = |status: &str, kind: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    // A receipt of a log with another key, for these very bytes.
    let elsewhere = Net::over(Arc::new(MemoryLog::new()));
    elsewhere.registry.add(&device);
    let foreign = SoftwareKey::from_seed(Algorithm::EdDsa, [78; 32]);
    let mut receipt = elsewhere.taken(&batch).await;
    let head = TreeHead { size: receipt.tree_size, root: receipt.root };
    let did = "did:example:log".parse().unwrap();
    receipt.head =
        HeadSigner::new(&network(), Arc::new(foreign), did).sign(&head, NOW).unwrap().into();
    let receipt = receipt::encode(&receipt).unwrap();
    let refusal = format!(r#"{{"code":"fork","batch":"{}"}}"#, other.hash());
    let bare = format!(r#"{{"code":"superseded","batch":"{}"}}"#, batch.hash());
    let huge = vec![b'x'; 20_000];
    for answer in [
        answer("200 OK", "text/html", b"<html>welcome to the hotel</html>"),
        answer("200 OK", "application/cbor", b"\xa0"),
        answer("200 OK", "application/cbor", &receipt),
        answer("200 OK", "application/cbor", &huge),
        answer("403 Forbidden", "text/plain", b"blocked"),
        answer("403 Forbidden", "application/problem+json", b"{}"),
        answer("403 Forbidden", "application/problem+json", b"not json"),
        answer("409 Conflict", "application/problem+json", refusal.as_bytes()),
        answer("503 Service Unavailable", "application/problem+json", b"{\"code\":\"fork\"}"),
        answer("409 Conflict", "application/problem+json", bare.as_bytes()),
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
            .to_vec(),
        b"garbage\r\n\r\n".to_vec(),
        Vec::new(),
    ] {
        let transport = transport(&net, &impostor(answer));
        fails_without_ingest(&transport, &batch).await;
    }
}

/// An answer of a server to anything.
fn ok(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_view_that_lags_is_asked_again_and_another_history_is_found_out() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    for _ in 0..10 {
        net.taken(&device.measure()).await;
    }
    let kept = transport(&net, &server.url()).head().await.unwrap();
    let later = NOW.plus(Duration::from_secs(60));
    let (log, signer) = (net.ingest.log(), net.ingest.signer());
    let (root, path) = (log.root(4).await.unwrap(), log.consistency(4, 10).await.unwrap());
    let mut proof = Vec::new();
    let mut encoder = Encoder::new(&mut proof);
    encoder.array(path.len() as u64).unwrap();
    for hash in &path {
        encoder.bytes(hash.as_slice()).unwrap();
    }
    let other = B256::repeat_byte(7);
    let (honest, none) = (ok("application/cbor", &proof), b"HTTP/1.1 404 No\r\n\r\n".to_vec());
    let rejected = ErrorKind::Rejected;
    for (size, root, at, proof, kind) in [
        // The view that answers does not know the kept tree yet, or another one does.
        (4, root, later, &none, ErrorKind::Unavailable),
        (4, root, later, &honest, ErrorKind::Unavailable),
        (0, net.ingest.log().root(0).await.unwrap(), later, &none, ErrorKind::Unavailable),
        (4, other, later, &honest, rejected),
        (10, other, later, &none, rejected),
        (10, other, NOW.minus(Duration::from_secs(9)), &none, rejected),
    ] {
        let head = ok("application/cose", &signer.sign(&TreeHead { size, root }, at).unwrap());
        let proof = proof.clone();
        let answer = move |request: &str| match request.contains("/v1/consistency?from=4&to=10 ") {
            true => proof.clone(),
            false => head.clone(),
        };
        let error = transport(&net, &liar(answer)).follow(&kept).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{size}: {error:?}");
    }
}
