//! What tests of whole systems share: the log of effects, a listener that existed before, sessions that ask the store
//! from outside, processes seen from outside, and the shape of a verdict. Owns no fault and no judgement.

pub mod build;
pub mod effects;
pub mod http;
pub mod listener;
pub mod processes;
pub mod programs;
pub mod psql;
pub mod rows;
pub mod spelling;
pub mod verdict;

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
