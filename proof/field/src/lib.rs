//! The field: the whole system in real processes on private servers, broken on purpose while it works and judged from
//! outside. What all scenes share stands here; what one scene breaks, and how it proves that it did, stands in [`scenes`].

mod book;
mod build;
mod effects;
mod http;
mod judge;
mod listener;
mod load;
mod programs;
pub mod scenes;
mod session;
mod spelling;
mod stand;

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

/// A result whose error is for people.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// This machine's clock, in milliseconds since 1970: all processes of a test, the database too, read the same one.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is the scenes' output")]
pub fn say(line: &str) {
    println!("{line}");
}
