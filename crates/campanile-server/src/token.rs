//! The bearer token of API and pages: how it is made, where it is kept, how it is compared. There is no default token:
//! one is configured, or one is made at the first start and kept beside the SQLite file, readable by its owner alone.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use campanile::system::Random;
use sha2::{Digest as _, Sha256};

const CHARS_MIN: usize = 16;
const DISTINCT_CHARS_MIN: usize = 6;
const PREFIX: &str = "cmp_";

/// What a presented token is compared with: the digest, so that the token itself is held nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Expected([u8; 32]);

impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expected(…)")
    }
}

impl Expected {
    /// Of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether this is the token. Takes the same time wherever the first difference is.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let difference = self
            .0
            .iter()
            .zip(presented)
            .fold(0_u8, |all, (a, b)| all | (a ^ b));
        difference == 0
    }
}

/// Whether a text may be a token.
///
/// # Errors
/// Why not, and what to do.
pub fn check(text: &str) -> Result<(), String> {
    let advice = "generate one with `head -c 32 /dev/urandom | base64`";
    if text.chars().count() < CHARS_MIN {
        return Err(format!(
            "is too short to be safe: a token has {CHARS_MIN} characters or more; {advice}"
        ));
    }
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(format!(
            "holds characters that a header can't carry: {advice}"
        ));
    }
    let mut distinct: Vec<char> = text.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < DISTINCT_CHARS_MIN {
        return Err(format!("is too simple to be safe: {advice}"));
    }
    Ok(())
}

/// A new token: 256 random bits behind a prefix that secret scanners can know.
#[must_use]
pub fn generate(random: &Random) -> String {
    format!("{PREFIX}{}", hex::encode(random.secret()))
}

/// Where the token of a store is kept, if the store is a file of this machine.
#[must_use]
pub fn file_of(store: &str) -> Option<PathBuf> {
    let path = store.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    let in_memory = path.is_empty() || path.contains(":memory:");
    (!in_memory).then(|| PathBuf::from(format!("{path}.token")))
}

/// The token in a file, which is made if there is none. Answers whether it is new.
///
/// # Errors
/// The file can't be read or made, or what it holds is no token.
pub fn load_or_create(path: &Path, random: &Random) -> std::io::Result<(String, bool)> {
    let fresh = generate(random);
    let made = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(mut file) => {
            writeln!(file, "{fresh}")?;
            file.sync_all()?;
            Ok((fresh, true))
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok((read(path)?, false)),
        Err(e) => Err(e),
    }
}

/// The token in a file.
///
/// # Errors
/// The file can't be read, or what it holds is no token.
pub fn read(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?.trim().to_owned();
    check(&text).map_err(|m| {
        let message =
            format!("what it holds {m}; or delete the file, and the next start makes a new token");
        std::io::Error::new(std::io::ErrorKind::InvalidData, message)
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = xtask::servers::TempDir::new("token").unwrap();
        let path = folder.join("x.db.token");
        let random = Random::from_seed(1);
        let (first, new) = load_or_create(&path, &random).unwrap();
        assert!(new && first.starts_with(PREFIX) && check(&first).is_ok());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            load_or_create(&path, &random).unwrap(),
            (first.clone(), false)
        );
        assert!(Expected::of(&first).is(&first));
        assert!(!Expected::of(&first).is(&first[1..]));
        std::fs::write(&path, "short").unwrap();
        assert!(read(&path).is_err());
    }

    #[test]
    fn a_file_of_this_machine_has_a_token_beside_it() {
        assert_eq!(file_of("sqlite:a.db"), Some("a.db.token".into()));
        assert_eq!(
            file_of("sqlite:///v/a.db?x=1"),
            Some("/v/a.db.token".into())
        );
        assert_eq!(file_of("sqlite::memory:"), None);
        assert_eq!(file_of("postgres://h/d"), None);
    }
}
