//! The test vectors of W3C vc-di-eddsa and vc-di-ecdsa.

use depin_testkit::conformance::Suite;
use sha2::{Digest, Sha256};

use super::*;
use crate::vectors::read;

/// One folder of the W3C, whose file names end in `suffix`.
struct Folder {
    files: serde_json::Value,
    name: &'static str,
    suffix: &'static str,
}

impl Folder {
    fn text(&self, file: &str) -> &str {
        self.files[format!("{}/{file}{}.txt", self.name, self.suffix)].as_str().unwrap()
    }

    fn object(&self, file: &str) -> Object {
        parsed(&self.files[format!("{}/{file}{}.json", self.name, self.suffix)].to_string())
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// The private key of a multikey with a two-byte multicodec.
fn private(algorithm: Algorithm, multikey: &serde_json::Value) -> SoftwareKey {
    let digits = multikey.as_str().unwrap().strip_prefix('z').unwrap();
    let bytes = bs58::decode(digits).into_vec().unwrap();
    SoftwareKey::from_bytes(algorithm, bytes[2..].try_into().unwrap()).unwrap()
}

fn run(suite: &'static str, folder: &Folder, key: &SoftwareKey, deterministic: bool) {
    let mut suite = Suite::new(suite);
    let unsigned = parsed(&folder.files["unsigned.json"].to_string());
    let (config, signed) = (folder.object("proofConfig"), folder.object("signed"));
    suite.case("canonical document", unsigned.canonical() == folder.text("canonDoc"));
    suite.case("canonical proof", config.canonical() == folder.text("proofCanon"));
    suite.case("document hash", sha256(&unsigned.canonical()) == folder.text("docHash"));
    suite.case("proof hash", sha256(&config.canonical()) == folder.text("proofHash"));
    let joined = folder.text("proofHash").to_owned() + folder.text("docHash");
    suite.case("combined hash", joined == folder.text("combinedHash"));
    let verified = verify(&signed, &expected());
    suite.case("signed document", verified.is_ok_and(|verified| verified.document == unsigned));

    let mut options = Options::new(
        DidUrl::parse(config.text("verificationMethod").unwrap()).unwrap(),
        Purpose::Assertion,
    );
    options.created = Some(Timestamp::parse(config.text("created").unwrap()).unwrap());
    let ours = data_integrity::secure(&unsigned, &options, key).unwrap();
    let value = |object: &Object| proofs(object)[0].text("proofValue").map(str::to_owned);
    if deterministic {
        suite.case("signature", value(&ours).as_deref() == Some(folder.text("sigBTC58")));
        suite.case("our signed document", ours == signed);
    } else {
        let mut theirs = with_proof(&signed, |proof| drop(proof.remove("proofValue")));
        assert_eq!(with_proof(&ours, |proof| drop(proof.remove("proofValue"))), theirs);
        theirs.insert("proof", proofs(&ours).remove(0));
        suite.case("our signed document", verify(&theirs, &expected()).is_ok());
    }
    suite.finish();
}

#[test]
fn eddsa_jcs_2022_gives_the_published_answers() {
    let Some(files) = read("identity/vc-di-eddsa/eddsa-jcs-2022.json") else { return };
    let key = private(Algorithm::EdDsa, &files["keyPair.json"]["privateKeyMultibase"]);
    let folder = Folder { files, name: "eddsa-jcs-2022", suffix: "JCS" };
    run("Data Integrity, eddsa-jcs-2022", &folder, &key, true);
}

#[test]
fn ecdsa_jcs_2019_gives_the_published_answers() {
    let Some(files) = read("identity/vc-di-ecdsa/ecdsa-jcs-2019-p256.json") else { return };
    let key = private(Algorithm::Es256, &files["p256KeyPair.json"]["secretKeyMultibase"]);
    let folder = Folder { files, name: "ecdsa-jcs-2019-p256", suffix: "JCSECDSAP256" };
    run("Data Integrity, ecdsa-jcs-2019 (P-256)", &folder, &key, false);
}

/// What we do not do is refused by name, never taken for something else.
#[test]
fn published_documents_of_other_suites_are_refused_by_name() {
    const RDF: &str = "RDF canonicalization needs JSON-LD";
    for (name, file, why) in [
        ("Data Integrity, published sets and chains", "eddsa/proof-set-chain", RDF),
        ("Data Integrity, eddsa-rdfc-2022", "eddsa/eddsa-rdfc-2022", RDF),
        ("Data Integrity, ecdsa-rdfc-2019", "ecdsa/ecdsa-rdfc-2019-p256", RDF),
        ("Data Integrity, ecdsa-sd-2023", "ecdsa/ecdsa-sd-2023-employ", RDF),
        (
            "Data Integrity, ecdsa-jcs-2019 (P-384)",
            "ecdsa/ecdsa-jcs-2019-p384",
            "P-384 is no key of the SDK",
        ),
    ] {
        let Some(files) = read(&format!("identity/vc-di-{file}.json")) else { return };
        let has_proof =
            |value: &&serde_json::Value| value["proof"].is_object() || value["proof"].is_array();
        let documents: Vec<_> = files.as_object().unwrap().values().filter(has_proof).collect();
        assert!(!documents.is_empty(), "{file}");
        for document in &documents {
            let refused = match verify(&parsed(&document.to_string()), &expected()).unwrap_err() {
                ProofError::Unsupported { member, .. } => member == "cryptosuite" && why == RDF,
                ProofError::Member(member) => member == "proofValue" && why != RDF,
                _ => false,
            };
            assert!(refused, "{file}");
        }
        let mut suite = Suite::new(name);
        suite.not_applicable(documents.len(), why);
        suite.finish();
    }
}
