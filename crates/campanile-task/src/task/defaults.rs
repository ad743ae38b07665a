//! What a field of a task is where it is left out, and whether one says no more than that.

use std::time::Duration;

pub(super) fn utc() -> String {
    "UTC".to_owned()
}

pub(super) const fn misfire_limit() -> Duration {
    Duration::from_secs(60)
}

pub(super) const fn timeout() -> Duration {
    Duration::from_secs(300)
}

pub(super) const fn priority() -> u8 {
    4
}

pub(super) const fn overlap_queue_max() -> u32 {
    100
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to the field"
)]
pub(super) const fn is_overlap_queue_max(n: &u32) -> bool {
    *n == overlap_queue_max()
}

pub(super) const fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to the field"
)]
pub(super) const fn is_yes(yes: &bool) -> bool {
    *yes
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
