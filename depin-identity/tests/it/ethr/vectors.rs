//! The reference resolver's known answers: documents of live chains, attributes, rules of the log.

use std::sync::Arc;

use depin_core::{
    Address, B256, Bytes, ChainId, Did, DidUrl, ErrorKind, ManualClock, PublicKey, Signer,
    SoftwareKey, Timestamp, U256,
    document::{DidDocument, Material, Relationships},
    resolution::{DidResolver, Resolution, Version},
};
use depin_identity::methods::ethr::{
    Change, EthrResolver, Identifier, Moment, Network, bytes32, document,
};
use depin_testkit::{conformance::Suite, vectors::find};
use serde_json::{Value, json};

use super::{
    documents::{DID, attribute, history},
    scripted::Scripted,
};

/// Every case of the file, counted.
#[tokio::test]
async fn the_answers_of_the_reference_resolver_hold() {
    let path = "identity/did-ethr/did-ethr.json";
    let Some(path) = find(env!("CARGO_MANIFEST_DIR"), path) else { return };
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |part: &Value| part.as_array().unwrap().clone();
    let mut suite = Suite::new("did:ethr, ERC-1056 reference resolver");
    for case in list(&file["live_documents"]["cases"]) {
        suite.case(case["did_url"].to_string(), is_live_document(&case).await);
    }
    for case in list(&file["public_key_identifiers"]) {
        suite.case(case["did"].to_string(), is_key_identifier(&case));
    }
    for case in list(&file["attribute_events"]) {
        suite.case(format!("{} {}", case["name"], case["value"]), is_attribute(&case));
    }
    for (name, topic) in file["event_topics"].as_object().unwrap() {
        suite.case(name, is_topic(name, topic));
    }
    suite.case("deactivation", is_deactivation(&file["deactivation"]));
    for (number, case) in list(&file["log_parser_rules"]["cases"]).iter().enumerate() {
        suite.case(case["rule"].to_string(), follows_rule(number, case).await);
    }
    for case in list(&file["registry_test_keys"]) {
        suite.case(case["address"].to_string(), is_key_of_address(&case));
    }
    suite.finish();
}

/// Seconds of a moment as the file writes it.
fn seconds(text: &Value) -> u64 {
    let text = text.as_str().unwrap();
    // Those that occur: the file has no library's help either.
    let known = [
        ("2019-01-11T20:27:32Z", 1_547_238_452),
        ("2019-05-23T03:44:12Z", 1_558_583_052),
        ("2021-03-22T18:14:29Z", 1_616_436_869),
        ("2022-01-19T12:20:00Z", 1_642_594_800),
    ];
    known.iter().find(|(name, _)| *name == text).unwrap_or_else(|| panic!("{text}")).1
}

fn hex_bytes(text: &Value) -> Bytes {
    text.as_str().unwrap().parse().unwrap()
}

/// The members of a document that the file has, from our structures.
fn as_json(document: &DidDocument) -> Value {
    let methods = document.verification_method.iter().map(|method| {
        let mut entry = json!({
            "id": method.id.to_string(), "type": method.kind, "controller": method.controller.as_str(),
        });
        match &method.material {
            Material::Account { chain, address } => {
                entry["blockchainAccountId"] = format!("eip155:{chain}:{address}").into();
            }
            Material::Key(key) if method.kind == "EcdsaSecp256k1VerificationKey2019" => {
                entry["publicKeyJwk"] = jwk(key);
            }
            Material::Key(key) => entry["publicKeyMultibase"] = key.to_multikey().into(),
            Material::Foreign { member, value } => entry[member] = value.clone().into(),
            _ => panic!("a material that this test does not know"),
        }
        entry
    });
    let may = |purpose| {
        let methods = document.verification_method.iter();
        let ids = methods.filter(|method| method.relationships.contains(purpose));
        ids.map(|method| method.id.to_string()).collect::<Vec<_>>()
    };
    json!({
        "id": document.id.as_str(),
        "verificationMethod": methods.collect::<Vec<_>>(),
        "authentication": may(Relationships::AUTHENTICATION),
        "assertionMethod": may(Relationships::ASSERTION),
    })
}

fn jwk(key: &PublicKey) -> Value {
    let point = key.to_uncompressed().unwrap();
    let word = |bytes: &[u8]| base64_url(bytes);
    json!({"kty": "EC", "crv": "secp256k1", "x": word(&point[..32]), "y": word(&point[32..])})
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let digit = |bits: &[bool]| {
        let number = (0..6).fold(0, |sum, at| sum << 1 | usize::from(bits.get(at) == Some(&true)));
        char::from(DIGITS[number])
    };
    bits.chunks(6).map(digit).collect()
}

/// A chain on which the owner of the case changed as its metadata says.
fn chain_of(case: &Value) -> Scripted {
    let chain = Scripted::new(0);
    let metadata = &case["metadata"];
    let account =
        case["document"]["verificationMethod"][0]["blockchainAccountId"].as_str().unwrap();
    let owner = account.rsplit_once(':').unwrap().1.parse().ok();
    let blocks = [
        (&metadata["versionId"], &metadata["updated"]),
        (&metadata["nextVersionId"], &metadata["nextUpdate"]),
    ];
    for (number, time) in blocks.into_iter().filter(|(number, _)| number.is_string()) {
        let number = number.as_str().unwrap().parse().unwrap();
        let owner = owner.unwrap_or(Address::repeat_byte(1));
        chain.write(number, vec![Change::Owner(owner)]);
        chain.at_time(number, seconds(time));
    }
    // The block before a change, which one case asks for, is a little earlier.
    for (number, time) in [(7_813_665, 1_558_583_040), (12_090_174, 1_616_436_860)] {
        chain.at_time(number, time);
    }
    chain.grow_to(100_000_000);
    chain.at_time(100_000_000, 2_000_000_000);
    chain
}

async fn resolve(case: &Value) -> Resolution {
    let url: DidUrl = case["did_url"].as_str().unwrap().parse().unwrap();
    let version = url.query().map_or(Version::Latest, |query| {
        Version::Id(query.strip_prefix("versionId=").unwrap().into())
    });
    let network = Identifier::of(url.did()).unwrap().network().to_owned();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_900_000_000)));
    let resolver = EthrResolver::new(clock)
        .with_network(Network::known(&network).unwrap(), Arc::new(chain_of(case)));
    resolver.resolve_version(url.did(), &version).await.unwrap()
}

/// The file leaves one checksum for the reader to compute.
fn filled(case: &Value) -> Value {
    let mut expected = case["document"].clone();
    let account = &mut expected["verificationMethod"][0]["blockchainAccountId"];
    if account.as_str().unwrap().contains('<') {
        let did: Did = expected["id"].as_str().unwrap().parse().unwrap();
        let address = Identifier::of(&did).unwrap().address();
        let account = &mut expected["verificationMethod"][0]["blockchainAccountId"];
        *account = format!("eip155:11155111:{address}").into();
    }
    expected
}

async fn is_live_document(case: &Value) -> bool {
    let Resolution { document, metadata, .. } = resolve(case).await;
    let expected = &case["metadata"];
    let text = |name: &str| expected[name].as_str().map(str::to_owned);
    let time = |name: &str| {
        expected[name].is_string().then(|| Timestamp::from_secs(seconds(&expected[name])))
    };
    as_json(&document) == filled(case)
        && metadata.version_id == text("versionId")
        && metadata.next_version_id == text("nextVersionId")
        && metadata.updated == time("updated")
        && metadata.next_update == time("nextUpdate")
}

fn is_key_identifier(case: &Value) -> bool {
    let did: Did = case["did"].as_str().unwrap().parse().unwrap();
    let identifier = Identifier::of(&did).unwrap();
    let network = Network::known(identifier.network()).unwrap();
    identifier.address().to_string() == case["address"].as_str().unwrap()
        && hex::encode(identifier.key().unwrap().to_bytes()) == case["public_key_hex"]
        && network.chain == ChainId::new(case["chain_id"].as_u64().unwrap())
}

fn after(change: Change) -> DidDocument {
    let head = Moment::Head(Timestamp::from_secs(100));
    document(&DID.parse().unwrap(), ChainId::new(1), &history(vec![change]), head).unwrap().0
}

fn relationships(names: &Value) -> Relationships {
    let one = |name: &Value| match name.as_str().unwrap() {
        "authentication" => Relationships::AUTHENTICATION,
        "assertionMethod" => Relationships::ASSERTION,
        "keyAgreement" => Relationships::KEY_AGREEMENT,
        other => panic!("{other}"),
    };
    names.as_array().unwrap().iter().map(one).fold(Relationships::NONE, |all, next| all | next)
}

fn is_attribute(case: &Value) -> bool {
    const POINT: &str = "0x02b97c30de767f084ce3080168ee293053ba33b235d7116a3263d29f1450936b71";
    let name = B256::from_slice(&hex_bytes(&case["name_bytes32"]));
    // One case says in words that its value is a point.
    let in_words = case["value"].as_str().unwrap().starts_with('<');
    let value = if in_words { POINT.parse().unwrap() } else { hex_bytes(&case["value"]) };
    let valid_to = 10 + case["validity"].as_u64().unwrap();
    let document = after(Change::Attribute { name, value, valid_to });
    let expected = &case["expect"];
    let right = if expected["service_type"].is_string() { is_service } else { is_method };
    bytes32(case["name"].as_str().unwrap()) == Ok(name) && right(&document, expected)
}

fn is_service(document: &DidDocument, expected: &Value) -> bool {
    let service = &document.service[0];
    let found = serde_json::from_str(&service.endpoint).unwrap_or_else(|_| json!(service.endpoint));
    expected["fragment"] == format!("#{}", service.id.fragment().unwrap())
        && expected["service_type"] == service.kind
        && expected["serviceEndpoint"] == found
}

fn is_method(document: &DidDocument, expected: &Value) -> bool {
    let method = &document.verification_method[1];
    let written = &as_json(document)["verificationMethod"][1];
    let text = |name: &str| expected[name].as_str();
    let members = ["publicKeyMultibase", "publicKeyHex"];
    let prefix = || {
        let text = written["publicKeyMultibase"].as_str()?.strip_prefix('z')?;
        Some(format!("0x{}", hex::encode(&bs58::decode(text).into_vec().ok()?[..2])))
    };
    expected["fragment"] == format!("#{}", method.id.fragment().unwrap())
        && expected["type"] == method.kind
        && method.relationships == relationships(&expected["relationships"])
        && members.iter().all(|name| text(name).is_none_or(|value| written[name] == value))
        && text("field").is_none_or(|_| written["publicKeyJwk"]["crv"] == "secp256k1")
        && text("multicodec_prefix").is_none_or(|value| prefix().as_deref() == Some(value))
}

fn is_topic(name: &str, topic: &Value) -> bool {
    let arguments = match name {
        "DIDOwnerChanged" => "(address,address,uint256)",
        "DIDDelegateChanged" => "(address,bytes32,address,uint256,uint256)",
        _ => "(address,bytes32,bytes,uint256,uint256)",
    };
    *topic == depin_core::keccak256(format!("{name}{arguments}")).to_string()
}

fn is_deactivation(case: &Value) -> bool {
    let head = Moment::Head(Timestamp::from_secs(100));
    let history = history(vec![Change::Owner(Address::ZERO)]);
    let (document, metadata) =
        document(&DID.parse().unwrap(), ChainId::new(1), &history, head).unwrap();
    let (written, expected) = (as_json(&document), &case["expect"]);
    let members = ["verificationMethod", "authentication", "assertionMethod"];
    expected["metadata_deactivated"] == metadata.deactivated
        && members.iter().all(|member| written[member] == expected[member])
}

fn is_key_of_address(case: &Value) -> bool {
    let secret = hex::decode(case["private_key_hex"].as_str().unwrap()).unwrap();
    let secret = secret.try_into().unwrap();
    let key = SoftwareKey::from_bytes(depin_core::Algorithm::Es256k, &secret).unwrap();
    case["address"] == key.public_key().to_address().unwrap().to_string()
}

async fn latest(chain: Scripted, did: &str) -> depin_core::Result<Resolution> {
    let did = did.parse().unwrap();
    let network = Network::known(Identifier::of(&did)?.network()).unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_900_000_000)));
    let resolver = EthrResolver::new(clock).with_network(network, Arc::new(chain));
    resolver.resolve_version(&did, &Version::Latest).await
}

fn hub(value: &[u8]) -> Change {
    attribute("did/svc/Hub", value, u64::MAX)
}

/// The rules that the file states in words, in its order.
async fn follows_rule(number: usize, rule: &Value) -> bool {
    let chain = Scripted::new(0);
    chain.write(20, vec![hub(b"1")]);
    match number {
        // A name that is no UTF-8 is dropped, and the walk goes on past it.
        0 => {
            let name = B256::from_slice(&hex_bytes(&rule["name_bytes32"]));
            let (value, valid_to) = (Bytes::new(), u64::MAX);
            chain.write(50, vec![Change::Attribute { name, value, valid_to }]);
            let found = latest(chain, DID).await.unwrap();
            found.document.service.len() == 1 && found.metadata.version_id.as_deref() == Some("20")
        }
        // The largest number there is ends nothing and leads nowhere.
        1 => {
            let valid = latest(chain, DID).await.unwrap().document.service.len() == 1;
            let chain = Scripted::new(0);
            chain.write(20, vec![hub(b"1")]);
            chain.tamper(|blocks| blocks.get_mut(&20).unwrap().previous = u64::MAX);
            rule["value"].as_str().unwrap().parse() == Ok(U256::MAX)
                && valid
                && latest(chain, DID).await.unwrap_err().kind() == ErrorKind::NotFound
        }
        // Several events of a block, in the order of the log, lead to the block before.
        2 => {
            chain.write(30, vec![hub(b"2"), hub(b"3")]);
            let services = latest(chain, DID).await.unwrap().document.service;
            services.iter().map(|service| service.endpoint.as_str()).eq(["1", "2", "3"])
        }
        // A hole.
        3 => {
            chain.write(30, vec![hub(b"2")]);
            chain.tamper(|blocks| blocks.get_mut(&20).unwrap().changes.clear());
            let error = latest(chain, DID).await.unwrap_err();
            error.kind() == ErrorKind::NotFound && error.to_string().contains("archive node")
        }
        // A key that is none.
        4 => {
            chain.write(30, vec![attribute("did/pub/Secp256k1/veriKey", &[7; 96], u64::MAX)]);
            let found = latest(chain, rule["did"].as_str().unwrap()).await.unwrap();
            found.document.verification_method.len() == 1
        }
        _ => false,
    }
}
