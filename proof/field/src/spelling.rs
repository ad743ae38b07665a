//! How instants and ids are spelled where the product shows them, written down again: a judge that borrowed the product's
//! own code would repeat its mistakes.

/// Milliseconds since 1970 as a UTC instant, by the civil calendar.
pub fn rfc3339(ms: i64) -> String {
    let (seconds, millis) = (ms.div_euclid(1_000), ms.rem_euclid(1_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 0000-03-01, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The number of an id as messages and headers spell it: Crockford's base 32.
pub fn id_of(spelled: &str) -> Option<i64> {
    const DIGITS: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    if spelled.len() != 13 {
        return None;
    }
    spelled.chars().try_fold(0_i64, |number, digit| {
        let value = i64::try_from(DIGITS.find(digit)?).ok()?;
        number.checked_mul(32)?.checked_add(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_spelled_by_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn ids_are_read_as_they_are_spelled() {
        assert_eq!(id_of("0000000000000"), Some(0));
        assert_eq!(id_of("0000000000010"), Some(32));
        assert_eq!(id_of("7zzzzzzzzzzzz"), Some(i64::MAX));
        assert_eq!(id_of("zzzzzzzzzzzzz"), None);
        assert_eq!(id_of("00000000000u0"), None);
    }
}
