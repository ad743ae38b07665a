//! Folders and ports that belong to one process: both are given back when it ends, whatever way it ends. Never a fixed
//! name or number, so that any number of test processes run side by side.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const PREFIX: &str = "campanile-test-";
/// Left in a folder that its owner wants to look at later; [`sweep`] passes by.
const KEEP_MARK: &str = ".keep";
/// Below Linux's range for outgoing connections (32768 and up), so that no client takes a port between its choice and
/// its use.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A folder that is removed when dropped, unless `CAMPANILE_KEEP=1`.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a new, empty folder whose name holds `label` and this process's id.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(label: &str) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .subsec_nanos();
        let name = format!("{PREFIX}{}-{label}-{count}-{nanos:x}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` inside it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var("CAMPANILE_KEEP").is_ok_and(|value| value == "1") {
            // A mark that can't be written only means that the next sweep removes the folder.
            let _ = File::create(self.path.join(KEEP_MARK));
            return;
        }
        // A server that was just killed may still be closing files: once more is enough, the rest is left to `sweep`.
        if std::fs::remove_dir_all(&self.path).is_err() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes folders whose owner died before it could (killed tests); kept ones stay. Returns how many it removed.
pub fn sweep() -> usize {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return 0;
    };
    let dead = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let owner = path
            .file_name()
            .and_then(|name| owner_of(&name.to_string_lossy()));
        owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            && !path.join(KEEP_MARK).exists()
    });
    dead.filter(|path| {
        super::tmpfs::unmount_below(path);
        std::fs::remove_dir_all(path).is_ok()
    })
    .count()
}

fn owner_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// A loopback port that nothing uses, reserved for this process until it ends: no other caller of this function, in
/// any process of this user, is given the same one.
///
/// # Panics
/// When the operating system gives no folder for reservations, or no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join(format!("campanile-ports-{}", effective_uid()));
    if let Err(error) = std::fs::create_dir_all(&folder) {
        panic!("no reservations of ports in {}: {error}", folder.display());
    }
    let size = u32::from(PORTS.end - PORTS.start);
    // Each process starts elsewhere, so that neighbours rarely meet; the lock settles it when they do.
    let start = std::process::id().wrapping_mul(257);
    for _ in 0..size {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % size;
        let port = PORTS.start + u16::try_from(step).unwrap_or_default();
        let Ok(reservation) = File::create(folder.join(port.to_string())) else {
            continue;
        };
        if reservation.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(reservation);
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// Who this process acts as.
pub(crate) fn effective_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_value() {
        let folder = TempDir::new("drop").unwrap();
        let path = folder.path().to_owned();
        std::fs::write(folder.join("file"), "x").unwrap();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_of_a_dead_process_is_swept_and_a_kept_one_stays() {
        let dead = (1..)
            .map(|n| 4_100_000 + n)
            .find(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            .unwrap();
        let left = std::env::temp_dir().join(format!("{PREFIX}{dead}-left-{}", std::process::id()));
        let kept = std::env::temp_dir().join(format!("{PREFIX}{dead}-kept-{}", std::process::id()));
        let mine = TempDir::new("mine").unwrap();
        std::fs::create_dir(&left).unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join(KEEP_MARK), "").unwrap();
        sweep();
        assert!(!left.exists());
        assert!(kept.exists() && mine.path().exists());
        std::fs::remove_dir_all(kept).unwrap();
    }

    #[test]
    fn ports_are_requeuedce() {
        let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
