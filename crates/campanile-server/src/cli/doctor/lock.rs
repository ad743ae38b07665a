//! What `doctor` finds of the lock: whether its Redis serves, what of its settings is a risk, and its clock beside the
//! others. It takes nothing and changes nothing.

use campanile_adapters::redis::{Verdict, at};
use campanile_core::causes;
use campanile_core::system::within;

use super::clock::Clocks;
use super::{Finding, LIMIT, late, open};
use crate::config::Settings;

/// Asks the lock.
pub(super) async fn lock(settings: &Settings, clocks: &Clocks) -> Vec<Finding> {
    let cluster = &settings.cluster;
    if open::is_in_store(&cluster.lock) {
        return vec![Finding::ok("lock", "kept in the store")];
    }
    let redis = match at(&cluster.lock, &cluster.name) {
        Ok(redis) => redis,
        Err(error) => return vec![Finding::failed("lock", error)],
    };
    let probe = match within(LIMIT, redis.probe()).await {
        None => return vec![Finding::failed("lock", late("lock", &cluster.lock))],
        Some(Err(error)) => {
            let text = format!(
                "failed to {}: check the address, the password and that Redis runs ({})",
                causes(&error),
                cluster.lock
            );
            return vec![Finding::failed("lock", text)];
        }
        Some(Ok(probe)) => probe,
    };
    let server = format!("Redis {}, {}", probe.version, probe.role);
    let mut out = vec![Finding::ok("lock", server)];
    out.extend(
        probe
            .judged()
            .into_iter()
            .map(|(verdict, text)| match verdict {
                Verdict::Well => Finding::ok("lock", text),
                Verdict::Risk => Finding::warning("lock", text),
                Verdict::Broken => Finding::failed("lock", text),
            }),
    );
    if let Some(reading) = probe.clock {
        out.extend(clocks.of_redis(reading.before, reading.theirs, reading.after));
    }
    out
}
