//! The schemes that stores, locks and brokers have. What follows the scheme is read by the adapters; how a URL is shown
//! without its password, [`ServiceUrl`] knows.

use crate::service_url::ServiceUrl;

/// A scheme: its name, and what is said of one that a later version will have.
pub type Scheme = (&'static str, Option<&'static str>);

/// Of `store`.
pub const STORE: &[Scheme] = &[
    ("sqlite", None),
    ("postgres", None),
    ("postgresql", None),
    ("mysql", None),
    ("mariadb", None),
];

/// Of `lock`.
pub const LOCK: &[Scheme] = &[
    ("store", None),
    ("redis", None),
    ("rediss", None),
    ("redis+sentinel", None),
    ("rediss+sentinel", None),
    ("redis+cluster", None),
    ("rediss+cluster", None),
];

/// Of `broker`.
pub const BROKER: &[Scheme] = &[
    ("memory", None),
    ("store", None),
    ("stomp", None),
    ("stomp+ssl", None),
    ("amqp", None),
    ("amqps", None),
    ("amqp10", Some("write stomp://… or amqp://… for now")),
    ("amqp10s", Some("write stomp+ssl://… or amqps://… for now")),
];

/// Checks that a URL has a scheme that is known.
///
/// # Errors
/// A sentence with the schemes that are, or with what to write until this one is built.
pub fn check(url: &ServiceUrl, schemes: &[Scheme]) -> Result<(), String> {
    let known = || {
        let names: Vec<String> = schemes
            .iter()
            .filter(|(_, later)| later.is_none())
            .map(|(name, _)| format!("{name}:"))
            .collect();
        names.join(", ")
    };
    let Some((scheme, _)) = url.reveal().split_once(':') else {
        return Err(format!(
            "`{url}` has no scheme: begin it with one of {}",
            known()
        ));
    };
    match schemes.iter().find(|(name, _)| *name == scheme) {
        Some((_, None)) => Ok(()),
        Some((_, Some(later))) => Err(format!("`{scheme}:` is not built yet: {later}")),
        None => Err(format!(
            "the scheme of `{url}` is not known: begin it with one of {}",
            known()
        )),
    }
}
