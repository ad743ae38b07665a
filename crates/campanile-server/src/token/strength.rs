//! Which texts are too weak to be a token. The measure is an estimate of how many tries somebody needs who knows how
//! people choose: words, dates, walks over the keyboard, sequences and repeats count for what they are, and only the rest
//! as random. It errs on the careful side: a token is generated, not thought up.

use std::collections::HashSet;

/// Fewer characters are no token.
const CHARS_MIN: usize = 16;
/// More are none either.
const CHARS_MAX: usize = 1_024;
/// The least that a token is worth. A random text of 16 hexadecimal digits has 64.
const BITS_MIN: f64 = 56.0;
/// A letter within a word that is in no list.
const LETTER_OF_WORD_BITS: f64 = 3.5;
/// From so many letters in a row on, letters are taken for a word.
const WORD_CHARS_MIN: usize = 4;
/// From so many characters on, sequences and walks are worth looking for.
const PATTERN_CHARS_MIN: usize = 3;
/// Of a text so long, more is not looked at: it is worth enough, or is a repeat.
const LOOKED_AT: usize = 128;

const WORDS: &str = include_str!("../../assets/common-words.txt");

/// Neighbours on keyboards, in both directions.
const WALKS: &[&str] = &[
    "1234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "!@#$%^&*()",
    "147258369",
    "159357",
];

/// How to make a good one.
pub const ADVICE: &str = "generate one with `head -c 32 /dev/urandom | base64`";

/// Whether a text may be a token.
///
/// # Errors
/// Why not, and what to do. The text is not repeated.
pub fn check(text: &str) -> Result<(), String> {
    let chars = text.chars().count();
    if chars < CHARS_MIN {
        return Err(format!(
            "is too short to be safe: a token has {CHARS_MIN} characters or more; {ADVICE}"
        ));
    }
    if chars > CHARS_MAX {
        return Err(format!(
            "is longer than {CHARS_MAX} characters, which a header can't carry everywhere: {ADVICE}"
        ));
    }
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(format!(
            "holds characters that a header can't carry: {ADVICE}"
        ));
    }
    if bits(text) < BITS_MIN {
        return Err(format!(
            "is too easy to guess (words, repeats, sequences): {ADVICE}"
        ));
    }
    Ok(())
}

/// Fewer characters are no password.
const PASSWORD_CHARS_MIN: usize = 12;
/// More bytes are none either.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// The least that a password is worth: it is hashed slowly and tried seldom, so it may be worth less than a token.
const PASSWORD_BITS_MIN: f64 = 40.0;

/// Whether a text may be the password of the user of this name.
///
/// # Errors
/// Why not, and what to do. The text is not repeated.
pub fn check_password(text: &str, user: &str) -> Result<(), String> {
    const ADVICE: &str = "let a password manager make one, or take four or five words that have nothing to do with each other";
    if text.chars().count() < PASSWORD_CHARS_MIN {
        return Err(format!(
            "is too short: a password has {PASSWORD_CHARS_MIN} characters or more; {ADVICE}"
        ));
    }
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(format!("is longer than {PASSWORD_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds characters that can't be typed".to_owned());
    }
    // The name is the first thing that is tried.
    let low = text.to_lowercase();
    let rest = if user.len() < PATTERN_CHARS_MIN {
        low.clone()
    } else {
        low.replace(user, "")
    };
    if bits(text) < PASSWORD_BITS_MIN || (rest != low && bits(&rest) < PASSWORD_BITS_MIN) {
        return Err(format!(
            "is too easy to guess (words, repeats, sequences, the user's name): {ADVICE}"
        ));
    }
    Ok(())
}

/// An estimate of a text's worth, in bits: the cheapest way to put it together from what people use.
#[must_use]
pub fn bits(text: &str) -> f64 {
    let chars: Vec<char> = text.chars().take(LOOKED_AT).collect();
    let low: Vec<char> = chars.iter().map(|c| plain(*c)).collect();
    let each = alphabet(&chars).log2();
    let words: HashSet<&str> = WORDS.lines().collect();
    let mut best = vec![0.0_f64];
    for end in 1..=chars.len() {
        let mut cheapest = best[end - 1] + each;
        for start in 0..end {
            let (part, low) = (&chars[start..end], &low[..end]);
            if let Some(cost) = piece(part, low, each, &words) {
                cheapest = cheapest.min(best[start] + cost);
            }
        }
        best.push(cheapest);
    }
    best.last().copied().unwrap_or(0.0)
}

/// A letter as a guesser reads it: small, and with the usual disguises taken off.
fn plain(c: char) -> char {
    match c.to_ascii_lowercase() {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        c => c,
    }
}

/// How many characters a random text like this would be chosen from.
fn alphabet(chars: &[char]) -> f64 {
    let any = |of: fn(&char) -> bool| chars.iter().any(of);
    if chars.iter().all(char::is_ascii_digit) {
        return 10.0;
    }
    if chars.iter().all(|c| c.is_ascii_hexdigit() || *c == '-') {
        return 16.0;
    }
    [
        (any(char::is_ascii_lowercase), 26.0),
        (any(char::is_ascii_uppercase), 26.0),
        (any(char::is_ascii_digit), 10.0),
        (any(char::is_ascii_punctuation), 12.0),
    ]
    .iter()
    .filter(|(there, _)| *there)
    .map(|(_, size)| size)
    .sum()
}

/// What the part at the end is worth if it is something that people use. `low` is all up to its end, folded.
fn piece(part: &[char], low: &[char], each: f64, words: &HashSet<&str>) -> Option<f64> {
    let length = part.len();
    let (before, end) = low.split_at(low.len() - length);
    let long = f64::from(u32::try_from(length).unwrap_or(u32::MAX)).log2();
    if length >= 2 && part.iter().all(|c| *c == part[0]) {
        return Some(each + long);
    }
    let folded: String = end.iter().collect();
    let small: String = part.iter().map(char::to_ascii_lowercase).collect();
    if words.contains(folded.as_str()) || words.contains(small.as_str()) {
        return Some(8.0);
    }
    if length < PATTERN_CHARS_MIN {
        return None;
    }
    if is_sequence(part) || is_walk(&small) {
        return Some(5.0 + long);
    }
    if length == 4 && (small.starts_with("19") || small.starts_with("20")) && is_digits(part) {
        return Some(7.0);
    }
    if let Some(at) = seen_before(before, end) {
        return Some(long + f64::from(u32::try_from(at + 1).unwrap_or(u32::MAX)).log2());
    }
    let one_case = part[1..].iter().all(char::is_ascii_lowercase) && part[0].is_ascii_alphabetic();
    let one_case = one_case || part.iter().all(char::is_ascii_uppercase);
    if length >= WORD_CHARS_MIN && one_case {
        let letters = f64::from(u32::try_from(length).unwrap_or(u32::MAX));
        return Some(letters * LETTER_OF_WORD_BITS.min(each));
    }
    None
}

/// How far back the same characters stand, forwards or backwards.
fn seen_before(before: &[char], part: &[char]) -> Option<usize> {
    before.windows(part.len()).rev().position(|window| {
        let forwards = window == part;
        forwards || window.iter().rev().eq(part.iter())
    })
}

fn is_digits(part: &[char]) -> bool {
    part.iter().all(char::is_ascii_digit)
}

/// Whether each character is as far from the next as the first from the second, and near.
fn is_sequence(part: &[char]) -> bool {
    let step = |pair: &[char]| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0]));
    let first = step(&part[..2]);
    (1..=2).contains(&first.abs()) && part.windows(2).all(|pair| step(pair) == first)
}

fn is_walk(text: &str) -> bool {
    let backwards: String = text.chars().rev().collect();
    WALKS
        .iter()
        .any(|walk| walk.contains(text) || walk.contains(&backwards))
}

#[cfg(test)]
mod tests {
    use campanile_core::system::Random;

    use super::*;

    #[test]
    fn what_people_think_up_is_refused() {
        for text in [
            "passwordpassword",
            "changeme-changeme",
            "1234567890123456",
            "0123456789abcdefgh",
            "0123456789abcdef",
            "qwertyuiopasdfghjkl",
            "1qaz2wsx3edc4rfv",
            "1q2w3e4r5t6y7u8i",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababab",
            "abcdefghijklmnopqrstuvwxyz",
            "zyxwvutsrqponmlkji",
            "P@ssw0rd-P@ssw0rd",
            "Password12345678",
            "campanile-token-2026",
            "my-secret-token-1",
            "supersecrettoken!",
            "admin123admin123admin123",
            "token-for-testing",
            "letmein-letmein-1",
            "0000000000000000000000001",
            "deadbeefdeadbeefdeadbeef",
            "MyCompanyToken2026!",
            "insert-your-token-here",
            "20260101-20261231",
        ] {
            let said = check(text).expect_err(text);
            assert!(said.contains("head -c 32 /dev/urandom"), "{said}");
            assert!(!said.contains(text), "{said}");
        }
        assert!(check("short").unwrap_err().contains("too short"));
        assert!(check(&"a b".repeat(9)).unwrap_err().contains("header"));
        assert!(check(&"x1Y".repeat(500)).unwrap_err().contains("longer"));
    }

    #[test]
    fn a_password_is_long_and_not_easy() {
        for text in [
            "passwordpassword",
            "Password1234",
            "changeme-changeme",
            "qwertyuiop12",
            "aaaaaaaaaaaaaaa",
            "123456789012",
            "ada.lovelace.ada.lovelace",
            "letmein12345",
        ] {
            let said = check_password(text, "ada.lovelace").expect_err(text);
            assert!(said.contains("easy") && !said.contains(text), "{said}");
        }
        assert!(
            check_password("x7#Kq", "ada")
                .unwrap_err()
                .contains("too short")
        );
        assert!(
            check_password(&"a7".repeat(600), "ada")
                .unwrap_err()
                .contains("longer")
        );
        for text in [
            "staple vulture oblong ferry",
            "mVb8-tqZ2-xLr6",
            "Straße über ödem Föhn",
            "7d2f90ab13ce45",
        ] {
            check_password(text, "ada").unwrap();
        }
    }

    #[test]
    fn what_is_generated_is_taken() {
        let random = Random::from_seed(7);
        for _ in 0..30 {
            let whole = random.secret();
            check(&hex::encode(whole)).unwrap();
            check(&hex::encode(&whole[..10])).unwrap();
            let letters: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let base64: String = whole
                .iter()
                .map(|b| char::from(letters[usize::from(*b) % 64]))
                .collect();
            check(&base64).unwrap();
            check(&base64[..16]).unwrap();
            check(&super::super::generate(&random)).unwrap();
        }
        check("f81d4fae-7dec-41d0-a765-00a0c91e6bf6").unwrap();
    }
}
