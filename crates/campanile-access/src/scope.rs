//! Where somebody may act: tasks by the beginning of their names, by owner, or by queue. A scope is a few entries, of which
//! any is enough; without entries it is everything. What is asked for is a [`Thing`]: a task, a run, a queue.

use std::fmt;
use std::str::FromStr;

use campanile_schedule::{Invalid, check_name};
use serde::{Deserialize, Serialize};

/// Entries of one scope.
pub const ENTRIES_MAX: usize = 32;

/// What is in a scope or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thing<'a> {
    /// The task's name; `None` = it has no task.
    pub task: Option<&'a str>,
    /// The task's owner.
    pub owner: Option<&'a str>,
    /// The queue.
    pub queue: Option<&'a str>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Entry {
    Prefix(String),
    Owner(String),
    Queue(String),
}

impl Entry {
    const fn parts(&self) -> (&'static str, &String) {
        match self {
            Self::Prefix(text) => ("prefix", text),
            Self::Owner(text) => ("owner", text),
            Self::Queue(text) => ("queue", text),
        }
    }

    fn holds(&self, thing: &Thing<'_>) -> bool {
        match self {
            Self::Prefix(prefix) => thing.task.is_some_and(|name| name.starts_with(prefix)),
            Self::Owner(owner) => thing.owner == Some(owner),
            Self::Queue(queue) => thing.queue == Some(queue),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(short), Self::Prefix(long)) => long.starts_with(short),
            (one, other) => one == other,
        }
    }
}

/// Where somebody may act.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Scope(Vec<Entry>);

impl Scope {
    /// Everywhere.
    pub const ALL: Self = Self(Vec::new());

    /// Of texts: `prefix:billing-`, `owner:finance`, `queue:mail`. Of none it is everywhere.
    ///
    /// # Errors
    /// `scope`, with the entry that is none.
    pub fn of<T: AsRef<str>>(texts: &[T]) -> Result<Self, Invalid> {
        if texts.len() > ENTRIES_MAX {
            let message = format!(
                "{} entries are too many: write up to {ENTRIES_MAX}",
                texts.len()
            );
            return Err(Invalid::new("scope", message));
        }
        let mut entries = texts
            .iter()
            .map(|text| entry(text.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        entries.dedup();
        Ok(Self(entries))
    }

    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a thing is in it.
    #[must_use]
    pub fn holds(&self, thing: &Thing<'_>) -> bool {
        self.is_all() || self.0.iter().any(|entry| entry.holds(thing))
    }

    /// Whether a task may be given this owner by who has this scope.
    #[must_use]
    pub fn gives(&self, owner: &str) -> bool {
        let is_owner = |entry: &Entry| matches!(entry, Entry::Owner(of) if of == owner);
        self.is_all() || self.0.iter().any(is_owner)
    }

    /// Whether everything that is in the other is in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_covered = |entry: &Entry| self.0.iter().any(|own| own.covers(entry));
        self.is_all() || (!other.is_all() && other.0.iter().all(is_covered))
    }

    /// As it is written.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.clone().into()
    }
}

fn entry(text: &str) -> Result<Entry, Invalid> {
    let (kind, what) = text.split_once(':').unwrap_or((text, ""));
    let entry = match kind {
        "prefix" => Entry::Prefix(what.to_owned()),
        "owner" => Entry::Owner(what.to_owned()),
        "queue" => Entry::Queue(what.to_owned()),
        _ => {
            let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
            let message = format!(
                "`{shown}` can't be read: write `prefix:` and the beginning of tasks' names, `owner:` or `queue:` and a name"
            );
            return Err(Invalid::new("scope", message));
        }
    };
    // A dot may end a beginning, where it ends no name.
    let name = match &entry {
        Entry::Prefix(prefix) => prefix.strip_suffix('.').unwrap_or(prefix),
        Entry::Owner(name) | Entry::Queue(name) => name,
    };
    check_name("scope", name)?;
    Ok(entry)
}

impl TryFrom<Vec<String>> for Scope {
    type Error = Invalid;

    fn try_from(texts: Vec<String>) -> Result<Self, Invalid> {
        Self::of(&texts)
    }
}

impl From<Scope> for Vec<String> {
    fn from(scope: Scope) -> Self {
        let text = |entry: &Entry| {
            let (kind, what) = entry.parts();
            format!("{kind}:{what}")
        };
        scope.0.iter().map(text).collect()
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    /// Of entries with commas between them.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let texts: Vec<&str> = text.split(',').map(str::trim).collect();
        Self::of(&texts)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("everywhere");
        }
        write!(f, "within {}", self.texts().join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(texts: &[&str]) -> Scope {
        Scope::of(texts).unwrap()
    }

    fn task<'a>(name: &'a str, owner: Option<&'a str>, queue: &'a str) -> Thing<'a> {
        Thing {
            task: Some(name),
            owner,
            queue: Some(queue),
        }
    }

    #[test]
    fn any_entry_is_enough_and_none_is_everything() {
        let few = scope(&["prefix:bill-", "owner:finance", "queue:mail"]);
        for (thing, is_in) in [
            (task("bill-a", None, "default"), true),
            (task("bil", None, "default"), false),
            (task("a", Some("finance"), "default"), true),
            (task("a", Some("finance2"), "default"), false),
            (task("a", None, "mail"), true),
            (Thing::default(), false),
            (
                Thing {
                    queue: Some("mail"),
                    ..Thing::default()
                },
                true,
            ),
        ] {
            assert_eq!(few.holds(&thing), is_in, "{thing:?}");
            assert!(Scope::ALL.holds(&thing));
        }
    }

    #[test]
    fn an_owner_is_given_by_who_has_it() {
        assert!(Scope::ALL.gives("x") && scope(&["owner:x"]).gives("x"));
        assert!(!scope(&["owner:x"]).gives("y") && !scope(&["prefix:x"]).gives("x"));
    }

    #[test]
    fn a_scope_covers_what_lies_in_it() {
        let wide = scope(&["prefix:b", "owner:x"]);
        assert!(wide.covers(&scope(&["prefix:bill-"])) && wide.covers(&wide));
        assert!(wide.covers(&scope(&["owner:x", "prefix:b2"])));
        assert!(!wide.covers(&scope(&["prefix:a"])) && !wide.covers(&Scope::ALL));
        assert!(!wide.covers(&scope(&["prefix:b", "queue:q"])));
        assert!(Scope::ALL.covers(&wide) && Scope::ALL.covers(&Scope::ALL));
    }

    #[test]
    fn what_is_no_entry_is_refused_by_its_text() {
        for text in [
            "",
            "all",
            "prefix:",
            "owner:",
            "queue:a b",
            "label:x",
            "prefix:-a",
            "owner:.a",
        ] {
            assert_eq!(Scope::of(&[text]).unwrap_err().field, "scope", "{text}");
        }
        assert!(Scope::of(&["prefix:com.acme."]).is_ok());
        assert!(Scope::of(&vec!["queue:a"; ENTRIES_MAX + 1]).is_err());
        let read: Scope = "owner:b, owner:a,owner:b".parse().unwrap();
        assert_eq!(read.texts(), ["owner:a", "owner:b"]);
    }
}
