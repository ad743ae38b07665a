//! One file for each secret. Nothing leads out of the folder: a name is no path, and what a link leads to must lie within.
//! A file that others may read or change is refused, and so is a folder that others may change.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use campanile_core::limits;
use campanile_core::task::secret::check_secret_name;
use nix::fcntl::OFlag;

/// Others may write.
const WRITE: u32 = 0o022;
/// Others may put files into a folder, and not touch those that are there.
const STICKY: u32 = 0o1000;
/// Others than owner and group may do anything.
const WORLD: u32 = 0o007;
/// Files of the folder that are looked at for their names.
const NAMES_MAX: usize = 1_000;

/// The value of a secret and its file; `None` if there is none.
pub(super) fn read(folder: &Path, name: &str) -> Result<Option<(String, PathBuf)>, String> {
    check_secret_name(name)?;
    let told = |e: std::io::Error| format!("{}: {e}", folder.join(name).display());
    let root = folder
        .canonicalize()
        .map_err(|e| format!("the folder {}: {e}", folder.display()))?;
    check_folder(&root)?;
    let path = match root.join(name).canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error)),
    };
    let link = root.join(name);
    check_owner(&link.symlink_metadata().map_err(told)?, &link)?;
    if !path.starts_with(&root) {
        return Err(format!(
            "{} leads out of the folder",
            folder.join(name).display()
        ));
    }
    // A link that takes its place now is not followed, and a pipe is not waited for.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&path)
        .map_err(told)?;
    check_file(&file.metadata().map_err(told)?, &path)?;
    let value = text(file).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Some((value, path)))
}

/// Names of the secrets in a folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .take(NAMES_MAX);
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| check_secret_name(name).is_ok())
        .collect()
}

fn check_folder(root: &Path) -> Result<(), String> {
    let about = root
        .metadata()
        .map_err(|e| format!("the folder {}: {e}", root.display()))?;
    if !about.is_dir() {
        return Err(format!("{} is not a folder", root.display()));
    }
    check_owner(&about, root)?;
    // As secrets are mounted where containers run: who puts a file there is told by its owner.
    if about.mode() & WRITE != 0 && about.mode() & STICKY == 0 {
        return Err(format!(
            "others may put files into the folder {0} (mode {1:04o}): `chmod go-w {0}`",
            root.display(),
            about.mode() & 0o7777
        ));
    }
    Ok(())
}

fn check_file(about: &Metadata, path: &Path) -> Result<(), String> {
    if !about.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    check_owner(about, path)?;
    if about.mode() & (WRITE | WORLD) != 0 {
        return Err(format!(
            "others may read or change {0} (mode {1:04o}): `chmod 600 {0}` (440 where the worker reads it by its group), and \
             take a new value if this machine has other users",
            path.display(),
            about.mode() & 0o7777
        ));
    }
    Ok(())
}

/// What is another user's may be whatever he likes.
fn check_owner(about: &Metadata, path: &Path) -> Result<(), String> {
    let (owner, us) = (about.uid(), nix::unistd::geteuid().as_raw());
    if owner == 0 || owner == us {
        return Ok(());
    }
    Err(format!(
        "{} belongs to another user (uid {owner}): `chown` it to the worker's user or to root",
        path.display()
    ))
}

/// The text without the line's end that editors put behind it.
fn text(file: File) -> Result<String, String> {
    // One line's end more.
    let most = limits::SECRET_BYTES_MAX + 2;
    let mut bytes = Vec::new();
    let limit = u64::try_from(most + 1).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if bytes.len() > most {
        return Err(format!(
            "it has more than {} bytes",
            limits::SECRET_BYTES_MAX
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| "it is not UTF-8: write it as text, in base64 for example".to_owned())?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}
