//! A disk that can be filled: a small tmpfs on a folder, and a ballast file that takes all that is left of it. Needs
//! root; who has no root gets an error that says so, and never a test that passes without its fault.

use std::io::{Error, ErrorKind, Result, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::output_of;
use super::temp::effective_uid;

const BALLAST: &str = "ballast";
const CHUNK_BYTES: usize = 256 * 1024;

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `mib` MiB over the empty folder `path`; `owner` is the user and group that may use it, by number.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] without root, else what `mount` says.
    pub fn mount(path: &Path, mib: u32, owner: Option<(u32, u32)>) -> Result<Self> {
        if effective_uid() != 0 {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "only root can mount a tmpfs",
            ));
        }
        let (uid, gid) = owner.unwrap_or((0, 0));
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]);
        mount.arg(format!("size={mib}m,mode=700,uid={uid},gid={gid}"));
        mount.arg("campanile-test").arg(path);
        output_of(&mut mount).map_err(Error::other)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Fills it to the last byte; gives how many bytes that took.
    ///
    /// # Errors
    /// Any error but the one that is wanted: no space left.
    pub fn fill(&self) -> Result<u64> {
        let mut ballast = std::fs::File::create(self.path.join(BALLAST))?;
        let mut written = 0;
        let mut chunk = CHUNK_BYTES;
        loop {
            match ballast.write(&vec![0; chunk]) {
                Ok(length) => written += length as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull && chunk > 1 => chunk /= 2,
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(written),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes room again.
    ///
    /// # Errors
    /// The operating system's.
    pub fn clear(&self) -> Result<()> {
        std::fs::remove_file(self.path.join(BALLAST))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// Unmounts what a test that was killed left mounted in its folder.
pub(super) fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.map(Path::new).filter(|p| p.starts_with(folder)) {
        unmount(point);
    }
}

fn unmount(path: &Path) {
    // Lazily: a process that was just killed may still hold a file of it.
    let _ = output_of(Command::new("umount").arg("--lazy").arg(path));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::TempDir;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_cleared() {
        let folder = TempDir::new("tmpfs").unwrap();
        let disk = match Tmpfs::mount(folder.path(), 2, None) {
            Ok(disk) => disk,
            Err(error) => return crate::skip(&format!("no tmpfs: {error}")),
        };
        let filled = disk.fill().unwrap();
        assert!((1_900_000..=2 * 1024 * 1024).contains(&filled), "{filled}");
        let refused = std::fs::write(disk.path().join("file"), "more").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        disk.clear().unwrap();
        std::fs::write(disk.path().join("file"), "more").unwrap();
        // A killed test's disk goes with its folder.
        unmount_below(folder.path());
        assert!(!disk.path().join("file").exists());
    }
}
