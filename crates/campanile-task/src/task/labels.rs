//! Labels of a task: what people call it by, to find it and its like. Owns what a valid label is, and how one is asked for
//! (`team=billing`); it never looks for tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use campanile_schedule::Invalid;

use crate::limits;

/// A label that tasks are looked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    key: String,
    value: String,
}

impl Label {
    /// # Errors
    /// `label`, with what a label may be.
    pub fn new(key: &str, value: &str) -> Result<Self, Invalid> {
        check_label("label", key, value)?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    /// Reads several, in one text: `team=billing,tier=1`.
    ///
    /// # Errors
    /// `label`, with the first that is none, or too many.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Invalid> {
        let mut all: Vec<Self> = Vec::new();
        for one in text.split(',') {
            let one: Self = one.trim().parse()?;
            if !all.contains(&one) {
                all.push(one);
            }
            if all.len() > limits::LABELS_ASKED_MAX {
                let message = format!(
                    "more than {} labels at once: leave some out",
                    limits::LABELS_ASKED_MAX
                );
                return Err(Invalid::new("label", message));
            }
        }
        Ok(all)
    }

    /// Whether a task with these labels has it.
    #[must_use]
    pub fn is_of(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key) == Some(&self.value)
    }
}

impl FromStr for Label {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((key, value)) = text.split_once('=') else {
            let shown: String = text.chars().take(40).collect();
            let message = format!(
                "`{}` names no value: write it as in team=billing",
                shown.escape_debug()
            );
            return Err(Invalid::new("label", message));
        };
        Self::new(key, value)
    }
}

impl fmt::Display for Label {
    /// `team=billing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// Checks all labels of a task.
pub(super) fn check(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let (count, most) = (labels.len(), limits::LABELS_MAX);
    if count > most {
        let message = format!("{count} labels are over the limit of {most}: write fewer");
        return Err(Invalid::new("labels", message));
    }
    labels
        .iter()
        .try_for_each(|(key, value)| check_label("labels", key, value))
}

/// Checks the key of a label.
///
/// # Errors
/// The field, with what a key may be.
pub fn check_label_key(field: &str, key: &str) -> Result<(), Invalid> {
    let most = limits::LABEL_KEY_BYTES_MAX;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let begins = key
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && key.len() <= most && key.bytes().all(plain) {
        return Ok(());
    }
    let shown: String = key.chars().take(40).collect();
    let message = format!(
        "`{}` is not the key of a label: write a letter or digit, then letters, digits, `.`, `_`, `-` and `/`, {most} bytes at most",
        shown.escape_debug()
    );
    Err(Invalid::new(field, message))
}

fn check_label(field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    check_label_key(field, key)?;
    let most = limits::LABEL_VALUE_BYTES_MAX;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+".contains(&b);
    if value.len() <= most && value.bytes().all(plain) {
        return Ok(());
    }
    let shown: String = value.chars().take(40).collect();
    let message = format!(
        "`{}` can't be the value of `{key}`: write letters, digits and `._-/:@+`, {most} bytes at most",
        shown.escape_debug()
    );
    Err(Invalid::new(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_plain_texts_within_their_limits() {
        let long = "k".repeat(limits::LABEL_KEY_BYTES_MAX + 1);
        for (key, value, expected) in [
            ("team", "billing", ""),
            ("app.kubernetes.io/name", "a:b@c+d/e", ""),
            ("tier", "", ""),
            ("", "x", "not the key"),
            ("-a", "x", "not the key"),
            ("a b", "x", "not the key"),
            ("a=b", "x", "not the key"),
            (long.as_str(), "x", "63 bytes at most"),
            ("team", "a,b", "can't be the value of `team`"),
            ("team", "a b", "can't be the value"),
            ("team", "zoë", "can't be the value"),
            ("team", "a\n", "can't be the value"),
        ] {
            match Label::new(key, value) {
                Ok(_) => assert_eq!(expected, "", "{key}={value}"),
                Err(e) => assert!(
                    !expected.is_empty() && e.to_string().contains(expected),
                    "{key}={value}: {e}"
                ),
            }
        }
        let many: BTreeMap<String, String> = (0..=limits::LABELS_MAX)
            .map(|n| (format!("k{n}"), String::new()))
            .collect();
        assert!(
            check(&many)
                .unwrap_err()
                .to_string()
                .contains("over the limit")
        );
    }

    #[test]
    fn several_labels_are_asked_for_in_one_text() {
        let all = Label::parse_all("team=billing, tier=1,team=billing").unwrap();
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["team=billing", "tier=1"]);
        let labels = BTreeMap::from([("team".to_owned(), "billing".to_owned())]);
        assert!(all[0].is_of(&labels) && !all[1].is_of(&labels));
        for (text, part) in [
            ("", "names no value"),
            ("team", "names no value"),
            ("team=a,", "names no value"),
            ("=a", "not the key"),
        ] {
            let said = Label::parse_all(text).unwrap_err().to_string();
            assert!(said.contains(part), "{text}: {said}");
        }
        let many: Vec<String> = (0..=limits::LABELS_ASKED_MAX)
            .map(|n| format!("k{n}=v"))
            .collect();
        assert!(Label::parse_all(&many.join(",")).is_err());
    }
}
