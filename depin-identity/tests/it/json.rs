//! JSON that two readers could take for two things, and the canonical form of RFC 8785.

use depin_identity::json::{self, JsonError, MAX_DEPTH, Number, Value};
use depin_testkit::conformance::Suite;
use proptest::prelude::*;

fn text_of(json: &str) -> Result<String, JsonError> {
    json::parse(json.as_bytes()).map(|value| value.canonical())
}

#[test]
fn the_known_answers_of_rfc_8785_hold() {
    let cases = crate::vectors::read("identity/jcs/rfc8785-testdata.json");
    let mut suite = Suite::new("JCS, RFC 8785 test data");
    for case in cases.iter().flat_map(|cases| cases.as_array().unwrap()) {
        let text = text_of(case["input_text"].as_str().unwrap());
        suite.case(
            case["name"].as_str().unwrap(),
            text.as_deref() == Ok(case["canonical"].as_str().unwrap()),
        );
    }
    suite.finish();
}

#[test]
fn numbers_are_written_as_rfc_8785_appendix_b_says() {
    for (bits, text) in [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
    ] {
        let Some(number) = Number::new(f64::from_bits(bits)) else { panic!("{text} is finite") };
        assert_eq!(number.to_string(), text);
    }
    assert_eq!(Number::new(f64::NAN), None);
    assert_eq!(Number::new(f64::INFINITY), None);
}

#[test]
fn a_name_twice_is_refused_even_when_escaped() {
    assert_eq!(text_of(r#"{"a":1,"a":1}"#), Err(JsonError::Twice(7)));
    assert_eq!(text_of(r#"{"a":1,"\u0061":2}"#), Err(JsonError::Twice(7)));
    assert_eq!(text_of(r#"[{"x":{"b":1,"c":2,"b":3}}]"#), Err(JsonError::Twice(19)));
}

#[test]
fn integers_that_a_double_rounds_are_refused() {
    for kept in
        ["9007199254740991", "-9007199254740991", "9007199254740992", "295147905179352830000"]
    {
        assert_eq!(text_of(kept).as_deref(), Ok(kept));
    }
    for rounded in
        ["9007199254740993", "-9007199254740993", "18446744073709551615", "1000000000000000000000"]
    {
        assert_eq!(text_of(rounded), Err(JsonError::Number(0)), "{rounded}");
    }
    let many = "9".repeat(100_000);
    for endless in [many.as_str(), "1e400", "-1e400", "1E999999999999999999999"] {
        assert_eq!(text_of(endless), Err(JsonError::Number(0)));
    }
}

#[test]
fn half_a_surrogate_pair_and_broken_utf8_are_refused() {
    for half in
        [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\udc00\ud800""#, r#""\ud83dx""#]
    {
        assert!(matches!(text_of(half), Err(JsonError::Unicode(_))), "{half}");
    }
    assert_eq!(text_of(r#""\ud83d\ude00""#).as_deref(), Ok("\"😀\""));
    assert_eq!(json::parse(b"\"\xc3\x28\""), Err(JsonError::Unicode(1)));
    assert_eq!(json::parse(b"\xed\xa0\x80"), Err(JsonError::Unicode(0)));
}

#[test]
fn what_is_no_json_is_refused() {
    for bad in [
        "",
        " ",
        "{",
        "[",
        "]",
        "{]",
        "[1,]",
        "[,1]",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{a:1}"#,
        "'a'",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "NaN",
        "Infinity",
        "tru",
        "True",
        "nul",
        "\"",
        "\"\\\"",
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        "\"\t\"",
        "\"\0\"",
        "\u{feff}1",
        "/**/1",
        "\u{a0}1",
    ] {
        assert!(matches!(text_of(bad), Err(JsonError::Syntax(_))), "{bad}: {:?}", text_of(bad));
    }
    for more in ["01", "0x1", "-01", "1 1", "{}{}", "null,", "[]]", "truee"] {
        assert!(matches!(text_of(more), Err(JsonError::Trailing(_))), "{more}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(text_of(&nest(MAX_DEPTH)).is_ok());
    assert_eq!(text_of(&nest(MAX_DEPTH + 1)), Err(JsonError::TooDeep(MAX_DEPTH)));
    assert_eq!(text_of(&"[".repeat(json::MAX_LEN)), Err(JsonError::TooDeep(MAX_DEPTH)));
    assert_eq!(text_of(&" ".repeat(json::MAX_LEN + 1)), Err(JsonError::TooLong(json::MAX_LEN)));
    assert_eq!(json::parse_within(b"null", 3), Err(JsonError::TooLong(3)));
}

/// Any value whose names and texts go through all planes.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |number| Number::new(number).map(Value::from)),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(json::object(members))),
        ]
    })
}

proptest! {
    #[test]
    fn the_canonical_text_reads_back_as_the_same_value(value in any_value()) {
        let text = value.canonical();
        let read = json::parse(text.as_bytes());
        prop_assert_eq!(read.as_ref(), Ok(&value));
        for end in 0..text.len() {
            let cut = json::parse(&text.as_bytes()[..end]);
            prop_assert!(cut.is_err() || matches!(value, Value::Number(_)));
        }
    }

    #[test]
    fn what_is_accepted_is_json_for_others_too(text in r#"([\[\]{},:"\\ \-+.0-9eEtruefalsn]|"[a-c]":|\\u[0-9a-f]{4}){0,12}"#) {
        let ours = json::parse(text.as_bytes());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                // Ours has lost nothing: it reads the same from what the other writes.
                prop_assert_eq!(ours.canonical().parse::<serde_json::Value>().is_ok(), true);
                prop_assert_eq!(theirs.is_object(), ours.as_object().is_some());
            }
            (Ok(_), Err(error)) => prop_assert!(false, "only we read {}: {}", text, error),
            (Err(JsonError::Twice(_) | JsonError::Number(_)), Ok(_)) | (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => prop_assert!(false, "only others read {}: {}", text, error),
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _verdict = json::parse(&bytes);
    }
}
