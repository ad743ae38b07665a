//! What the zone rules of this process say, as one number: where two machines have the same, they compute the same
//! instants. Rules come from `jiff`, which finds them where it looks for them; no clock. Beside it, the release that the
//! database's own file names.

use std::sync::OnceLock;

use jiff::tz::{TimeZone, db};

/// Where systems keep which release their zone database is, and what the line begins with.
const RELEASES: &[(&str, &str)] = &[
    ("/usr/share/zoneinfo/tzdata.zi", "# version "),
    ("/usr/share/zoneinfo/+VERSION", ""),
];

/// The stretch over which rules are compared: 2020 to 2038, in seconds since the epoch.
const FROM_S: i64 = 1_577_836_800;
const UNTIL_S: i64 = 2_145_916_800;

/// A fingerprint of the zone database that this process computes with: FNV-1a over the names of all zones and their
/// changes of offset from 2020 to 2038. It takes some milliseconds: keep the answer.
#[must_use]
pub fn zone_fingerprint() -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    let mut names: Vec<String> = db().available().map(|name| name.to_string()).collect();
    names.sort_unstable();
    for name in names {
        let (Ok(zone), Ok(from)) = (TimeZone::get(&name), jiff::Timestamp::from_second(FROM_S))
        else {
            continue;
        };
        take(name.as_bytes());
        take(&zone.to_offset(from).seconds().to_be_bytes());
        let changes = zone.following(from);
        for change in changes.take_while(|c| c.timestamp().as_second() < UNTIL_S) {
            take(&change.timestamp().as_second().to_be_bytes());
            take(&change.offset().seconds().to_be_bytes());
        }
    }
    u32::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).unwrap_or(0)
}

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
mod tests {
    use super::*;

    #[test]
    fn rules_are_named_by_release_and_content() {
        let (release, print) = zone_rules().split_once(' ').unwrap();
        assert!(!release.is_empty() && print.len() == 8, "{}", zone_rules());
        assert_eq!(zone_rules(), zone_rules());
    }
}
