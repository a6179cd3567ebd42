//! Tables of what is read from JSON, and of how errors look.

use proptest::prelude::*;

use super::*;
use crate::domain::money::Currency;
use crate::mercadopago::error::Complaint;

fn read(text: &str) -> Object<'_> {
    object(text.as_bytes()).expect(text)
}

#[test]
fn amounts_are_exact() {
    for (written, shown) in [
        ("18525.50", "18525.50"),
        ("0.1", "0.1"),
        ("-0.5", "-0.5"),
        ("1e2", "100"),
        ("1E+2", "100"),
        ("1.8525e4", "18525"),
        ("1852550e-2", "18525.50"),
        ("1.5e1", "15"),
        ("0e9", "0"),
        ("0.1234567890123456789012345678", "0.1234567890123456789012345678"),
        ("1234567890123456789012345678", "1234567890123456789012345678"),
        ("79228162514264337593543950335", "79228162514264337593543950335"),
        ("1e28", "10000000000000000000000000000"),
        ("1e-28", "0.0000000000000000000000000001"),
        ("\"14.53\"", "14.53"),
    ] {
        let text = format!(r#"{{"a":{written}}}"#);
        let amount = read(&text).amount("a").expect(written);
        assert_eq!(amount.to_string(), shown, "{written}");
    }
    for bad in [
        "\"***\"",
        "null",
        "true",
        "[]",
        "\"\"",
        "\"-\"",
        "\"1_000\"",
        "\"1,5\"",
        "\"NaN\"",
        "\"1e\"",
        "\"+1\"",
        "\" 1\"",
        "79228162514264337593543950336",
        "0.00000000000000000000000000001",
        "1e29",
        "1e-29",
        "1e400",
        "1e99999999999999999999",
        "1e-2147483648",
    ] {
        assert_eq!(read(&format!(r#"{{"a":{bad}}}"#)).amount("a"), None, "{bad}");
    }
    let object = read(r#"{"masked":"***"}"#);
    assert_eq!(
        (object.amount_or_zero("masked"), object.amount_or_zero("none")),
        (None, Some(Decimal::ZERO))
    );
}

#[test]
fn our_amounts_are_written_as_they_are() {
    #[derive(Serialize)]
    struct Body(#[serde(serialize_with = "number")] Money);
    for (text, currency, written) in [
        ("18525.5", Currency::Ars, "18525.50"),
        ("0.1", Currency::Brl, "0.10"),
        ("999999999999.99", Currency::Ars, "999999999999.99"),
        ("18525", Currency::Cop, "18525"),
    ] {
        let amount = Money::parse(text, currency).unwrap();
        assert_eq!(write(&Body(amount)), written.as_bytes());
    }
}

#[test]
fn ids_are_numbers_or_strings() {
    for (written, id) in [
        ("7186040733", Some(7_186_040_733)),
        ("\"7186040733\"", Some(7_186_040_733)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("0", None),
        ("-1", None),
        ("1.0", None),
        ("1e3", None),
        ("\"\"", None),
        ("\"***\"", None),
        ("\"+1\"", None),
        ("null", None),
        ("{}", None),
    ] {
        assert_eq!(read(&format!(r#"{{"id":{written}}}"#)).id("id"), id, "{written}");
    }
}

#[test]
fn times_have_offsets_or_are_none() {
    for (written, millis) in [
        ("2026-03-28T13:50:19.143-04:00", Some(1_774_720_219_143)),
        ("2026-03-28T17:50:19.143Z", Some(1_774_720_219_143)),
        ("2026-01-12T14:11:12.000Z", Some(1_768_227_072_000)),
        ("2026-07-27 20:24:21.776642198-0400", Some(1_785_198_261_776)),
        ("2026-03-28T13:50:19.143", None),
        ("yesterday", None),
        ("", None),
    ] {
        let text = format!(r#"{{"at":"{written}"}}"#);
        assert_eq!(read(&text).time("at").map(|at| at.0), millis, "{written}");
    }
    assert_eq!(read(r#"{"at":1774720219143}"#).time("at"), None);
}

#[test]
fn what_is_missing_is_named() {
    let nonsense = |result: Result<u64, ApiError>| result.unwrap_err().to_string();
    let order = read(r#"{"payments":[{},{"id":null}]}"#);
    let payments = order.list("payments").unwrap();
    let id = payments[1].object().and_then(|payment| payment.need_id("id"));
    assert_eq!(
        nonsense(id),
        "Mercado Pago's answer makes no sense: payments/1/id is missing, or no whole number above zero"
    );
    let wrong = read(r#"{"payments":{}}"#).list("payments").unwrap_err();
    assert_eq!(wrong, ApiError::nonsense("payments is not an array"));
    for (text, what) in [
        ("", "it is not JSON"),
        ("<html>", "it is not JSON"),
        ("{\"a\":", "it is not JSON"),
        ("{} {}", "it is not JSON"),
        ("\u{feff}{}", "it is not JSON"),
        ("[]", "it is not an object"),
        ("null", "it is not an object"),
        ("\"x\"", "it is not an object"),
    ] {
        assert_eq!(object(text.as_bytes()).unwrap_err(), ApiError::nonsense(what), "{text}");
    }
    // Deep brackets, and bytes that are no text.
    let deep = [&b"{\"a\":"[..], &vec![b'['; 200_000]].concat();
    assert!(object(&deep).is_err());
    assert!(object(b"{\"a\":\"\xff\"}").is_err());
    let deep = format!(r#"{{"id":1,"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(&deep).id("id"), Some(1), "what is not needed is not looked into");
}

#[test]
fn words_that_are_new_are_kept_and_bounded() {
    words!(
        /// Two words.
        Word { One = "one", Two = "two" }
    );
    let object = read(r#"{"a":"one","b":"THREE","c":7,"two":"two"}"#);
    assert_eq!(Word::read(&object, "a"), Word::One);
    assert_eq!(Word::read(&object, "two").as_str(), "two");
    assert_eq!(Word::read(&object, "b").as_str(), "THREE");
    assert_eq!(Word::read(&object, "c"), Word::Other("".into()));
    let long = format!(r#"{{"a":"{}"}}"#, "ñ".repeat(1000));
    assert_eq!(Word::read(&read(&long), "a").as_str(), "ñ".repeat(limits::API_WORD_LEN));
}

#[test]
fn each_shape_of_an_error_is_read() {
    for (status, body, shown) in [
        (
            404,
            r#"{"message":"Payment not found","error":"not_found","status":404,"cause":[{"code":2000,"description":"Payment not found"}]}"#,
            "404 not_found: Payment not found (2000: Payment not found)",
        ),
        (
            400,
            r#"{"errors":[{"code":"property_value","message":"wrong","details":["d"]},{"code":"other"}]}"#,
            "400 (property_value: wrong; other)",
        ),
        (400, r#"{"message":"m","error":"e","cause":[]}"#, "400 e: m"),
        (400, r#"{"message":"m","error":"e","cause":null}"#, "400 e: m"),
        (400, r#"{"message":"m","cause":{"code":"4296"}}"#, "400: m (4296)"),
        (400, r#"{"message":"m","cause":"text"}"#, "400: m"),
        (
            403,
            r#"{"code":"PA_UNAUTHORIZED","message":"m"}"#,
            "403 PA_UNAUTHORIZED: m",
        ),
        (
            400,
            r#"{"error":{"nested":1},"message":["x"],"cause":[7,{"code":1.5}]}"#,
            "400 (1.5)",
        ),
        (502, "<html>\n502</html>", "502: 17 bytes that are no JSON object"),
        (500, "[]", "500: 2 bytes that are no JSON object"),
        (401, "", "401"),
        (400, "{}", "400"),
        (400, r#"{"message":"two\nlines\u001b[31m"}"#, "400: two lines [31m"),
    ] {
        assert_eq!(
            Complaint::read(status, body.as_bytes(), &[]).to_string(),
            shown,
            "{body}"
        );
    }
    let many = format!(
        r#"{{"message":"{}","cause":[{}{{}}]}}"#,
        "x".repeat(5000),
        "{\"code\":1},".repeat(5000)
    );
    let complaint = Complaint::read(400, many.as_bytes(), &[]);
    assert_eq!(complaint.message.as_ref().map(String::len), Some(limits::API_TEXT_LEN));
    assert_eq!(complaint.causes.len(), limits::API_CAUSES);
}

#[test]
fn each_status_has_its_kind() {
    let of = |status| ApiError::of(Complaint::read(status, br#"{"cause":[{"code":"2063"}]}"#, &[]), None);
    for (status, kind, may_pass) in [
        (302, "refuses it", false),
        (400, "refuses it", false),
        (401, "does not allow it", false),
        (403, "does not allow it", false),
        (404, "does not know it", false),
        (408, "refuses it", true),
        (409, "refuses it", false),
        (423, "refuses it", true),
        (424, "refuses it", true),
        (429, "wants fewer calls", true),
        (500, "cannot answer now", true),
        (501, "cannot answer now", true),
        (599, "cannot answer now", true),
    ] {
        let error = of(status);
        assert_eq!(error.to_string(), format!("Mercado Pago {kind}: {status} (2063)"));
        assert_eq!(error.may_pass(), may_pass, "{error}");
        assert!(error.has_code("2063") && !error.has_code("206"));
    }
    assert!(ApiError::Resting.may_pass() && !ApiError::nonsense("x").may_pass());
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_exactly_or_not_at_all(mantissa in -(1_i128 << 90)..(1_i128 << 90), places in 0_u32..29) {
        let number = Decimal::from_i128_with_scale(mantissa, places);
        prop_assert_eq!(decimal(&number.to_string()), Some(number));
        let shifted = decimal(&format!("{mantissa}e-{places}"));
        prop_assert_eq!(shifted, Some(number));
    }

    #[test]
    fn no_text_breaks_the_reading(number in "[-+0-9.eE_]{0,40}", body in any::<Vec<u8>>(), json in "[\\[\\]{}:,\"a0-9-]{0,40}") {
        decimal(&number);
        Complaint::read(400, &body, &[]);
        for bytes in [&body[..], json.as_bytes()] {
            let _ = find(bytes, "x", |object| object.need_id("id"));
        }
    }
}
