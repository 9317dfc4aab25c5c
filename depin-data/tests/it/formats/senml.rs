//! RFC 8428: the working group's files, the rules one by one, and input of an attacker.

use std::{fs, path::Path};

use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
use depin_data::formats::{
    Reason,
    senml::{
        Fault, MAX_BYTES, MAX_NAME, MAX_RECORDS, Pack, Record, SenmlError, Value, read_cbor,
        read_json, write_cbor, write_json,
    },
};
use depin_testkit::{conformance::Suite, vectors};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn json(text: &str) -> Result<Pack, SenmlError> {
    read_json(text.as_bytes(), NOW)
}

fn fault(text: &str) -> Fault {
    match json(text) {
        Err(SenmlError::Record { fault, .. }) => fault,
        other => panic!("{text}: {other:?}"),
    }
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

/// Whether a record is what the working group's tool made of it, which calculates in binary floats.
fn same(record: &Record, expected: &serde_json::Value) -> bool {
    let number = |value: Decimal| value.to_string().parse::<f64>().unwrap();
    let value = match &record.value {
        Value::Number(value) => expected["v"].as_f64() == Some(number(*value)),
        Value::Text(text) => expected["vs"].as_str() == Some(text),
        Value::Boolean(value) => expected["vb"].as_bool() == Some(*value),
        _ => false,
    };
    let seconds = expected["t"].as_f64().unwrap();
    value
        && expected["n"].as_str() == Some(&record.name)
        && expected["u"].as_str().unwrap_or_default() == record.unit
        && (seconds * 1000.0).round() as u64 == record.at.millis()
}

/// Reads a file as its name says.
fn read(path: &Path, now: Timestamp) -> Vec<Record> {
    let bytes = fs::read(path).unwrap();
    let pack = match path.extension().unwrap().to_str().unwrap() {
        "cbor" => read_cbor(&bytes, now),
        "hex" => read_cbor(&hex_dump(&String::from_utf8(bytes).unwrap()), now),
        // A stream that goes on; here it ends.
        "json-trim" => read_json(&[bytes.trim_suffix(), b"]"].concat(), now),
        _ => read_json(&bytes, now),
    };
    pack.unwrap().records
}

trait TrimSuffix {
    fn trim_suffix(&self) -> &[u8];
}

impl TrimSuffix for Vec<u8> {
    fn trim_suffix(&self) -> &[u8] {
        let trimmed = self.trim_ascii_end();
        trimmed.strip_suffix(b",").unwrap_or(trimmed)
    }
}

/// The bytes between offset and picture.
fn hex_dump(text: &str) -> Vec<u8> {
    let columns = text.lines().filter_map(|line| line.split('|').next()?.get(4..));
    let bytes = columns.flat_map(str::split_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_files_of_the_working_group_resolve_as_published() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "data/senml") else { return };
    let mut suite = Suite::new("SenML (RFC 8428) examples");
    for number in 1..=13 {
        let expected = match fs::read(folder.join(format!("ex{number}.gen.resolved.json"))) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            // The last one has no file: two lamps at half and, a tenth of a second later, off.
            Err(_) => serde_json::json!([
                {"n": "2001:db8::3", "u": "/", "t": 1.320078429e9, "v": 0.5},
                {"n": "2001:db8::4", "u": "/", "t": 1.320078429e9, "v": 0.5},
                {"n": "2001:db8::3", "u": "/", "t": 1.3200784291e9, "v": 0},
                {"n": "2001:db8::4", "u": "/", "t": 1.3200784291e9, "v": 0},
            ]),
        };
        let expected = expected.as_array().unwrap();
        let now = Timestamp::from_millis((expected[0]["t"].as_f64().unwrap() * 1000.0) as u64);
        for ending in [
            "json",
            "gen.json",
            "gen.wrap.json",
            "gen.resolved.json",
            "gen.resolved.wrap.json",
            "gen.json-trim",
            "gen.cbor",
            "gen.cbor.hex",
        ] {
            let path = folder.join(format!("ex{number}.{ending}"));
            if !path.exists() {
                continue;
            }
            let mut found = read(&path, now);
            // The tool that resolved example 7 did not know data values and left that record out.
            found.retain(|record| !matches!(record.value, Value::Bytes(_)));
            let length = found.len() == expected.len() || ending.ends_with("trim");
            let right = found.iter().zip(expected).all(|(found, expected)| same(found, expected));
            suite.case(format!("ex{number}.{ending}"), length && right && !found.is_empty());
        }
    }
    suite.not_applicable(11, "XML and EXI");
    suite.not_applicable(2, "renderings of the CBOR for people");
    suite.finish();
}

#[test]
fn base_fields_hold_until_the_next_of_their_kind() {
    let text = r#"[{"bn":"a:","bt":1600000000,"bu":"Cel","bv":20,"bs":5,"n":"x","v":0.5,"s":1,"ut":60},
        {"n":"y","u":"K"},
        {"bn":"b:","bu":"Pa","bv":1e2,"n":"z","v":-1,"t":0.25},
        {"n":"w","vs":"no number"}]"#;
    let records = json(text).unwrap().records;
    let of = |i: usize| (&*records[i].name, &*records[i].unit, &records[i].value, records[i].sum);
    assert_eq!(of(0), ("a:x", "Cel", &Value::Number(decimal("20.5")), Some(decimal("6"))));
    assert_eq!(records[0].update, Some(decimal("60")));
    assert_eq!(of(1), ("a:y", "K", &Value::Number(decimal("20")), Some(decimal("5"))));
    assert_eq!(of(2), ("b:z", "Pa", &Value::Number(decimal("99")), Some(decimal("5"))));
    assert_eq!(records[2].at, Timestamp::from_millis(1_600_000_000_250));
    assert_eq!(records[3].value, Value::Text("no number".into()));
}

#[test]
fn small_times_are_relative_to_now() {
    let at = |text: &str| json(text).unwrap().records[0].at.millis();
    assert_eq!(at(r#"[{"n":"a","v":1}]"#), NOW.millis());
    assert_eq!(at(r#"[{"n":"a","v":1,"t":-1.5}]"#), NOW.millis() - 1500);
    assert_eq!(at(r#"[{"n":"a","v":1,"bt":-10,"t":3}]"#), NOW.millis() - 7000);
    assert_eq!(at(r#"[{"n":"a","v":1,"t":268435455.999}]"#), NOW.millis() + 268_435_455_999);
    assert_eq!(at(r#"[{"n":"a","v":1,"t":268435456}]"#), 268_435_456_000);
    assert_eq!(at(r#"[{"n":"a","v":1,"t":1600000000.0019}]"#), 1_600_000_000_001);
    for far in ["-1e11", "1e17", "9e24"] {
        let pack = json(&format!(r#"[{{"n":"a","v":1,"t":{far}}}]"#)).unwrap();
        assert_eq!(pack.leftovers[0].reason, Reason::Time, "{far}");
        assert!(pack.records.is_empty());
    }
}

#[test]
fn what_is_no_reading_is_told() {
    let text = r#"[{"bn":"dev:","bt":1600000000,"n":"t","u":"Cel","v":21.5,"l":{"deep":[1,{"a":"b"}]}},
        {"n":"vs","vs":"on"},{"n":"vb","vb":true},{"n":"vd","vd":"aGkgCg"},{"n":"s","s":4},
        {"n":"fine","v":0.0000000000001},{"n":"big","v":1e30},
        {"bn":"dev2:","n":"t","v":1},
        {"bn":"dev:","n":"this-name-is-longer-than-batches-take","v":1}]"#;
    let import = json(text).unwrap().into_import("dev");
    assert_eq!(import.readings.len(), 1);
    let told: Vec<_> = import.leftovers.iter().map(|l| (l.record, &*l.field, l.reason)).collect();
    assert_eq!(
        told,
        [
            (0, "l", Reason::UnknownField),
            (1, "dev:vs", Reason::Text),
            (2, "dev:vb", Reason::Boolean),
            (3, "dev:vd", Reason::Bytes),
            (4, "dev:s", Reason::Sum),
            (5, "dev:fine", Reason::Unrepresentable),
            (6, "dev:big", Reason::Unrepresentable),
            (7, "dev2:t", Reason::OtherDevice),
            (8, "dev:this-name-is-longer-than-batches-take", Reason::Quantity),
        ]
    );
    assert_eq!(import.leftovers[5].value, "0.0000000000001");
}

#[test]
fn a_longer_name_is_not_the_shorter_devices() {
    let of = |device: &str| {
        let text = r#"[{"n":"urn:dev:1","u":"Cel","v":1},{"n":"urn:dev:1:t","v":2},{"n":"urn:dev:12:t","v":3}]"#;
        let import = json(text).unwrap().into_import(device);
        import.readings.iter().map(|r| r.quantity().name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("urn:dev:1"), ["Cel", "t"]);
    assert_eq!(of("urn:dev:1:"), ["t"]);
    assert_eq!(of("urn:dev:12"), ["t"]);
    assert_eq!(of("urn:dev:1:t"), [] as [&str; 0], "a record without unit has no name left");
}

#[test]
fn rules_of_the_standard_are_kept() {
    for (text, expected) in [
        (r#"[{"n":"a","v":1,"new_":2}]"#, Fault::MustUnderstand),
        (r#"[{"bver":11,"n":"a","v":1}]"#, Fault::Version),
        (r#"[{"bver":27,"n":"a","v":1}]"#, Fault::Version),
        (r#"[{"bver":42,"n":"a","v":1}]"#, Fault::Version),
        (r#"[{"bver":0,"n":"a","v":1}]"#, Fault::Version),
        (r#"[{"bver":9.5,"n":"a","v":1}]"#, Fault::Version),
        (r#"[{"n":"a","v":1},{"bver":26,"n":"b","v":1}]"#, Fault::Version),
        (r#"[{"v":1}]"#, Fault::Name),
        (r#"[{"n":":a","v":1}]"#, Fault::Name),
        (r#"[{"n":"a b","v":1}]"#, Fault::Name),
        (r#"[{"n":"a\u0000","v":1}]"#, Fault::Name),
        (r#"[{"n":"ä","v":1}]"#, Fault::Name),
        (r#"[{"bn":"-","n":"a","v":1}]"#, Fault::Name),
        (r#"[{"n":"a","v":1,"vs":"b"}]"#, Fault::Values),
        (r#"[{"n":"a","vb":true,"vs":"b"}]"#, Fault::Values),
        (r#"[{"n":"a","u":"Cel"}]"#, Fault::NoValue),
        (r#"[{"n":"a","v":1,"v":2}]"#, Fault::Twice),
        (r#"[{"n":"a","v":"1"}]"#, Fault::Type("v")),
        (r#"[{"n":"a","vb":1}]"#, Fault::Type("vb")),
        (r#"[{"n":7,"v":1}]"#, Fault::Type("n")),
        (r#"[{"n":"a","v":null}]"#, Fault::Type("v")),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
    for good in ["1", "5", "10", "26"] {
        assert!(json(&format!(r#"[{{"bver":{good},"n":"a","v":1}}]"#)).is_ok(), "{good}");
    }
}

#[test]
fn other_json_is_refused() {
    for text in [
        "",
        "[",
        "]",
        "{}",
        "[{}",
        "[1]",
        "[{},]",
        "[,{}]",
        "[{}]x",
        "[{\"n\":\"a\",}]",
        "[{\"n\" \"a\"}]",
        "[{n:1}]",
        "[{\"n\":\"a}]",
        "[{\"n\":\"\\x\"}]",
        "[{\"n\":\"\\ud800\"}]",
        "[{\"n\":\"a\nb\"}]",
        "[{\"v\":01}]",
        "[{\"v\":+1}]",
        "[{\"v\":.5}]",
        "[{\"v\":1.}]",
        "[{\"v\":1e}]",
        "[{\"v\":-}]",
        "[{\"v\":NaN}]",
        "[{\"v\":tru}]",
        "[{\"x\":[1,]}]",
        "[{\"x\":{\"a\"}}]",
        "[{\"x\":[}]",
        "\u{feff}[]",
        "[{\"n\":\"a\",\"vd\":\"a=\"}]",
    ] {
        assert!(matches!(json(text), Err(SenmlError::Syntax { .. })), "{text}: {:?}", json(text));
    }
    assert!(matches!(read_json(b"[{\"n\":\"\xff\"}]", NOW), Err(SenmlError::Syntax { at: 7 })));
    assert_eq!(json("[ ]"), Ok(Pack::default()));
    let text = r#"[{"n":"a","vs":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}]"#;
    let expected = Value::Text("é😀\"\\/\u{8}\u{c}\n\r\t".into());
    assert_eq!(json(text).unwrap().records[0].value, expected);
}

#[test]
fn packs_are_bounded() {
    assert_eq!(read_json(&vec![b' '; MAX_BYTES + 1], NOW), Err(SenmlError::Limit));
    let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert!(json(&many(MAX_RECORDS)).is_ok());
    assert_eq!(json(&many(MAX_RECORDS + 1)), Err(SenmlError::Limit));
    let maps = [vec![0x9f], vec![0xa0; MAX_RECORDS + 1], vec![0xff]].concat();
    assert_eq!(read_cbor(&maps, NOW), Err(SenmlError::Limit));
    assert_eq!(json(&format!("[{{\"x\":{}", "[".repeat(100_000))), Err(SenmlError::Limit));
    // A long base name would be copied into every record.
    let long = "n".repeat(MAX_NAME + 1);
    assert_eq!(fault(&format!(r#"[{{"bn":"{long}"}}]"#)), Fault::Name);
    assert_eq!(fault(&format!(r#"[{{"bu":"{long}"}}]"#)), Fault::Unit);
    assert_eq!(fault(&format!(r#"[{{"n":"a","u":"{long}","v":1}}]"#)), Fault::Unit);
    for lie in [
        "9bffffffffffffffff",
        "81bbffffffffffffffff",
        "81a1037bffffffffffffffff",
        "81a1085bffffffffffffffff",
    ] {
        assert!(matches!(read_cbor(&hex(lie), NOW), Err(SenmlError::Syntax { .. })), "{lie}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    hex_dump(
        &text
            .as_bytes()
            .chunks(2)
            .map(|pair| format!("    {}\n", String::from_utf8_lossy(pair)))
            .collect::<String>(),
    )
}

#[test]
fn numbers_in_cbor_are_what_was_meant() {
    for (value, expected) in [
        ("17", Some("23")),
        ("3903e7", Some("-1000")),
        ("f93e00", Some("1.5")),
        ("f92e66", Some("0.099975586")),
        ("f90001", None),
        ("fa41b8cccd", Some("23.1")),
        ("fb405e066666666666", Some("120.1")),
        ("fb43e0000000000000", Some("9223372036854776000")),
        ("c48221196ab3", Some("273.15")),
        ("c4820c01", Some("1000000000000")),
        ("c482381801", None),
        ("c48200c249010000000000000000", None),
        ("1bffffffffffffffff", None),
        ("3bffffffffffffffff", None),
        ("f97e00", None),
        ("f97c00", None),
        ("fb7ff0000000000000", None),
    ] {
        let bytes = hex(&format!("81a200616102{value}"));
        let pack = read_cbor(&bytes, NOW).unwrap();
        let found = pack.records.first().map(|record| record.value.clone());
        assert_eq!(found, expected.map(|text| Value::Number(decimal(text))), "{value}");
        assert_eq!(pack.leftovers.len(), usize::from(expected.is_none()), "{value}");
    }
}

#[test]
fn labels_in_cbor_are_numbers() {
    let refused = |hex_text: &str| read_cbor(&hex(hex_text), NOW).unwrap_err();
    let of = |fault| SenmlError::Record { record: 0, fault };
    assert_eq!(refused("81a30061610201625f5f01"), of(Fault::MustUnderstand));
    assert_eq!(refused("81a2006161026131"), of(Fault::Type("v")));
    assert_eq!(refused("81a2006161086161"), of(Fault::Type("vd")));
    assert_eq!(refused("81a300616102010202"), of(Fault::Twice));
    // The text label of a field that has a number is another, unknown, field; so is a new number.
    let pack = read_cbor(&hex("81a4006161020161760309f6"), NOW).unwrap();
    assert_eq!(pack.leftovers.iter().map(|l| &*l.field).collect::<Vec<_>>(), ["v", "9"]);
    // Streams have arrays and maps without a length.
    let pack = read_cbor(&hex("9fbf0061610201ffff"), NOW).unwrap();
    assert_eq!(pack.records[0].value, Value::Number(decimal("1")));
}

#[test]
fn what_senml_cannot_say_is_not_written() {
    let reading =
        |name: &str, unit: &str, at| Reading::new(Quantity::new(name, unit), decimal("1"), at);
    for bad in [
        reading("a b", "Cel", NOW),
        reading("", "Cel", NOW),
        reading("a", "Cel", Timestamp::from_secs(9)),
    ] {
        let name_only = bad.quantity().name().is_empty();
        let device = if name_only { "" } else { "dev" };
        assert!(write_json(device, std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        assert!(write_cbor(device, &[bad]).is_err());
    }
    assert!(write_json("dev ice", &[reading("a", "Cel", NOW)]).is_err());
    assert!(write_json("dev", &vec![reading("a", "Cel", NOW); MAX_RECORDS + 1]).is_err());
    assert_eq!(write_json("dev", &[]).unwrap(), "[]");
    for (unit, is_secondary) in [("hPa", true), ("ppb", true), ("mg/l", true), ("NTU", false)] {
        let pack = write_json("dev", &[reading("p", unit, NOW)]).unwrap();
        assert_eq!(pack.contains("\"bver\":26"), is_secondary, "{pack}");
        assert!(json(&pack).is_ok());
    }
}

prop_compose! {
    fn readings()(list in prop::collection::vec(
        ("[a-zA-Z0-9][a-z0-9:./_-]{0,15}", "[!-~]{0,32}", any::<i64>(), -12i8..=6, 1u64 << 38..1 << 50), 1..12,
    )) -> Vec<Reading> {
        list.into_iter().filter_map(|(name, unit, mantissa, exponent, millis)| {
            let value = Decimal::new(mantissa, exponent).ok()?;
            Some(Reading::new(Quantity::new(&name, &unit), value, Timestamp::from_millis(millis)))
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn readings_survive_both_ways(readings in readings()) {
        let text = write_json("urn:dev:x", &readings).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let import = json(&text).unwrap().into_import("urn:dev:x");
        prop_assert_eq!(&import.readings, &readings);
        prop_assert!(import.leftovers.is_empty());
        let bytes = write_cbor("urn:dev:x", &readings).unwrap();
        prop_assert_eq!(depin_core::cbor::check(&bytes), Ok(()));
        let import = read_cbor(&bytes, NOW).unwrap().into_import("urn:dev:x");
        prop_assert_eq!(import.readings, readings);
        for end in 0..bytes.len() {
            prop_assert!(read_cbor(&bytes[..end], NOW).is_err());
        }
        for end in (0..text.len()).step_by(5) {
            prop_assert!(json(&text[..end]).is_err());
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "[\\[\\]{}:,\"bntuv0-9.e+-]{0,64}") {
        let _ = (read_cbor(&bytes, NOW), read_json(&bytes, NOW), json(&text));
        let _ = read_cbor(&[vec![0x81, 0xa2, 0, 0x61, 0x61, 2], bytes].concat(), NOW);
    }
}
