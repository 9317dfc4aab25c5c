//! What operators list, explain and replay.

use super::*;

#[tokio::test]
async fn operators_list_explain_and_replay_what_was_refused() {
    let (net, _server) = start().await;
    let server = serve_operator(net.ingest.clone(), ANY.into()).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |method: reqwest::Method, path: &str| {
        let url = format!("{}{path}", server.url());
        let response = client.request(method, url).send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap())
    };
    let get = async |path: &str| {
        let (code, body) = ask(reqwest::Method::GET, path).await;
        assert_eq!(code, 200, "{path}: {body:?}");
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let mut device = Device::new("late", Algorithm::EdDsa);
    let batch = device.measure();
    net.refused(batch.as_bytes()).await;
    net.registry.add(&device);
    let fork = device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);

    let listed =
        get("/v1/dead-letters?code=not-registered&device=did:example:late&open=true").await;
    assert_eq!(listed["letters"][0]["batch"], batch.hash().to_string());
    assert_eq!(listed["letters"][0]["resolved"], serde_json::Value::Null);
    let told = get("/v1/dead-letters/0").await;
    assert_eq!(
        (told["claim"]["sequence"].as_u64(), told["standing"].as_str()),
        (Some(0), Some("active"))
    );
    let (_, bytes) = ask(reqwest::Method::GET, "/v1/dead-letters/0/bytes").await;
    assert_eq!(bytes, batch.as_bytes());

    let replay = format!("{}/v1/dead-letters/0/replay", server.url());
    let page = client.post(&replay).header("origin", "http://evil.example").send().await.unwrap();
    assert_eq!(page.status().as_u16(), 403);
    for _ in 0..2 {
        let (code, body) = ask(reqwest::Method::POST, "/v1/replays?code=not-registered").await;
        assert_eq!(code, 200, "{body:?}");
        let (code, body) = ask(reqwest::Method::POST, "/v1/dead-letters/0/replay").await;
        assert_eq!(code, 200, "{body:?}");
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["index"], 0);
    }
    assert_eq!(net.ingest.log().head().await.unwrap().size, 1);
    assert_eq!(get("/v1/dead-letters?open=true").await["letters"].as_array().unwrap().len(), 0);

    net.refused(fork.as_bytes()).await;
    let forks = get("/v1/forks").await;
    let (code, evidence) = ask(reqwest::Method::GET, "/v1/forks/1").await;
    assert_eq!(code, 200);
    let evidence = depin_data::evidence::Fork::parse(&evidence).unwrap();
    assert_eq!(forks["forks"][0]["evidence"], evidence.id().to_string());
    assert_eq!(get("/v1/lags").await[0]["device"], "did:example:late");
    for (path, expected) in
        [("/v1/dead-letters/9", 404), ("/v1/dead-letters?code=x", 400), ("/v1/forks/0", 404)]
    {
        assert_eq!(ask(reqwest::Method::GET, path).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn what_operators_misspell_is_a_problem_document() {
    let (net, _server) = start().await;
    let server = serve_operator(net.ingest.clone(), ANY.into()).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in [
        "dead-letters/x",
        "dead-letters/-1",
        "forks/18446744073709551616",
        "dead-letters/x/bytes",
        "lags?limit=x",
    ] {
        let url = format!("{}/v1/{path}", server.url());
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        let body: serde_json::Value =
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["status"], 400, "{path}");
    }
}
