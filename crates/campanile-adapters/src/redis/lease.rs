//! The lock as commands of Redis: a key whose value is the holder and whose expiry is the lock's end. Compare-and-set
//! is WATCH, GET, MULTI … EXEC, so that a user without scripts will do; the connection is therefore the caller's own
//! for the length of each call, and is thrown away after an error. Every command that names the key is announced by
//! ASKING where a node is asked for a slot that is on its way to it; the hints go to all nodes of a cluster by themselves.

use std::time::Duration;

use campanile_core::id::Holder;
use campanile_core::port::lock::{Acquired, Signal};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Pipeline, RedisError, RedisResult, pipe};

/// How often a compare-and-set is tried that another's write crossed.
const TRIES: usize = 5;
const RELEASED: &[u8] = b"released";
const WORK: &[u8] = b"work";

/// The names in Redis: all under one prefix, whose braces keep them on one node of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) lock: String,
    pub(super) signals: String,
}

impl Names {
    pub(super) fn of(cluster: &str) -> Self {
        Self {
            lock: format!("{{campanile:{cluster}}}:lock"),
            signals: format!("{{campanile:{cluster}}}:signals"),
        }
    }
}

/// A connection on which the lock is asked for.
pub(super) struct Session {
    pub(super) connection: MultiplexedConnection,
    asking: bool,
}

impl Session {
    /// With the slot's master.
    pub(super) const fn new(connection: MultiplexedConnection) -> Self {
        Self {
            connection,
            asking: false,
        }
    }

    /// With the node that the slot is moving to: it serves whoever says that he was sent.
    pub(super) const fn asking(connection: MultiplexedConnection) -> Self {
        Self {
            connection,
            asking: true,
        }
    }

    /// Adds a command that names the lock's key, and gives it for further arguments.
    fn keyed<'p>(
        &self,
        pipeline: &'p mut Pipeline,
        command: &str,
        names: &Names,
    ) -> &'p mut Pipeline {
        if self.asking {
            pipeline.cmd("ASKING").ignore();
        }
        pipeline.cmd(command).arg(&names.lock)
    }

    /// Runs commands as one transaction; what the first of them answered, or nothing where the watched key was touched.
    /// It is spelt out, since the client library's own form fails where a user may not say MULTI.
    async fn transaction(&mut self, commands: &Pipeline) -> RedisResult<Option<i64>> {
        let mut all = pipe();
        if self.asking {
            // It counts until the transaction's end.
            all.cmd("ASKING").ignore();
        }
        all.cmd("MULTI").ignore();
        for command in commands.cmd_iter() {
            all.add_command(command.clone()).ignore();
        }
        all.cmd("EXEC");
        let (done,): (Option<Vec<i64>>,) = all.query_async(&mut self.connection).await?;
        Ok(done.map(|done| done.first().copied().unwrap_or(0)))
    }
}

/// Takes the lock, or learns how long it lives yet: one round trip unless the asker has it already.
pub(super) async fn acquire(
    session: &mut Session,
    names: &Names,
    holder: &Holder,
    ttl: Duration,
) -> RedisResult<Acquired> {
    let mut ask = pipe();
    session
        .keyed(&mut ask, "SET", names)
        .arg(holder.as_str())
        .arg("NX")
        .arg("PX")
        .arg(whole_ms(ttl));
    session.keyed(&mut ask, "GET", names);
    session.keyed(&mut ask, "PTTL", names);
    for _ in 0..TRIES {
        let (set, value, left_ms): (Option<String>, Option<Vec<u8>>, i64) =
            ask.query_async(&mut session.connection).await?;
        if set.is_some() {
            return Ok(Acquired::Yes);
        }
        let Some(value) = value else {
            // It ended between the two commands.
            continue;
        };
        if value != holder.as_str().as_bytes() {
            return Ok(Acquired::No {
                expires_in: time_left(left_ms, ttl, &names.lock),
            });
        }
        if renew(session, names, holder, ttl).await? {
            return Ok(Acquired::Yes);
        }
    }
    Err(crossed())
}

/// Extends the lock if `holder` has it.
pub(super) async fn renew(
    session: &mut Session,
    names: &Names,
    holder: &Holder,
    ttl: Duration,
) -> RedisResult<bool> {
    let mut extend = pipe();
    extend.cmd("PEXPIRE").arg(&names.lock).arg(whole_ms(ttl));
    if_mine(session, names, holder, &extend).await
}

/// Deletes the lock if `holder` has it, and tells everybody in the same transaction.
pub(super) async fn release(
    session: &mut Session,
    names: &Names,
    holder: &Holder,
) -> RedisResult<bool> {
    let mut give_back = pipe();
    give_back
        .cmd("DEL")
        .arg(&names.lock)
        .cmd("PUBLISH")
        .arg(&names.signals)
        .arg(RELEASED);
    if_mine(session, names, holder, &give_back).await
}

/// Sends a hint.
pub(super) async fn publish(
    session: &mut Session,
    names: &Names,
    signal: Signal,
) -> RedisResult<()> {
    let word = match signal {
        Signal::Released => RELEASED,
        Signal::Work => WORK,
    };
    redis::cmd("PUBLISH")
        .arg(&names.signals)
        .arg(word)
        .query_async(&mut session.connection)
        .await
}

/// The hint that was sent; `None` for what newer programs may say.
pub(super) fn read_signal(payload: &[u8]) -> Option<Signal> {
    match payload {
        RELEASED => Some(Signal::Released),
        WORK => Some(Signal::Work),
        _ => None,
    }
}

/// Runs the transaction `then` if the lock is `holder`'s all the while; whether its first command took effect.
async fn if_mine(
    session: &mut Session,
    names: &Names,
    holder: &Holder,
    then: &Pipeline,
) -> RedisResult<bool> {
    let mut look = pipe();
    session.keyed(&mut look, "WATCH", names).ignore();
    session.keyed(&mut look, "GET", names);
    for _ in 0..TRIES {
        let (value,): (Option<Vec<u8>>,) = look.query_async(&mut session.connection).await?;
        if value.as_deref() != Some(holder.as_str().as_bytes()) {
            redis::cmd("UNWATCH")
                .exec_async(&mut session.connection)
                .await?;
            return Ok(false);
        }
        // Nothing (nil) means that the key was written to, ended or came from another node in between: look again.
        if let Some(done) = session.transaction(then).await? {
            return Ok(done == 1);
        }
    }
    Err(crossed())
}

fn crossed() -> RedisError {
    RedisError::from((
        ErrorKind::Client,
        "others wrote to the lock's key during each of several tries",
    ))
}

fn whole_ms(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// PTTL's answer as a duration.
fn time_left(left_ms: i64, ttl: Duration, key: &str) -> Duration {
    if left_ms == -1 {
        // Nobody of ours writes it so. Waiting won't help, so it is said aloud.
        tracing::warn!(
            key,
            "the lock's key {key} has no expiry, so nobody can lead until somebody deletes it: run DEL on it"
        );
        return ttl;
    }
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}
