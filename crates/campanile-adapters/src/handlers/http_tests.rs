//! What a status means, what is sent as a body, and how long a target asks to be left alone.

use super::*;
use campanile_core::port::handler::Verdict;

fn asked(pairs: &[(&'static str, &str)]) -> Option<u64> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, value.parse().unwrap());
    }
    retry_after(&headers).map(|wait| wait.as_secs())
}

#[test]
fn a_target_says_how_long_it_wants_to_be_left_alone() {
    const DAY: u64 = 86_400;
    let date = ("date", "Tue, 01 Dec 2026 08:00:00 GMT");
    for (value, seconds) in [
        ("4", Some(4)),
        (" 120 ", Some(120)),
        ("0", Some(0)),
        ("999999999", Some(DAY)),
        ("99999999999999999999999999", Some(DAY)),
        ("Tue, 01 Dec 2026 08:00:30 GMT", Some(30)),
        ("Tuesday, 01-Dec-26 08:00:30 GMT", Some(30)),
        ("Tue, 01 Dec 2026 07:59:00 GMT", Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY)),
        ("-4", None),
        ("4.5", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(asked(&[("retry-after", value), date]), seconds, "{value}");
    }
    assert_eq!(asked(&[date]), None);
    // Without a date of its own the worker's clock has to do.
    assert_eq!(
        asked(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]),
        Some(DAY)
    );
    assert_eq!(
        asked(&[
            ("retry-after", "Thu, 01 Jan 1970 00:00:01 GMT"),
            ("date", "nonsense")
        ]),
        Some(0)
    );
}

fn spec(expect: &[u16]) -> HttpSpec {
    HttpSpec {
        url: "http://example.com/".to_owned(),
        method: "POST".to_owned(),
        headers: std::collections::BTreeMap::new(),
        expect: expect.to_vec(),
    }
}

fn judged(status: u16, expect: &[u16]) -> &'static str {
    match judge(StatusCode::from_u16(status).unwrap(), &spec(expect)) {
        Ok(()) => "success",
        Err(failure) => {
            assert_eq!(failure.class(), &Class::Status(status));
            match failure.verdict() {
                Verdict::Retry => "retry",
                Verdict::Fatal => "fatal",
                Verdict::NotAllowed => "not allowed",
            }
        }
    }
}

#[test]
fn a_status_means_what_the_table_says() {
    for (status, end) in [
        (200, "success"),
        (204, "success"),
        (299, "success"),
        (302, "fatal"),
        (304, "fatal"),
        (400, "fatal"),
        (401, "fatal"),
        (404, "fatal"),
        (408, "retry"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
        (599, "retry"),
    ] {
        assert_eq!(judged(status, &[]), end, "{status}");
    }
}

#[test]
fn a_list_of_expected_statuses_is_all_there_is() {
    assert_eq!(judged(404, &[202, 404]), "success");
    assert_eq!(judged(500, &[500]), "success");
    assert_eq!(judged(200, &[202, 404]), "fatal");
    assert_eq!(judged(503, &[202]), "retry");
    assert_eq!(judged(302, &[302]), "success");
}

#[test]
fn the_body_is_the_payload_of_methods_that_have_one() {
    let json = serde_json::json!({"day": "yesterday"});
    assert_eq!(body(&Method::GET, &json), (None, None));
    assert_eq!(body(&Method::HEAD, &json), (None, None));
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(
            body(&method, &json),
            (
                Some(r#"{"day":"yesterday"}"#.to_owned()),
                Some("application/json")
            )
        );
        assert_eq!(
            body(&method, &serde_json::json!("as it is")),
            (
                Some("as it is".to_owned()),
                Some("text/plain; charset=utf-8")
            )
        );
    }
    assert_eq!(
        body(&Method::POST, &serde_json::Value::Null),
        (Some(String::new()), None)
    );
    assert_eq!(
        body(&Method::DELETE, &serde_json::Value::Null),
        (None, None)
    );
}
