//! A local user: a name, what he may do, and whether he may come in at all. His password is kept apart, as a hash.

use campanile_access::Rights;
use campanile_schedule::time::Timestamp;

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Users of one cluster.
pub const USERS_MAX: usize = 10_000;

/// A local user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// In small letters: `Ada` and `ada` are one.
    pub name: String,
    pub rights: Rights,
    /// May not come in, and keeps his name.
    pub disabled: bool,
    pub created_at: Timestamp,
    /// When his password was set last.
    pub password_at: Timestamp,
    /// Grows with each change.
    pub version: i64,
}

/// A user with what is kept of his password.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    pub user: User,
    /// As [`crate::password::Passwords::hash`] made it.
    pub password: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({:?})", self.user)
    }
}

/// A name as it is kept.
///
/// # Errors
/// It can't be one, and why.
pub fn read_name(text: &str) -> Result<String, String> {
    let name = text.trim().to_lowercase();
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+'));
    if name.is_empty() || name.len() > NAME_CHARS_MAX || name.contains(odd) {
        return Err(format!(
            "a user's name has 1 to {NAME_CHARS_MAX} characters out of letters without accents, digits and `.-_@+`"
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_small_and_plain() {
        assert_eq!(
            read_name(" Ada.L@example.org ").unwrap(),
            "ada.l@example.org"
        );
        for text in [
            "",
            " ",
            "a b",
            "a\nb",
            "ä",
            "a/b",
            "a:b",
            "<b>",
            &"x".repeat(101),
        ] {
            read_name(text).unwrap_err();
        }
    }
}
