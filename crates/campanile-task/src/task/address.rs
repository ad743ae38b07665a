//! Whether an `http` handler's address and headers can be sent at all: what no worker could ever do is refused where the
//! task is written, and not at each of its runs. Whether an address may be reached is the worker's to say.

use campanile_schedule::Invalid;

const URL: &str = "handler.http.url";
const HEADERS: &str = "handler.http.headers";

/// Headers that say how the message is framed: ours to write, because a wrong one lets a request hide in another.
pub const FRAMING_HEADERS: [&str; 5] = [
    "connection",
    "content-length",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Checks an address.
pub(super) fn check_url(url: &str) -> Result<(), Invalid> {
    let wrong = |message: String| Err(Invalid::new(URL, message));
    let plain = url.strip_prefix("http://");
    let Some(rest) = plain.or_else(|| url.strip_prefix("https://")) else {
        return wrong("write an address that begins with http:// or https://".to_owned());
    };
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("has a blank or a line end in it: write %20 for a blank".to_owned());
    }
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        return wrong(
            "has a user or a password before the `@`, which everybody who may look at tasks would read: leave it out, and \
             send it as a header (`Authorization`) or have the target trust the worker"
                .to_owned(),
        );
    }
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return wrong("names no host: write it as in https://example.com/hook".to_owned());
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some("") => Ok(()),
        Some(number) if is_port(number) => Ok(()),
        _ => wrong(format!(
            "`{}` is not a port: write 1 to 65535",
            port.trim_start_matches(':').escape_debug()
        )),
    }
}

/// Checks the name and the value of a header.
pub(super) fn check_header(name: &str, value: &str) -> Result<(), Invalid> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty()
        || !name.chars().all(token)
        || value.chars().any(|c| c.is_control() && c != '\t')
    {
        let message = format!(
            "`{}` is not a header that HTTP can carry",
            name.escape_debug()
        );
        return Err(Invalid::new(HEADERS, message));
    }
    if FRAMING_HEADERS
        .iter()
        .any(|ours| ours.eq_ignore_ascii_case(name))
    {
        let message = format!("`{name}` is written by the worker itself: leave it out");
        return Err(Invalid::new(HEADERS, message));
    }
    Ok(())
}

fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits && text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_can_never_be_reached_is_refused() {
        for (url, expected) in [
            ("http://h", ""),
            ("http://h:80/x?a=b:0@c#d", ""),
            ("https://[::1]:8443/", ""),
            ("https://[::1]/", ""),
            ("http://h:/", ""),
            ("ftp://h", "begins with http://"),
            ("http://", "names no host"),
            ("http://:80/", "names no host"),
            ("http://h:0/", "`0` is not a port: write 1 to 65535"),
            ("http://h:65536/", "`65536` is not a port"),
            ("http://h:+80/", "`+80` is not a port"),
            ("http://h:x", "`x` is not a port"),
            ("https://[::1]:0", "`0` is not a port"),
            ("https://u:p@h/", "before the `@`"),
            ("https://u@h", "before the `@`"),
            ("http://h/a b", "write %20"),
        ] {
            match check_url(url) {
                Ok(()) => assert_eq!(expected, "", "{url}"),
                Err(e) => assert!(
                    !expected.is_empty() && e.to_string().contains(expected),
                    "{url}: {e}"
                ),
            }
        }
    }

    #[test]
    fn headers_that_frame_the_message_are_the_workers() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "CONNECTION",
            "TE",
            "Upgrade",
        ] {
            let told = check_header(name, "1").unwrap_err().to_string();
            assert!(told.contains("is written by the worker itself"), "{told}");
        }
        for name in ["Host", "Authorization", "X-Te"] {
            assert_eq!(check_header(name, "h"), Ok(()), "{name}");
        }
    }
}
