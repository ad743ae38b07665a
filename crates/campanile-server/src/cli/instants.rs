//! Instants that are typed: with their offset, or as a wall time of the zone that `--tz` names. What is refused is named by
//! its flag.

use campanile_core::system;
use campanile_schedule::instant::parse as parse_instant;
use campanile_schedule::time::Timestamp;

use super::Failure;
use super::out::Out;

/// Reads the value of a flag (or of a word, by its name in the usage).
///
/// # Errors
/// The flag, and what would be right.
pub fn instant(flag: &str, text: &str, out: Out) -> Result<Timestamp, Failure> {
    read(text, out.zone, system::wall_now())
        .map_err(|message| Failure::Usage(format!("{flag}: {message}")))
}

/// The same, as it is sent.
///
/// # Errors
/// As [`instant`].
pub fn typed(flag: &str, text: &str, out: Out) -> Result<String, Failure> {
    instant(flag, text, out).map(|at| at.to_string())
}

/// The same of one that may be absent.
///
/// # Errors
/// As [`typed`].
pub fn typed_or_none(
    flag: &str,
    text: Option<&String>,
    out: Out,
) -> Result<Option<String>, Failure> {
    text.map(|text| typed(flag, text, out)).transpose()
}

fn read(text: &str, zone: Option<&str>, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = match Timestamp::parse(text) {
        Ok(at) => return Ok(at),
        Err(wrong) => wrong,
    };
    let Ok(wall) = parse_instant(text, zone.unwrap_or("UTC"), now) else {
        return Err(wrong);
    };
    if zone.is_some() {
        return Ok(wall);
    }
    Err(format!(
        "`{text}` is a wall time: say whose with --tz ZONE, or write its offset, as in 2026-12-01T08:00:00+01:00"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_needs_a_zone_and_an_instant_none() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        let berlin = Some("Europe/Berlin");
        for (text, zone, expected) in [
            (
                "2026-11-22T02:30:00+01:00",
                None,
                Ok("2026-11-22T01:30:00.000Z"),
            ),
            ("2026-11-22T02:30", berlin, Ok("2026-11-22T01:30:00.000Z")),
            ("02:30", berlin, Ok("2026-11-22T01:30:00.000Z")),
            ("2026-11-22", berlin, Ok("2026-11-21T23:00:00.000Z")),
            ("02:30", None, Err("say whose with --tz ZONE")),
            ("2026-11-22", None, Err("say whose with --tz ZONE")),
            ("tomorrow", None, Err("is not an instant")),
            ("tomorrow", berlin, Err("is not an instant")),
            (
                "9999-12-31T23:59:59Z",
                None,
                Err("is out of range: write an instant from 0001-01-01"),
            ),
        ] {
            let got = read(text, zone, now).map(|at| at.to_string());
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
                (Err(got), Err(part)) => assert!(got.contains(part), "{text}: {got}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
