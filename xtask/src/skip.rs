//! The one way a test may decline to run: it says so, and somebody reads it. A skip is a line in the file that
//! `cargo xtask test` names and prints at its end; where nobody would print it, or under `CI=true`, it is a failure.

use std::fs::OpenOptions;
use std::io::Write as _;

use crate::servers::Error;

/// The environment variable that names the file of skips.
pub const FILE_VARIABLE: &str = "CAMPANILE_SKIPS";

/// Whether this is CI's run, in which nothing may be left out.
#[must_use]
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// Records that the running test can't run here and why. The caller returns right after it.
///
/// # Panics
/// When nobody would read the record: `CAMPANILE_SKIPS` isn't set or can't be written, or `CI=true`.
#[track_caller]
pub fn skip(reason: &str) {
    let file = std::env::var_os(FILE_VARIABLE).filter(|_| !in_ci());
    let Some(file) = file else {
        panic!(
            "can't run here: {reason}\n(`cargo xtask test` outside CI runs the rest and lists what it skipped)"
        );
    };
    let test = std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned();
    let line = format!(
        "{}: {test}: {}\n",
        std::panic::Location::caller(),
        reason.replace('\n', " ")
    );
    let written = OpenOptions::new().create(true).append(true).open(&file);
    if let Err(error) = written.and_then(|mut skips| skips.write_all(line.as_bytes())) {
        panic!(
            "can't run here: {reason}\n(and {} can't record it: {error})",
            file.display()
        );
    }
}

/// The started server; or `None` and a recorded skip when its programs aren't installed.
///
/// # Panics
/// When the server is installed and did not start, and where [`skip`] does.
#[track_caller]
pub fn or_skip<T>(started: Result<T, Error>) -> Option<T> {
    match started {
        Ok(server) => Some(server),
        Err(missing @ Error::Missing { .. }) => {
            skip(&missing.to_string());
            None
        }
        Err(failed @ Error::Failed { .. }) => panic!("{failed}"),
    }
}
