//! A file that holds tokens: one a line, two at most, the first for clients; `#` begins a line that nobody reads. The
//! file beside a SQLite store is made here, and remembers until its token was shown that nobody has seen it, so that a
//! start that failed leaves no token that nobody knows.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use campanile_core::system::Random;

use super::{Expected, check, generate};
use crate::modes::{self, Strict};

/// Tokens in force at once: the new one, and the one that goes.
pub const TOKENS_MAX: usize = 2;
/// What such a file may hold in all.
const BYTES_MAX: u64 = 16 * 1024;
/// The line that says that nobody has seen the token.
const UNSEEN: &str = "# not shown yet";

/// Whose the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The node's: it made the file beside its store.
    Us,
    /// Somebody's who named it in the settings.
    Anybody,
}

/// What a file holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    tokens: Vec<String>,
    /// Whether its token was made and never shown.
    pub unseen: bool,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({} tokens)", self.tokens.len())
    }
}

impl Held {
    /// The token that clients use.
    #[must_use]
    pub fn first(&self) -> &str {
        self.tokens.first().map_or("", String::as_str)
    }

    /// What presented tokens are compared with.
    #[must_use]
    pub fn expected(&self) -> Vec<Expected> {
        self.tokens.iter().map(|t| Expected::of(t)).collect()
    }
}

/// Reads a file.
///
/// # Errors
/// It can't be read, others may read or change it, or it holds no token, too many, or a weak one: with the remedy.
pub fn read(path: &Path, owner: Owner) -> Result<Held> {
    let strict = match owner {
        Owner::Us => Strict::Ours,
        Owner::Anybody => Strict::Named,
    };
    let text = modes::read_secret(path, strict, BYTES_MAX)
        .map_err(|e| Error::new(e.kind(), format!("can't read {}: {e}", path.display())))?;
    parse(&text).map_err(|message| {
        let message = match owner {
            Owner::Us => format!(
                "{}: {message}; or delete the file, and the next start makes a new token",
                path.display()
            ),
            Owner::Anybody => format!("{}: {message}", path.display()),
        };
        Error::new(ErrorKind::InvalidData, message)
    })
}

fn parse(text: &str) -> std::result::Result<Held, String> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        check(line).map_err(|why| format!("the token in line {} {why}", at + 1))?;
        tokens.push(line.to_owned());
    }
    match tokens.len() {
        0 => Err("it holds no token: write one into it, alone on its line".to_owned()),
        n if n > TOKENS_MAX => Err(format!(
            "it holds {n} tokens: keep {TOKENS_MAX} at most, the new one first and the one that goes second"
        )),
        _ => Ok(Held {
            tokens,
            unseen: text.lines().any(|line| line == UNSEEN),
        }),
    }
}

/// What the file of a store holds; it is made if there is none.
///
/// # Errors
/// As [`read`]; or it can't be made.
pub fn load_or_create(path: &Path, random: &Random) -> Result<Held> {
    let text = format!("{UNSEEN}\n{}\n", generate(random));
    match modes::write_secret(path, &text, true) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => read(path, Owner::Us),
    }
}

/// Remembers that somebody has seen the token of a store's file.
///
/// # Errors
/// The file can't be written.
pub fn mark_seen(path: &Path) -> Result<()> {
    let held = read(path, Owner::Us)?;
    if !held.unseen {
        return Ok(());
    }
    modes::write_secret(path, &format!("{}\n", held.tokens.join("\n")), false)
}

/// Puts a new token first into a file; the one that was first stays in force behind it. Answers the new one.
///
/// # Errors
/// As [`read`]; or the file can't be written.
pub fn renew(path: &Path, owner: Owner, random: &Random) -> Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let held = read(path, owner)?;
    let new = generate(random);
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o640;
    let text = format!(
        "# new clients use the first; delete the second when nobody uses it any more\n{new}\n{}\n",
        held.first()
    );
    // A link stays a link.
    let path = std::fs::canonicalize(path)?;
    modes::write_secret(&path, &text, false)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode | 0o600))?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_kept_for_its_owner_alone_and_unseen_until_it_was_shown() {
        let folder = xtask::servers::TempDir::new("token").unwrap();
        let path = folder.join("x.db.token");
        let random = Random::from_seed(1);
        let first = load_or_create(&path, &random).unwrap();
        assert!(first.unseen && first.first().starts_with("cmp_"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(load_or_create(&path, &random).unwrap(), first);
        mark_seen(&path).unwrap();
        let again = load_or_create(&path, &random).unwrap();
        assert!(!again.unseen);
        assert_eq!(again.first(), first.first());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap().trim(),
            first.first()
        );
        let new = renew(&path, Owner::Us, &random).unwrap();
        let held = read(&path, Owner::Us).unwrap();
        assert_eq!(held.tokens, [new.as_str(), first.first()]);
        let newer = renew(&path, Owner::Us, &random).unwrap();
        assert_eq!(read(&path, Owner::Us).unwrap().tokens, [newer, new]);
    }

    #[test]
    fn a_file_that_somebody_else_could_have_put_there_is_refused() {
        let folder = xtask::servers::TempDir::new("token").unwrap();
        let path = folder.join("x.db.token");
        let random = Random::from_seed(2);
        let token = generate(&random);
        for mode in [0o666, 0o644, 0o640, 0o620] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let said = load_or_create(&path, &random).unwrap_err().to_string();
            assert!(said.contains("chmod 600"), "{mode:o}: {said}");
            assert!(!said.contains(&token), "{said}");
        }
    }

    #[test]
    fn what_is_no_file_of_tokens_is_refused_without_repeating_it() {
        let good = "Zm9vYmFyLTk4MTIzNzQ2NWFi";
        for (text, part) in [
            (String::new(), "holds no token"),
            ("# nothing\n\n".to_owned(), "holds no token"),
            ("hunter2\n".to_owned(), "line 1 is too short"),
            (
                format!("{good}\nchangeme-changeme\n"),
                "line 2 is too easy to guess",
            ),
            (format!("{good}\n{good}\n{good}\n"), "holds 3 tokens"),
            (format!("{good} {good}\n"), "line 1 holds characters"),
        ] {
            let said = parse(&text).unwrap_err();
            assert!(said.contains(part), "{said}");
            assert!(!said.contains("hunter2") && !said.contains(good), "{said}");
        }
        assert_eq!(parse(&format!("  {good}\r\n")).unwrap().first(), good);
    }
}
