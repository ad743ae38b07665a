//! Requests that two readers could read in two ways: two hosts, two tokens, a target that names another host, a body of
//! two lengths. They are refused before anything else looks at them, whoever sends them: what stands in front of a node
//! may have read the other way.

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};

use super::patience::Head;
use crate::api::problem::Problem;

/// Headers of which a request has one at most.
const SINGLE: [HeaderName; 6] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ORIGIN,
];

/// What is odd about a request.
pub(super) fn refusal(request: &Request, head: Head) -> Option<Problem> {
    let headers = request.headers();
    if let Some(name) = SINGLE.iter().find(|name| count(headers, name) > 1) {
        return Some(bad(format!(
            "the request has several `{name}` headers: send one"
        )));
    }
    framing(request, head).or_else(|| host(request)).map(bad)
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn count(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

fn framing(request: &Request, head: Head) -> Option<String> {
    match head {
        Head::Sound => None,
        Head::Doubled => Some(
            "the request says twice how long its body is: send `Content-Length` or \
             `Transfer-Encoding`, once"
                .to_owned(),
        ),
        // Nobody has looked at how it is framed, and it is framed.
        Head::Unseen if !request.body().is_end_stream() => Some(
            "a request with a body came before the one ahead of it was answered: wait for each answer"
                .to_owned(),
        ),
        Head::Unseen => None,
    }
}

/// Whether it is plain for whom the request is.
fn host(request: &Request) -> Option<String> {
    let named = match request.headers().get(header::HOST) {
        None if request.version() == Version::HTTP_11 => {
            return Some("the request names no host: send a `Host` header".to_owned());
        }
        None => None,
        Some(value) => match value.to_str() {
            Ok(name) if !name.contains(['/', '@', ' ', '\t', ',', '?', '#']) => Some(name),
            _ => return Some("the `Host` header holds no host".to_owned()),
        },
    };
    let target = request.uri().authority()?;
    if named.is_some_and(|name| name.eq_ignore_ascii_case(target.as_str())) {
        return None;
    }
    Some(
        "the request's target names another host than its `Host` header: send the path alone"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn refused(target: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        refusal(&request, Head::Sound).map(|p| p.detail)
    }

    #[test]
    fn a_request_that_can_be_read_in_two_ways_is_refused() {
        let host = ("host", "localhost:1");
        for (target, headers, part) in [
            ("/", vec![host, ("host", "evil.example")], "several `host`"),
            ("/", vec![host, host], "several `host`"),
            (
                "/",
                vec![
                    host,
                    ("authorization", "Bearer a"),
                    ("authorization", "Bearer b"),
                ],
                "several `authorization`",
            ),
            (
                "/",
                vec![
                    host,
                    ("content-type", "text/plain"),
                    ("content-type", "application/json"),
                ],
                "several `content-type`",
            ),
            ("/", vec![], "names no host"),
            ("/", vec![("host", "a@localhost")], "holds no host"),
            (
                "/",
                vec![("host", "localhost, evil.example")],
                "holds no host",
            ),
            ("http://evil.example/", vec![host], "another host"),
            ("http://localhost/", vec![host], "another host"),
        ] {
            let said = refused(target, &headers).unwrap_or_default();
            assert!(said.contains(part), "{target} {headers:?}: {said}");
        }
        assert_eq!(refused("/", &[host]), None);
        assert_eq!(refused("http://LOCALHOST:1/", &[host]), None);
    }
}
