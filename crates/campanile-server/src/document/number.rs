//! Numbers as they were written: kept exactly, or refused. Owns the one rule of it, for all forms.
//!
//! Whole numbers from -2^63 to 2^64 - 1 are kept as they are. Any other is kept as a double, and only if the double
//! says the same: 0.1 is 0.1 again when it is written out, 123456789012345678901234567890 is not.

use serde_json::Number;

/// Digits of a number that is looked at: a double needs 17, and the rest may be zeros.
const CHARS_MAX: usize = 400;

/// Reads a decimal number.
///
/// # Errors
/// What is wrong with it, and what to write.
pub(super) fn read(text: &str) -> Result<Number, String> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(n) = plain.parse::<i64>()
        && (n != 0 || !plain.starts_with('-'))
    {
        return Ok(n.into());
    }
    if let Ok(n) = plain.parse::<u64>() {
        return Ok(n.into());
    }
    let shown: String = text.chars().take(40).collect();
    if text.len() > CHARS_MAX {
        return Err(format!(
            "the number {shown}… is too long: write it as a text"
        ));
    }
    let double: f64 = plain
        .parse()
        .map_err(|_| format!("`{shown}` is not a number"))?;
    let number = Number::from_f64(double).ok_or_else(|| {
        format!("the number {shown} is larger than any number here can be: write it as a text, \"{shown}\"")
    })?;
    if decimal(plain) == decimal(&format!("{double:e}")) {
        return Ok(number);
    }
    Err(format!(
        "the number {shown} can't be kept exactly, it would become {number}: write it as a text, \"{shown}\""
    ))
}

/// What is no number to JSON, in the words of the form that it was written in.
pub(super) fn not_finite(text: &str) -> String {
    format!(
        "`{text}` is not a number that a task can hold: write a finite number, or a text, \"{text}\""
    )
}

/// Sign, digits without zeros around them, and the exponent of the last digit.
fn decimal(text: &str) -> (bool, String, i64) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent
        .trim_start_matches('+')
        .parse()
        .unwrap_or(i64::MAX / 4);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let shift = i64::try_from(zeros).unwrap_or(0) - i64::try_from(fraction.len()).unwrap_or(0);
    (
        negative,
        significant.to_owned(),
        exponent.saturating_add(shift),
    )
}
