//! The cookies: how they are called, what stands around them, and which of a request's is meant. Where browsers come over
//! https the names begin with `__Host-`, by which no other host and no plain page can put one; on this machine's own
//! loopback there is no https, and the plain names are used there alone.

use axum::http::{HeaderMap, HeaderValue, header};

/// Whether there can be cookies here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// Over https.
    Secure,
    /// Over http, to this machine alone.
    Loopback,
    /// Anybody on the path could read them: there are none.
    No,
}

/// One of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// A session.
    Session,
    /// A login by a provider that was begun.
    Attempt,
    /// What the form of a login must fit.
    Form,
}

impl Cookies {
    /// For a node that serves like this.
    #[must_use]
    pub const fn of(https: bool, loopback: bool) -> Self {
        match (https, loopback) {
            (true, _) => Self::Secure,
            (false, true) => Self::Loopback,
            (false, false) => Self::No,
        }
    }

    #[must_use]
    pub const fn name(self, cookie: Cookie) -> &'static str {
        match (self, cookie) {
            (Self::Secure, Cookie::Session) => "__Host-campanile",
            (Self::Secure, Cookie::Attempt) => "__Host-campanile-login",
            (Self::Secure, Cookie::Form) => "__Host-campanile-form",
            (_, Cookie::Session) => "campanile",
            (_, Cookie::Attempt) => "campanile-login",
            (_, Cookie::Form) => "campanile-form",
        }
    }

    /// What a request brings under this name; of two, neither: one of them is somebody else's.
    #[must_use]
    pub fn read(self, headers: &HeaderMap, cookie: Cookie) -> Option<String> {
        if self == Self::No {
            return None;
        }
        let name = self.name(cookie);
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let mut found = pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        match (found.next(), found.next()) {
            (Some(value), None) => Some(value.to_owned()),
            _ => None,
        }
    }

    /// The header that sets one for so many seconds; for none it is taken away.
    #[must_use]
    pub fn set(self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self == Self::Secure { "; Secure" } else { "" };
        let name = self.name(cookie);
        let text =
            format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
        // What we put into one is base64url and points.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The header that takes one away.
    #[must_use]
    pub fn clear(self, cookie: Cookie) -> HeaderValue {
        self.set(cookie, "", 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookies: Cookies, lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        cookies.read(&headers, Cookie::Session)
    }

    #[test]
    fn a_cookie_is_the_only_one_of_its_name() {
        let (secure, plain) = (Cookies::of(true, true), Cookies::of(false, true));
        assert_eq!(read(plain, &["a=b; campanile=x; c"]).as_deref(), Some("x"));
        assert_eq!(read(plain, &["a=b", "campanile=x"]).as_deref(), Some("x"));
        assert_eq!(read(plain, &["campanile=x; campanile=y"]), None);
        assert_eq!(read(plain, &["campanile=x", "campanile=x"]), None);
        assert_eq!(read(plain, &["xcampanile=x; Campanile=y"]), None);
        // The plain name counts for nothing where there is https: anybody on the path could have set it.
        assert_eq!(read(secure, &["campanile=x"]), None);
        assert_eq!(read(secure, &["__Host-campanile=x"]).as_deref(), Some("x"));
        assert_eq!(read(plain, &["__Host-campanile=x"]), None);
        assert_eq!(read(Cookies::of(false, false), &["campanile=x"]), None);
    }

    #[test]
    fn a_cookie_is_for_this_host_over_https_and_for_no_script() {
        let set = |cookies: Cookies| cookies.set(Cookie::Session, "v", 60);
        assert_eq!(
            set(Cookies::Secure),
            "__Host-campanile=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        assert_eq!(
            set(Cookies::Loopback),
            "campanile=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert!(
            Cookies::Secure
                .clear(Cookie::Form)
                .to_str()
                .unwrap()
                .contains("Max-Age=0")
        );
    }
}
