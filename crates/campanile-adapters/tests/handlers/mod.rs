//! The http and command handlers against real sockets and real processes. Owns what both need: a context, a folder, a
//! way to wait for a fact.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by a panic what it did not find"
)]

mod command;
mod death;
mod http;
mod survive;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile_core::id::RunId;
use campanile_core::port::handler::{Context, Log, Reported};
use campanile_core::system;
use campanile_schedule::time::Timestamp;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

pub fn context(payload: serde_json::Value) -> Context {
    Context {
        run: RunId::from_i64(4_242_424_242),
        attempt: 2,
        task: "nightly-report".to_owned(),
        due_at: Timestamp::from_ms(1_764_576_000_000),
        key: "nightly-report:1764576000000".to_owned(),
        payload,
        stop: CancellationToken::new(),
        log: Log::default(),
        reported: Reported::default(),
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let seen = system::within(DEADLINE, async {
        while !so() {
            system::pause(Duration::from_millis(5)).await;
        }
    });
    assert!(seen.await.is_some(), "waited in vain until {what}");
}

/// A folder of one test's own, gone with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("handlers-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self.file(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
