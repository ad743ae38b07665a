//! Classes of failures, and the words with which a task names them in `retry.on` and `retry.never_on`. Owns their
//! spelling; what a class means for a run is `decide::attempt::conclude`'s decision.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use campanile_schedule::Invalid;
use campanile_schedule::limits::NAME_BYTES_MAX;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::limits;

/// What kind of failure ended an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Class {
    /// A failure to which its handler gave no class.
    #[default]
    Error,
    /// An HTTP target answered with this status.
    Status(u16),
    /// A program ended with this exit status.
    Exit(i32),
    /// A program was ended by this signal.
    Signal(i32),
    /// The attempt took longer than the task's timeout.
    Timeout,
    /// No connection to the target.
    Connect,
    /// The target was connected to and gave no whole answer.
    Broken,
    /// The target's certificate or its TLS was not accepted.
    Tls,
    /// The target's name has no address.
    Dns,
    /// The handler panicked.
    Panic,
    /// The worker died with the attempt.
    Lost,
    /// The worker's own settings don't allow it.
    NotAllowed,
    /// A class of a native handler's own.
    Named(Cow<'static, str>),
}

/// The classes without a number, by their words.
const WORDS: [(&str, Class); 9] = [
    ("error", Class::Error),
    ("timeout", Class::Timeout),
    ("connect", Class::Connect),
    ("broken", Class::Broken),
    ("tls", Class::Tls),
    ("dns", Class::Dns),
    ("panic", Class::Panic),
    ("lost", Class::Lost),
    ("not-allowed", Class::NotAllowed),
];

/// All that `retry.on` and `retry.never_on` know, for people.
const KNOWN: &str = "a status (`503`, `5xx`, `500-504`), `exit:75`, `exit:64-78`, `signal:9`, `killed`, `timeout`, `connect`, \
     `broken`, `tls`, `dns`, `panic`, `lost`, `not-allowed`, `error`, `class:NAME`, or `default`";

impl Class {
    /// A class of a native handler's own; tasks name it as `class:NAME`. Letters, digits, `.`, `_` and `-`, as in
    /// every name; what is over [`NAME_BYTES_MAX`] is cut, any other character becomes `-`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let plain = |c: char| {
            if is_plain(c) { c } else { '-' }
        };
        let name: String = name.chars().take(NAME_BYTES_MAX).map(plain).collect();
        Self::Named(name.into())
    }
}

impl fmt::Display for Class {
    /// As a task names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Exit(code) => write!(f, "exit:{code}"),
            Self::Signal(signal) => write!(f, "signal:{signal}"),
            Self::Named(name) => write!(f, "class:{name}"),
            word => {
                let found = WORDS.iter().find(|(_, class)| class == word);
                f.write_str(found.map_or("error", |(text, _)| text))
            }
        }
    }
}

const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// One entry of a list of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Statuses(RangeInclusive<u16>),
    Exits(RangeInclusive<i32>),
    Signals(RangeInclusive<i32>),
    One(Class),
    Default,
}

impl Pattern {
    fn read(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self::Default);
        }
        if text == "killed" {
            return Ok(Self::Signals(1..=64));
        }
        if let Some((_, class)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(Self::One(class.clone()));
        }
        if let Some(codes) = text.strip_prefix("exit:") {
            return range(codes, 1, 255)
                .map(Self::Exits)
                .ok_or_else(|| format!("`{text}` is no exit status that fails: write exit:1 to exit:255, or a range as in exit:64-78"));
        }
        if let Some(numbers) = text.strip_prefix("signal:") {
            return range(numbers, 1, 64).map(Self::Signals).ok_or_else(|| {
                format!("`{text}` is no signal: write signal:1 to signal:64, or `killed` for any")
            });
        }
        if let Some(name) = text.strip_prefix("class:") {
            return if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain)
            {
                Ok(Self::One(Class::Named(name.to_owned().into())))
            } else {
                Err(format!(
                    "`{}` names no class: write class: and letters, digits, `.`, `_`, `-`",
                    shown(text)
                ))
            };
        }
        Self::statuses(text).ok_or_else(|| format!("`{}` is not known: write {KNOWN}", shown(text)))
    }

    fn statuses(text: &str) -> Option<Self> {
        let hundreds = text.strip_suffix("xx").filter(|n| n.len() == 1);
        if let Some(n) = hundreds.and_then(|n| n.parse::<u16>().ok()) {
            return (1..=5)
                .contains(&n)
                .then(|| Self::Statuses(n * 100..=n * 100 + 99));
        }
        range(text, 100, 599).map(Self::Statuses)
    }

    fn names(&self, class: &Class) -> bool {
        match (self, class) {
            (Self::Statuses(range), Class::Status(status)) => range.contains(status),
            (Self::Exits(range), Class::Exit(code)) => range.contains(code),
            (Self::Signals(range), Class::Signal(signal)) => range.contains(signal),
            (Self::One(one), class) => one == class,
            _ => false,
        }
    }
}

/// `n` or `n-m`, within bounds.
fn range<T: Copy + PartialOrd + std::str::FromStr>(
    text: &str,
    least: T,
    most: T,
) -> Option<RangeInclusive<T>> {
    let digits = |text: &str| {
        let all = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
        all.then(|| text.parse().ok()).flatten()
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (digits(first)?, digits(last)?),
        None => (digits(text)?, digits(text)?),
    };
    (least <= first && first <= last && last <= most).then_some(first..=last)
}

fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// A list of classes as people write it: texts, and statuses as bare numbers too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Classes(Vec<String>);

impl Classes {
    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the list names this class. `is_default` says whether it is tried again where no list says anything:
    /// what the word `default` stands for.
    #[must_use]
    pub fn names(&self, class: &Class, is_default: bool) -> bool {
        self.0.iter().any(|text| match Pattern::read(text) {
            Ok(Pattern::Default) => is_default,
            Ok(pattern) => pattern.names(class),
            Err(_) => false,
        })
    }

    pub(super) fn check(&self, field: &str) -> Result<(), Invalid> {
        if self.0.len() > limits::RETRY_CLASSES_MAX {
            let (is, max) = (self.0.len(), limits::RETRY_CLASSES_MAX);
            return Err(Invalid::new(
                field,
                format!(
                    "has {is} entries, {max} are allowed: write ranges, as in 5xx or exit:64-78"
                ),
            ));
        }
        let wrong = self.0.iter().find_map(|text| Pattern::read(text).err());
        wrong.map_or(Ok(()), |message| Err(Invalid::new(field, message)))
    }
}

impl FromIterator<String> for Classes {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        Self(texts.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> de::Visitor<'de> for List {
            type Value = Classes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of classes of failures, as in [\"5xx\", \"timeout\"]")
            }

            fn visit_str<E: de::Error>(self, one: &str) -> Result<Classes, E> {
                Ok(Classes(vec![one.to_owned()]))
            }

            fn visit_u64<E: de::Error>(self, one: u64) -> Result<Classes, E> {
                Ok(Classes(vec![one.to_string()]))
            }

            fn visit_i64<E: de::Error>(self, one: i64) -> Result<Classes, E> {
                Ok(Classes(vec![one.to_string()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Classes, A::Error> {
                let mut all = Vec::new();
                while let Some(Classes(mut one)) = seq.next_element()? {
                    all.append(&mut one);
                }
                Ok(Classes(all))
            }
        }
        d.deserialize_any(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Classes {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    fn names(text: &str, class: &Class) -> bool {
        list(&[text]).names(class, false)
    }

    #[test]
    fn every_class_is_spelled_as_a_task_names_it() {
        let numbered = [
            Class::Status(503),
            Class::Exit(75),
            Class::Signal(9),
            Class::named("quota"),
        ];
        let words = WORDS.iter().map(|(_, class)| class.clone());
        for class in numbered.into_iter().chain(words) {
            let text = class.to_string();
            assert_eq!(list(&[&text]).check("retry.on"), Ok(()), "{text}");
            assert!(names(&text, &class), "{text}");
            let stranger = Class::named("another");
            assert!(!names(&text, &stranger), "{text}");
        }
    }

    #[test]
    fn ranges_reach_to_their_edges() {
        for (text, inside, outside) in [
            ("5xx", vec![500, 599], vec![499]),
            ("500-504", vec![500, 504], vec![499, 505]),
            ("429", vec![429], vec![428, 430]),
        ] {
            assert!(
                inside.iter().all(|s| names(text, &Class::Status(*s))),
                "{text}"
            );
            assert!(
                !outside.iter().any(|s| names(text, &Class::Status(*s))),
                "{text}"
            );
        }
        assert!(names("exit:64-78", &Class::Exit(78)) && !names("exit:64-78", &Class::Exit(79)));
        assert!(names("killed", &Class::Signal(15)) && !names("killed", &Class::Exit(15)));
        assert!(!names("503", &Class::Exit(503)));
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        for text in [
            "",
            "5x",
            "6xx",
            "0xx",
            "xx",
            "99",
            "600",
            "504-500",
            "500-",
            "-500",
            "+503",
            "0503",
            "5 xx",
            "5XX",
            "exit:",
            "exit:0",
            "exit:256",
            "exit:9-3",
            "exit:-1",
            "signal:0",
            "signal:65",
            "signal:KILL",
            "class:",
            "class:a b",
            "time-out",
            "Timeout",
            "503 ",
            "\u{7f}",
        ] {
            let refused = list(&[text]).check("retry.on").unwrap_err();
            assert_eq!(refused.field, "retry.on");
            assert!(refused.message.contains("write "), "{text}: {refused}");
        }
        let refused = list(&["time-out"]).check("retry.never_on").unwrap_err();
        for known in [
            "5xx", "exit:75", "signal:9", "killed", "timeout", "connect", "tls", "dns", "panic",
            "lost",
        ] {
            assert!(refused.message.contains(known), "{known}");
        }
        let many: Vec<String> = (0..=limits::RETRY_CLASSES_MAX)
            .map(|n| format!("exit:{}", n + 1))
            .collect();
        let many: Classes = many.into_iter().collect();
        assert!(
            many.check("retry.on")
                .unwrap_err()
                .message
                .contains("ranges")
        );
    }

    #[test]
    fn numbers_and_single_words_are_lists_too() {
        for (json, text) in [
            (r#"[503, "5xx"]"#, r#"["503","5xx"]"#),
            (r#""timeout""#, r#"["timeout"]"#),
            ("429", r#"["429"]"#),
        ] {
            let read: Classes = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        assert!(serde_json::from_str::<Classes>(r#"{"a": 1}"#).is_err());
    }

    #[test]
    fn a_handlers_own_class_can_be_named_whatever_it_calls_it() {
        assert_eq!(Class::named("over quota!").to_string(), "class:over-quota-");
        assert!(names("class:quota", &Class::named("quota")));
        assert!(!names("class:timeout", &Class::Timeout));
    }
}
