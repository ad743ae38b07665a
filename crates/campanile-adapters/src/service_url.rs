//! The URL of a store, a lock or a broker as a value that can't print its password, whatever is wrong with the URL: its
//! `Debug`, its `Display` and its serialised form show what is known to be harmless and `***` for the rest. It also takes
//! what it hides out of other people's texts, because drivers quote what they could not read. It doesn't say whether a
//! URL can be used: each adapter reads its own.
//!
//! The rule is a list of what may be shown, not a list of what must be hidden: everything before the last `@` may be
//! part of a password, since people forget to escape the `/`, `?`, `#` and `@` in it.

mod shown;

use std::borrow::Cow;
use std::fmt;

use self::shown::{are_hosts, is_plain, shown};

/// What stands for what is hidden.
const HIDDEN: &str = "***";

/// What separates the parts of a URL.
const SEPARATORS: &[char] = &[
    '/', '\\', '@', '?', '#', ',', ':', '&', '=', ';', '%', ' ', '\n', '(', ')',
];

/// Parts shorter than this are not looked for in other texts: they would be found in every word.
const PART_CHARS_MIN: usize = 4;

/// A URL that may hold a password, and does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// Any text: also one that is no URL at all.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text with all that it holds, for whoever connects.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The text as people may see it.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.0)
    }

    /// Whether something of it is hidden.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.shown() != self.0.trim()
    }

    /// Another text, an error for instance, without what this URL hides.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        Scrub::of([self]).clean(text).into_owned()
    }

    /// The parts that are not shown, escaped and unescaped, longest first.
    fn secrets(&self, shown: &str) -> Vec<String> {
        let rest = self
            .0
            .split_once("://")
            .map_or(self.0.as_str(), |(_, rest)| rest);
        let mut parts: Vec<&str> = rest.split(SEPARATORS).collect();
        if let Some((login, _)) = rest.rsplit_once('@') {
            parts.push(login);
            parts.extend(login.split_once(':').map(|(_, password)| password));
        }
        if let Some((_, query)) = rest.split_once('?') {
            parts.push(query);
            parts.extend(query.split(['&', ';']));
            let values = query.split(['&', ';']).filter_map(|p| p.split_once('='));
            parts.extend(values.map(|(_, value)| value));
        }
        let mut all: Vec<String> = parts
            .into_iter()
            .flat_map(|part| [part.to_owned(), unescaped(part)])
            .filter(|part| part.chars().count() >= PART_CHARS_MIN && !shown.contains(part.as_str()))
            .collect();
        all.sort_by_key(|part| std::cmp::Reverse(part.len()));
        all.dedup();
        all
    }
}

/// Takes what several URLs hide out of texts.
#[derive(Clone, Default)]
pub struct Scrub(Vec<(String, String)>);

impl fmt::Debug for Scrub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrub({} texts)", self.0.len())
    }
}

impl Scrub {
    /// For these URLs.
    #[must_use]
    pub fn of<'a>(urls: impl IntoIterator<Item = &'a ServiceUrl>) -> Self {
        let mut pairs = Vec::new();
        for url in urls {
            let (shown, whole) = (url.shown(), url.0.trim());
            if shown == whole || whole.is_empty() {
                continue;
            }
            let secrets = url.secrets(&shown);
            pairs.push((whole.to_owned(), shown));
            pairs.extend(
                secrets
                    .into_iter()
                    .map(|secret| (secret, HIDDEN.to_owned())),
            );
        }
        Self(pairs)
    }

    /// A text without it.
    #[must_use]
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        for (secret, instead) in &self.0 {
            if out.contains(secret.as_str()) {
                out = Cow::Owned(out.replace(secret.as_str(), instead));
            }
        }
        out
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({})", self.shown())
    }
}

impl serde::Serialize for ServiceUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// Whether an `@` stands behind the first `/`, `?` or `#`: then a password holds one of those unescaped, and a reader of
/// URLs would take half of it for a host, a database or an option.
#[must_use]
pub fn has_stray_at(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match (rest.rfind('@'), rest.find(['/', '?', '#'])) {
        (Some(at), Some(end)) => at > end,
        _ => false,
    }
}

/// What to do about that.
pub const STRAY_AT: &str = "there is an `@` behind the first `/`, `?` or `#`: inside a user or password write %2F for /, \
     %3F for ?, %23 for #, %40 for @, %3A for : and %25 for %";

/// The name of an option as an error may quote it: half of a password may stand in its place.
#[must_use]
pub fn option_name(pair: &str) -> &str {
    match pair.split_once('=') {
        Some((name, _)) if is_plain(name) && !name.is_empty() => name,
        _ => HIDDEN,
    }
}

/// A host with its port as an error may quote it.
#[must_use]
pub fn host_shown(text: &str) -> &str {
    if are_hosts(text) { text } else { HIDDEN }
}

/// Resolves `%XX`; what is none stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |at: usize| {
            let digit = char::from(*after.get(at)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (*first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high * 16 + low);
                rest = &after[2..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_harmless_is_shown_as_it_is() {
        for url in [
            "",
            "store:",
            "memory:",
            "sqlite:campanile.db",
            "sqlite:/var/lib/my stores/a@b.db",
            "postgres://u@h/db",
            "postgres://h1.example:5432/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "redis://127.0.0.1:6379/0",
            "redis+sentinel://h1:26379,h2:26379/mymaster?db=2&sentinel_username=s",
            "rediss://[::1]:6379",
            "stomp+ssl://a:1,b:2,c?ca=/etc/ca%20x.pem",
            "campanile.db",
            "redis.example:6379",
            "kafka://h",
        ] {
            assert_eq!(ServiceUrl::new(url).shown(), url);
            assert!(!ServiceUrl::new(url).has_secret());
        }
    }

    #[test]
    fn what_may_be_a_secret_is_hidden_and_the_rest_is_shown() {
        for (url, expected) in [
            ("stomp://u:p@h1:1,h2:2", "stomp://u:***@h1:1,h2:2"),
            ("postgres://u:p@ss@h/db", "postgres://u:***@h/db"),
            ("redis://:p@h:1", "redis://:***@h:1"),
            ("redis://p@h:1", "redis://***@h:1"),
            ("postgres://u:pa/SEC@h/db", "postgres://u:***@h/db"),
            ("postgres://u:pa?S#E:C@h/db", "postgres://u:***@h/db"),
            ("postgres://h/db?password=S", "postgres://h/db?password=***"),
            (
                "redis+sentinel://a,b/s?sentinel_password=S&db=1",
                "redis+sentinel://a,b/s?sentinel_password=***&db=1",
            ),
            ("kafka://u:p@h", "kafka://u:***@h"),
            ("u:SEC@h/db", "u:***@h/db"),
            (
                "jdbc:postgresql://h/d?user=u&password=S",
                "jdbc:postgresql://h/d?user=u&password=***",
            ),
            ("postgres:u:SEC@h", "postgres:***"),
        ] {
            assert_eq!(ServiceUrl::new(url).shown(), expected, "{url}");
            assert!(ServiceUrl::new(url).has_secret());
        }
    }

    /// URLs as people write them, right and wrong; each holds the secret.
    pub(crate) const NASTY: &[&str] = &[
        "postgres://u:SECRETx1@h/db",
        "postgres://u:pa/SECRETx1@h/db",
        "postgres://u:12/SECRETx1@h/db",
        "postgres://u:pa?SECRETx1@h/db",
        "postgres://u:pa#SECRETx1@h/db",
        "postgres://u:pa@SECRETx1@h/db",
        "postgres://u:pa:SECRETx1@h/db",
        "postgres://u:100%SECRETx1@h/db",
        "postgres://u:%53ECRETx1SECRETx1@h/db",
        "postgres://u:SECRETx1",
        "postgres://u:pa/SECRETx1",
        "postgres://u:SECRETx1@",
        "postgres://u:SECRETx1@h:port/db",
        "postgres://SECRETx1:@h/db",
        "postgres:/u:SECRETx1@h/db",
        "postgres:u:SECRETx1@h/db",
        "postgres:\\\\u:SECRETx1@h/db",
        "POSTGRES://u:SECRETx1@h/db",
        " postgres://u:SECRETx1@h/db",
        "postgres://h/db?password=SECRETx1",
        "postgres://h/db?passwrod=SECRETx1",
        "postgres://h/db?PASSWORD=SECRETx1",
        "postgres://h/db?a=b&password=x&SECRETx1",
        "postgres://h/db?SECRETx1",
        "postgres://h/db?sslmode=SECRETx1@",
        "postgres://h/db?options=-c%20x=SECRETx1",
        "postgres://h/db#SECRETx1",
        "postgres://h1,h2:x/SECRETx1@h3/db",
        "postgres://h/db%3Fpassword%3DSECRETx1",
        "mysql://u:SECRETx1@h/db",
        "redis://:SECRETx1@h",
        "redis://SECRETx1@h",
        "redis://u:1/SECRETx1@h",
        "redis://:pa?SECRETx1@h",
        "redis://h?password=SECRETx1",
        "rediss://u:SECRETx1@h:6379/0",
        "redis+sentinel://h1,h2/s?sentinel_password=SECRETx1",
        "redis+sentinel://u:SECRETx1@h1,h2/s",
        "redis+cluster://u:SECRETx1@h1:1,h2:2",
        "stomp://u:SECRETx1@h1:1,h2:2",
        "stomp://u:a@h1:1,u:SECRETx1@h2:2",
        "stomp://h?passcode=SECRETx1",
        "stomp://h?token=SECRETx1",
        "stomp://u:SECRETx1",
        "stomp://h?SECRETx1",
        "amqp://u:SECRETx1@h",
        "failover:(tcp://u:SECRETx1@h:1,tcp://h:2)",
        "kafka://u:SECRETx1@h",
        "jdbc:postgresql://h/db?user=u&password=SECRETx1",
        "host=h user=u password=SECRETx1",
        "u:SECRETx1@h/db",
        "u:SECRETx1",
        "//u:SECRETx1@h/db",
        "store:SECRETx1",
        "memory://u:SECRETx1@h",
        "postgres://u:SECRETx1\u{ff20}h/db",
        "postgres://u:a\nSECRETx1@h/db",
    ];

    #[test]
    fn no_form_of_any_of_them_holds_the_secret() {
        for text in NASTY {
            let url = ServiceUrl::new(*text);
            let forms = [
                url.shown(),
                url.to_string(),
                format!("{url:?}"),
                format!("{:#?}", Some(&url)),
                serde_json::to_string(&url).unwrap(),
                url.scrub(&format!("invalid port number in {text}")),
            ];
            for form in forms {
                assert!(!form.contains("SECRET"), "{text}: {form}");
            }
            assert_eq!(url.reveal(), *text);
        }
    }

    #[test]
    fn half_of_a_url_is_taken_out_of_an_error_too() {
        for (text, said) in [
            (
                "postgres://u:12/SECRETx1@h/db",
                "database \"SECRETx1@h/db\" does not exist",
            ),
            ("redis://u:1/SECRETx1@h", "`SECRETx1@h` is not a number"),
            ("stomp://u:pa@SECRETx1@h", "can't resolve SECRETx1"),
            ("postgres://u:SECRE%54x1@h", "password `SECRETx1` is wrong"),
            ("postgres://h/d?password=SECRETx1", "password=SECRETx1"),
        ] {
            let said = ServiceUrl::new(text).scrub(said);
            assert!(
                !said.contains("SECRET") && said.contains("***"),
                "{text}: {said}"
            );
        }
    }

    #[test]
    fn other_texts_keep_what_is_no_secret() {
        let url = ServiceUrl::new("postgres://postgres:postgres@h/db");
        let text = "password authentication failed for user \"postgres\"";
        assert_eq!(url.scrub(text), text);
        let url = ServiceUrl::new("postgres://u:p%40ssw%2Ford@h/db");
        assert_eq!(url.scrub("bad: p@ssw/ord"), "bad: ***");
        assert_eq!(ServiceUrl::new("sqlite:a b.db").scrub("a b.db"), "a b.db");
    }

    #[test]
    fn an_at_that_belongs_into_a_password_is_noticed() {
        assert!(has_stray_at("postgres://u:a/b@h/db"));
        assert!(has_stray_at("redis://:a?b@h"));
        assert!(!has_stray_at("postgres://u:a@b@h/db"));
        assert!(!has_stray_at("postgres://h/db"));
        assert_eq!(option_name("dB=1"), "dB");
        assert_eq!(option_name("half"), "***");
        assert_eq!(option_name("ha@h=1"), "***");
    }
}
