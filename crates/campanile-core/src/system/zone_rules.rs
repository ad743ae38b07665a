//! Which zone rules this process computes with: the release of the zone database, and a fingerprint of what it says. Owns
//! the reading of the database's own release file; what the rules say is [`campanile_schedule::zone_fingerprint`]'s.

use std::sync::OnceLock;

use campanile_schedule::zone_fingerprint;

/// Where systems keep which release their zone database is, and what the line begins with.
const RELEASES: &[(&str, &str)] = &[
    ("/usr/share/zoneinfo/tzdata.zi", "# version "),
    ("/usr/share/zoneinfo/+VERSION", ""),
];

/// The zone rules of this process, as in `2025b 1f0c9a5d`: two nodes with the same text compute the same instants. Read
/// and computed once, on first use.
#[must_use]
pub fn zone_rules() -> &'static str {
    static RULES: OnceLock<String> = OnceLock::new();
    RULES.get_or_init(|| format!("{} {:08x}", release(), zone_fingerprint()))
}

/// The release of the system's zone database; `bundled` where there is none and the copy in this program speaks.
fn release() -> String {
    let read = |(path, prefix): &(&str, &str)| {
        let text = std::fs::read_to_string(path).ok()?;
        let line = text.lines().next()?.strip_prefix(prefix)?;
        Some(line.chars().take(20).collect::<String>())
    };
    RELEASES
        .iter()
        .find_map(read)
        .unwrap_or_else(|| "bundled".to_owned())
}

#[cfg(test)]
#[path = "../../tests/decide/zone_rules_tests.rs"]
mod tests;
