//! Who may read and change the files that a node's safety rests on: token files, the private key, the SQLite file with
//! its neighbours, files with settings. Judges by owner and mode of the file that was opened, and says what to do; the
//! files that the node made itself are mended. It reads no content but that of token files, and whether a file is a
//! database.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Bits of a mode that let everybody read, write or enter.
const WORLD: u32 = 0o007;
const WORLD_READ: u32 = 0o004;
const WORLD_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;

/// How a file of SQLite's begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// What SQLite keeps beside its file.
const NEIGHBOURS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How strictly a secret's file is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strict {
    /// It is ours, and nobody else may do anything with it.
    Ours,
    /// Somebody named it: a group may read it, its owner may be another.
    Named,
}

/// What is wrong with the mode of a secret's file.
fn fault(about: &Metadata, path: &Path, strict: Strict) -> Option<String> {
    let mode = about.mode();
    let path = path.display();
    if mode & (WORLD_WRITE | GROUP_WRITE) != 0 {
        return Some(format!(
            "others may write it (mode {:04o}), so that what it holds may be theirs: put a new secret into it, and \
             `chmod 600 {path}`",
            mode & 0o7777
        ));
    }
    let open = match strict {
        Strict::Ours => 0o077,
        Strict::Named => WORLD,
    };
    if mode & open != 0 {
        return Some(format!(
            "others may read it (mode {:04o}): `chmod 600 {path}`, and take a new secret if this machine has other users",
            mode & 0o7777
        ));
    }
    let owner = about.uid();
    if strict == Strict::Ours && owner != 0 && owner != us() {
        return Some(format!(
            "it belongs to another user (uid {owner}), who put it there: delete it, or `chown` it to the user of this node"
        ));
    }
    None
}

fn us() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The text of a secret's file, up to `most` bytes.
///
/// # Errors
/// It can't be read, is too long, or others may read or change it: with the remedy.
pub fn read_secret(path: &Path, strict: Strict, most: u64) -> std::io::Result<String> {
    let refused =
        |message: String| std::io::Error::new(std::io::ErrorKind::PermissionDenied, message);
    // A pipe would keep the reader waiting for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(refused("it is not a file".to_owned()));
    }
    let file = File::open(path)?;
    // Of the very file that is read: another may stand at its place by now.
    if let Some(fault) = fault(&file.metadata()?, path, strict) {
        return Err(refused(fault));
    }
    let mut text = String::new();
    let read = file.take(most + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > most {
        return Err(refused(format!("it is longer than {most} bytes")));
    }
    Ok(text)
}

/// Writes a file that is ours alone, in one step: nobody ever sees half of it. With `new`, only if there is none.
///
/// # Errors
/// The operating system's; `AlreadyExists` if there is one and it should be new.
pub fn write_secret(path: &Path, text: &str, new: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if new {
            std::fs::hard_link(&beside, path)
        } else {
            std::fs::rename(&beside, path)
        }
    })();
    if new || written.is_err() {
        // Whether it was made or not, it is not to stay.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Who besides owner and group may read a file, in words; `None` = nobody, or there is no such file.
#[must_use]
pub fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.mode();
    (mode & (WORLD_READ | WORLD_WRITE) != 0).then(|| {
        format!(
            "every user of this machine may read it (mode {:04o})",
            mode & 0o7777
        )
    })
}

/// What is wrong with the mode of a private key.
#[must_use]
pub fn of_key(path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    fault(&about, path, Strict::Named)
        .map(|fault| format!("the private key {}: {fault}", path.display()))
}

/// The file of a `store` setting, if it is one of this machine.
#[must_use]
pub fn database(store: &str) -> Option<PathBuf> {
    let path = store.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    let in_memory = path.is_empty() || path.contains(":memory:");
    (!in_memory).then(|| PathBuf::from(path))
}

/// The database file and what lies beside it, as far as it is there.
fn family(path: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let name = path.as_os_str().to_owned();
    let beside = NEIGHBOURS.map(|end| {
        let mut name = name.clone();
        name.push(end);
        PathBuf::from(name)
    });
    std::iter::once(path.to_owned())
        .chain(beside)
        .filter_map(|path| {
            let about = std::fs::metadata(&path).ok()?;
            Some((path, about))
        })
}

/// What is wrong with the modes of a database file and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfDatabase {
    /// Everybody may write it: whoever did could have put tasks into it.
    Writable(String),
    /// Everybody may read it.
    Readable(String),
}

/// Looks at a database file and its neighbours; changes nothing.
#[must_use]
pub fn of_database(path: &Path) -> Vec<OfDatabase> {
    family(path)
        .filter_map(|(path, about)| {
            let mode = about.mode();
            let shown = path.display();
            if mode & WORLD_WRITE != 0 {
                Some(OfDatabase::Writable(format!(
                    "every user of this machine may write {shown} (mode {:04o}) and so decide what runs here: make sure \
                     that nobody did, then `chmod 600 {shown}`",
                    mode & 0o7777
                )))
            } else if mode & WORLD_READ != 0 {
                Some(OfDatabase::Readable(format!(
                    "every user of this machine may read {shown} (mode {:04o}), and with it payloads and keys: \
                     `chmod 600 {shown}`",
                    mode & 0o7777
                )))
            } else {
                None
            }
        })
        .collect()
}

/// Whether this is a file that SQLite wrote, or an empty one that it may write.
fn is_database(path: &Path) -> bool {
    let is_file = std::fs::metadata(path).is_ok_and(|about| about.is_file());
    let mut head = Vec::new();
    is_file
        && std::fs::File::open(path)
            .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head))
            .is_ok()
        && (head.is_empty() || head == MAGIC)
}

/// The same at a start: what is ours and readable by everybody becomes readable by us alone. Answers what was done, and
/// what could not be.
///
/// # Errors
/// A file that everybody may write.
pub fn mend_database(path: &Path) -> Result<Vec<String>, String> {
    let writable = of_database(path).into_iter().find_map(|fault| match fault {
        OfDatabase::Writable(text) => Some(text),
        OfDatabase::Readable(_) => None,
    });
    if let Some(text) = writable {
        return Err(format!("setting `store`: {text}"));
    }
    if !is_database(path) {
        // Whoever opens it will say what it is. A folder or somebody's file that was named by mistake stays as it is.
        return Ok(Vec::new());
    }
    let mut said = Vec::new();
    for (path, about) in family(path) {
        if about.mode() & WORLD == 0 {
            continue;
        }
        let shown = path.display();
        let mended = about.uid() == us()
            && std::fs::set_permissions(&path, Permissions::from_mode(0o600)).is_ok();
        said.push(if mended {
            format!(
                "every user of this machine could read {shown} (mode {:04o}): it is 0600 now",
                about.mode() & 0o7777
            )
        } else {
            format!(
                "every user of this machine may read {shown}, which belongs to uid {}: let its owner `chmod 600` it",
                about.uid()
            )
        });
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &xtask::servers::TempDir, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(
            &path,
            if name.ends_with(".db") {
                MAGIC
            } else {
                b"text"
            },
        )
        .unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_secret_that_others_may_read_or_write_is_refused_with_the_remedy() {
        let folder = xtask::servers::TempDir::new("modes").unwrap();
        for (bits, ours, named) in [
            (0o600, None, None),
            (0o400, None, None),
            (0o640, Some("may read it"), None),
            (0o644, Some("may read it"), Some("may read it")),
            (0o604, Some("may read it"), Some("may read it")),
            (0o660, Some("may write it"), Some("may write it")),
            (0o602, Some("may write it"), Some("may write it")),
            (0o666, Some("may write it"), Some("may write it")),
        ] {
            let path = file(&folder, &format!("{bits:o}"), bits);
            for (strict, expected) in [(Strict::Ours, ours), (Strict::Named, named)] {
                let got = read_secret(&path, strict, 100).map_err(|e| e.to_string());
                match expected {
                    None => assert_eq!(got.unwrap(), "text"),
                    Some(part) => {
                        let said = got.unwrap_err();
                        assert!(
                            said.contains(part) && said.contains("chmod 600"),
                            "{bits:o}: {said}"
                        );
                    }
                }
            }
        }
        let path = file(&folder, "long", 0o600);
        assert!(read_secret(&path, Strict::Ours, 3).is_err());
        assert!(read_secret(folder.path(), Strict::Ours, 3).is_err());
    }

    #[test]
    fn a_secret_is_written_whole_and_for_its_owner_alone() {
        let folder = xtask::servers::TempDir::new("modes").unwrap();
        let path = folder.join("t");
        write_secret(&path, "one", true).unwrap();
        assert_eq!(mode(&path), 0o600);
        let again = write_secret(&path, "two", true).unwrap_err();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
        write_secret(&path, "three", false).unwrap();
        assert_eq!(read_secret(&path, Strict::Ours, 100).unwrap(), "three");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_database_is_mended_where_everybody_may_read_it_and_refused_where_everybody_may_write_it() {
        let folder = xtask::servers::TempDir::new("modes").unwrap();
        let path = file(&folder, "c.db", 0o644);
        let wal = file(&folder, "c.db-wal", 0o644);
        assert_eq!(of_database(&path).len(), 2);
        let said = mend_database(&path).unwrap();
        assert!(said.len() == 2 && said[0].contains("0600 now"), "{said:?}");
        assert_eq!((mode(&path), mode(&wal)), (0o600, 0o600));
        assert_eq!(mend_database(&path).unwrap(), Vec::<String>::new());
        let shm = file(&folder, "c.db-shm", 0o666);
        let said = mend_database(&path).unwrap_err();
        assert!(
            said.contains("c.db-shm") && said.contains("chmod 600"),
            "{said}"
        );
        assert_eq!(mode(&shm), 0o666);
        let group = file(&folder, "g.db", 0o640);
        assert_eq!(mend_database(&group).unwrap(), Vec::<String>::new());
        assert_eq!(mode(&group), 0o640);
    }

    #[test]
    fn what_was_named_by_mistake_keeps_its_mode() {
        let folder = xtask::servers::TempDir::new("modes").unwrap();
        let text = file(&folder, "passwd", 0o644);
        let shared = folder.join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
        for path in [text, shared] {
            let before = mode(&path);
            assert_eq!(mend_database(&path).unwrap(), Vec::<String>::new());
            assert_eq!(mode(&path), before, "{}", path.display());
        }
    }

    #[test]
    fn a_file_of_this_machine_is_known_by_its_setting() {
        assert_eq!(database("sqlite:a.db"), Some("a.db".into()));
        assert_eq!(database("sqlite:///v/a.db?x=1"), Some("/v/a.db".into()));
        assert_eq!(database("sqlite::memory:"), None);
        assert_eq!(database("postgres://h/d"), None);
    }
}
