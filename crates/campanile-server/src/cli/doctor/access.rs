//! The identity provider: whether it can be asked, says that it is the one of the settings, and has the hour that we have.

use campanile_core::system;
use campanile_login::oidc::{LEEWAY, SKEW_MAX};

use super::{Finding, LIMIT};
use crate::compose;
use crate::config::Settings;

/// What it says.
pub(super) async fn provider(settings: &Settings) -> Vec<Finding> {
    const WHAT: &str = "people";
    let Some(oidc) = &settings.http.access.oidc else {
        return Vec::new();
    };
    let issuer = &oidc.issuer;
    let client = match compose::provider(oidc) {
        Ok(client) => client,
        Err(error) => return vec![Finding::failed(WHAT, error.to_string())],
    };
    let (keys, ahead_ms) = match system::within(LIMIT, client.probe()).await {
        Some(Ok(found)) => found,
        Some(Err(error)) => {
            let text = format!(
                "nobody can log in by {issuer}: failed to {error} (setting `access_oidc_issuer`)"
            );
            return vec![Finding::failed(WHAT, text)];
        }
        None => {
            let text = format!(
                "{issuer} gives no answer within {} s (setting `access_oidc_issuer`)",
                LIMIT.as_secs()
            );
            return vec![Finding::failed(WHAT, text)];
        }
    };
    let mut out = vec![match keys {
        0 => Finding::failed(
            WHAT,
            format!("{issuer} publishes no key that can be used: tokens of it can't be believed"),
        ),
        _ => Finding::ok(
            WHAT,
            format!("{issuer} can be asked, and publishes {keys} keys"),
        ),
    }];
    out.extend(ahead_ms.and_then(|ahead_ms| skew(issuer, ahead_ms)));
    out
}

/// How far the provider's clock and ours are apart, if that is worth a word.
fn skew(issuer: &str, ahead_ms: i64) -> Option<Finding> {
    let seconds = ahead_ms.unsigned_abs() / 1_000;
    if seconds < SKEW_MAX.as_secs() {
        return None;
    }
    let where_to = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let text = format!(
        "the clock of {issuer} is {seconds} s {where_to} this machine's: from {} s on its tokens are refused; keep both by NTP",
        LEEWAY.as_secs()
    );
    Some(if seconds < LEEWAY.as_secs() {
        Finding::warning("people", text)
    } else {
        Finding::failed("people", text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told() {
        let level = |ahead_ms| skew("https://id.example", ahead_ms).map(|finding| finding.level);
        assert_eq!(level(0), None);
        assert_eq!(level(-29_999), None);
        assert_eq!(level(30_000), Some(Level::Warning));
        assert_eq!(level(-61_000), Some(Level::Failed));
        let told = skew("https://id.example", -61_000).unwrap().text;
        assert!(told.contains("61 s behind this machine's"), "{told}");
    }
}
