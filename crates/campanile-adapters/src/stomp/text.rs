//! The text of a body as bytes. ActiveMQ Classic keeps a TextMessage in Java's own UTF-8, where a character beyond
//! U+FFFF is two surrogates of three bytes each: a Java listener can't read such a character in true UTF-8 at all
//! (`UTFDataFormatException`), and what Java sends arrives here in that form. Signatures are over the text, so both
//! ways are undone here, and nobody above knows.

use std::borrow::Cow;

/// How a broker wants text beyond U+FFFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As the standard says.
    Utf8,
    /// As Java does: surrogates, each in three bytes.
    Java,
}

impl Encoding {
    /// By the name that the broker gives itself: `ActiveMQ/5.17.2`, but not `ActiveMQ-Artemis/2.30.0`.
    pub(super) fn of(server: &str) -> Self {
        if server.starts_with("ActiveMQ/") {
            Self::Java
        } else {
            Self::Utf8
        }
    }

    /// The bytes of a body: at most half as many again as in UTF-8.
    pub(super) fn bytes(self, text: &str) -> Cow<'_, [u8]> {
        // Only characters of four bytes differ, and only those have a byte from here up.
        if self == Self::Utf8 || !text.bytes().any(|b| b >= 0xf0) {
            return Cow::Borrowed(text.as_bytes());
        }
        let mut out = Vec::with_capacity(text.len() + text.len() / 2);
        for c in text.chars() {
            if c.len_utf8() < 4 {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                let low_bits = |shift: u16| 0x80 | (*unit >> shift & 0x3f) as u8;
                out.extend([0xed, low_bits(6), low_bits(0)]);
            }
        }
        Cow::Owned(out)
    }
}

/// The text of a body, in whichever form it came; what is neither is replaced.
pub(super) fn read(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        if let Some((c, tail)) = java_only(rest) {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = tail;
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A character that only Java writes so: NUL in two bytes, or a pair of surrogates.
fn java_only(bytes: &[u8]) -> Option<(char, &[u8])> {
    match bytes {
        [0xc0, 0x80, tail @ ..] => Some(('\0', tail)),
        [
            0xed,
            a @ 0xa0..=0xaf,
            b,
            0xed,
            c @ 0xb0..=0xbf,
            d,
            tail @ ..,
        ] => {
            let unit =
                |high: u8, low: u8| 0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f);
            let pair = [unit(*a, *b), unit(*c, *d)];
            let c = char::decode_utf16(pair).next()?.ok()?;
            let continued = [b, d].iter().all(|byte| **byte & 0xc0 == 0x80);
            continued.then_some((c, tail))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn java_writes_surrogates_and_two_bytes_for_nul() {
        let crab = [0xed, 0xa0, 0xbe, 0xed, 0xb6, 0x80];
        assert_eq!(Encoding::Java.bytes("🦀").as_ref(), crab);
        assert_eq!(Encoding::Utf8.bytes("🦀").as_ref(), "🦀".as_bytes());
        assert_eq!(read(&crab), "🦀");
        assert_eq!(read(b"a\xc0\x80b"), "a\0b");
        assert_eq!(
            read(b"a\xffb\xed\xa0\xbe"),
            "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn only_classic_wants_it() {
        assert_eq!(Encoding::of("ActiveMQ/5.17.2"), Encoding::Java);
        assert_eq!(
            Encoding::of("ActiveMQ-Artemis/2.30.0 ActiveMQ"),
            Encoding::Utf8
        );
        assert_eq!(Encoding::of("RabbitMQ/3.10.8"), Encoding::Utf8);
    }

    proptest! {
        #[test]
        fn every_text_survives_both_ways(text in any::<String>()) {
            for encoding in [Encoding::Utf8, Encoding::Java] {
                let bytes = encoding.bytes(&text);
                prop_assert!(bytes.len() <= text.len() / 2 * 3 + 3);
                prop_assert_eq!(read(&bytes), text.clone());
            }
        }

        #[test]
        fn noise_is_read_as_something(noise in proptest::collection::vec(prop_oneof![
            Just(0xed_u8), Just(0xa0), Just(0xb0), Just(0xc0), Just(0x80), any::<u8>(),
        ], 0..50)) {
            read(&noise);
        }
    }
}
