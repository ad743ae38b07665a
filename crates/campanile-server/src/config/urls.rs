//! The schemes that the settings `store`, `lock` and `broker` know, and how a URL is shown without its password. What
//! follows the scheme is read by the adapters.

/// A scheme: its name, and what is said of one that a later version will have.
type Scheme = (&'static str, Option<&'static str>);

/// Of `store`.
pub(super) const STORE: &[Scheme] = &[
    ("sqlite", None),
    ("postgres", None),
    ("postgresql", None),
    ("mysql", Some("write sqlite:FILE or postgres://… for now")),
];

/// Of `lock`.
pub(super) const LOCK: &[Scheme] = &[
    ("store", None),
    ("redis", None),
    ("rediss", None),
    ("redis+sentinel", None),
    ("rediss+sentinel", None),
    ("redis+cluster", None),
    ("rediss+cluster", None),
];

/// Of `broker`.
pub(super) const BROKER: &[Scheme] = &[
    ("memory", None),
    ("stomp", None),
    ("stomp+ssl", None),
    ("store", Some("write memory: or stomp://… for now")),
    ("amqp", Some("write stomp://… for now")),
    ("amqp10", Some("write stomp://… for now")),
    ("amqp10s", Some("write stomp://… for now")),
];

/// Checks that a URL has a scheme that is known.
pub(super) fn check(text: &str, schemes: &[Scheme]) -> Result<(), String> {
    let known = || {
        let names: Vec<String> = schemes
            .iter()
            .filter(|(_, later)| later.is_none())
            .map(|(name, _)| format!("{name}:"))
            .collect();
        names.join(", ")
    };
    let Some((scheme, _)) = text.split_once(':') else {
        return Err(format!(
            "`{}` has no scheme: begin it with one of {}",
            masked(text),
            known()
        ));
    };
    match schemes.iter().find(|(name, _)| *name == scheme) {
        Some((_, None)) => Ok(()),
        Some((_, Some(later))) => Err(format!("`{scheme}:` is not built yet: {later}")),
        None => Err(format!(
            "the scheme of `{}` is not known: begin it with one of {}",
            masked(text),
            known()
        )),
    }
}

/// A text with the passwords of URLs in it replaced.
#[must_use]
pub fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return text.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown) in [
            ("stomp://u:p@h1:1,h2:2", "stomp://u:***@h1:1,h2:2"),
            ("postgres://u:p@ss@h/db", "postgres://u:***@h/db"),
            ("redis://:p@h:1", "redis://:***@h:1"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("sqlite:file.db", "sqlite:file.db"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
