//! How long a failed run waits before it is tried again.

use std::time::Duration;

use crate::task::{Backoff, Retry};

/// A fixed wait is lengthened by at most this part of it.
const FIXED_SPREAD_PARTS: u32 = 10;

/// The wait after failure number `failures` (from 0). A fixed one is what it says or up to a tenth longer; an exponential
/// one lies between half of its length and the whole. So retries of a herd spread, and none comes at once.
#[must_use]
pub fn backoff(retry: &Retry, failures: u32, random: u64) -> Duration {
    let (least, spread) = match retry.backoff {
        Backoff::Fixed => (retry.initial, retry.initial / FIXED_SPREAD_PARTS),
        Backoff::Exponential => {
            let whole = retry
                .initial
                .saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX))
                .min(retry.max);
            (whole / 2, whole / 2)
        }
    };
    let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX - 1);
    let jitter = Duration::from_millis(random % (spread_ms + 1));
    (least + jitter).max(Duration::from_millis(1))
}
