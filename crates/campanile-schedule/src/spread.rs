//! Places that are a name's own: of `H` in an expression, and in a stretch of time over which starts are spread. The same
//! on every machine and in every version; it draws no lots.

use std::time::Duration;

use crate::time::duration_ms;

/// A place within `width` that is a name's own: the same on every machine, and spread evenly over names.
#[must_use]
pub fn hash_spread(name: &str, width: Duration) -> Duration {
    let width_ms = u64::try_from(duration_ms(width)).unwrap_or(0);
    match width_ms {
        0 => Duration::ZERO,
        width_ms => Duration::from_millis(fingerprint(name, "jitter") % width_ms),
    }
}

/// FNV-1a over a task's name and a field's: the same on every machine and in every version, unlike the standard
/// library's hasher.
pub(super) fn fingerprint(name: &str, field: &str) -> u64 {
    let bytes = name.bytes().chain([0]).chain(field.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}
