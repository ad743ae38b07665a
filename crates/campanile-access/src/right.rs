//! What may be done: a right for each kind of act, roles as sets of rights, and [`Rights`], which somebody holds: a role,
//! the right to see data beside it, and a scope. It knows no route and no function; those name the right that they need.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::scope::Scope;

/// One kind of act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// To look at tasks, runs and the cluster.
    See,
    /// To see what runs are given and give back: payloads, results, logs.
    Data,
    /// To start runs of tasks, or of native handlers; and to see and to cancel the runs that one started oneself.
    Submit,
    /// To act on tasks and runs that there are: pause, resume, cancel, retry, move, backfill, release.
    Operate,
    /// To say what runs: tasks, calendars, runs with an `http`, `command` or `external` handler of their own.
    Define,
    /// To set limits.
    Limit,
    /// To ask the leader to hand over, and to hold the cluster.
    Lead,
    /// To read the keys with which a queue's messages are signed.
    Keys,
    /// To say who may do what: tokens.
    People,
    /// To read the audit.
    Audit,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::See,
        Self::Data,
        Self::Submit,
        Self::Operate,
        Self::Define,
        Self::Limit,
        Self::Lead,
        Self::Keys,
        Self::People,
        Self::Audit,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Data => "data",
            Self::Submit => "submit",
            Self::Operate => "operate",
            Self::Define => "define",
            Self::Limit => "limit",
            Self::Lead => "lead",
            Self::Keys => "keys",
            Self::People => "people",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of rights under a name. Each of the first four holds all that the one before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks, and acts on what there is.
    Operator,
    /// Says what runs.
    Editor,
    /// Does everything.
    Admin,
    /// A program that starts runs and waits for them, and does nothing else.
    Executor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Editor,
        Self::Admin,
        Self::Executor,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Executor => "executor",
        }
    }

    /// What it holds. [`Right::Data`] is in no role: it is given beside one.
    #[must_use]
    pub const fn rights(self) -> &'static [Right] {
        match self {
            Self::Viewer => &[Right::See],
            Self::Operator => &[Right::See, Right::Submit, Right::Operate],
            Self::Editor => &[Right::See, Right::Submit, Right::Operate, Right::Define],
            Self::Admin => &[
                Right::See,
                Right::Submit,
                Right::Operate,
                Right::Define,
                Right::Limit,
                Right::Lead,
                Right::Keys,
                Right::People,
                Right::Audit,
            ],
            Self::Executor => &[Right::Submit],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.into_iter();
        all.clone()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                let words: Vec<&str> = all.map(Self::as_str).collect();
                let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
                format!("`{shown}` is no role: write {}", words.join(", "))
            })
    }
}

/// What somebody may do, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    role: Role,
    data: bool,
    scope: Scope,
}

impl Rights {
    /// Everything, everywhere.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            role: Role::Admin,
            data: true,
            scope: Scope::ALL,
        }
    }

    /// Those of a role, without data, everywhere.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        Self {
            role,
            data: false,
            scope: Scope::ALL,
        }
    }

    /// The same, with or without the right to see data.
    #[must_use]
    pub const fn with_data(mut self, data: bool) -> Self {
        self.data = data;
        self
    }

    /// The same, within a scope alone.
    #[must_use]
    pub fn within(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether data may be seen.
    #[must_use]
    pub const fn data(&self) -> bool {
        self.data
    }

    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether this may be done, somewhere.
    #[must_use]
    pub fn has(&self, right: Right) -> bool {
        match right {
            Right::Data => self.data,
            right => self.role.rights().contains(&right),
        }
    }

    /// Whether these hold all that others do: nobody gives more than he has.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        let has = |right: &Right| !others.has(*right) || self.has(*right);
        Right::ALL.iter().all(has) && self.scope.covers(&others.scope)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = if self.data { " with data" } else { "" };
        write!(f, "{}{data}, {}", self.role, self.scope)
    }
}

/// Why somebody may not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} ({rights}) {why}")]
pub struct Denied {
    /// Who asked.
    pub who: String,
    /// What that one holds.
    pub rights: Rights,
    /// The right that is missing, there or at all.
    pub right: Right,
    /// The sentence's end: what is missing.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_of_people_holds_what_the_one_before_does() {
        let [viewer, operator, editor, admin, executor] = Role::ALL.map(Rights::of);
        for (more, less) in [
            (&operator, &viewer),
            (&editor, &operator),
            (&admin, &editor),
            (&operator, &executor),
        ] {
            assert!(more.cover(less) && !less.cover(more), "{more} {less}");
        }
        assert!(!executor.cover(&viewer) && !viewer.cover(&executor));
        assert!(Right::ALL.iter().all(|right| Rights::all().has(*right)));
        let no_data = Right::ALL.iter().filter(|right| !admin.has(**right));
        assert_eq!(no_data.collect::<Vec<_>>(), [&Right::Data]);
        assert!(!admin.cover(&viewer.with_data(true)));
    }

    #[test]
    fn a_role_is_read_by_its_word_and_others_are_told() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        let told = "root".parse::<Role>().unwrap_err();
        assert_eq!(
            told,
            "`root` is no role: write viewer, operator, editor, admin, executor"
        );
    }
}
