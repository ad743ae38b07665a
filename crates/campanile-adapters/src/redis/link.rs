//! One connection to the server that has the lock, made when needed and dropped on any trouble. It owns what is tried
//! again and how often: another connection once, a slot that moved as often as it may, a server that isn't ready for as
//! long as a call may last. It never sends what nobody waits for any more.

use std::time::Duration;

use campanile_core::system::pause;
use redis::RedisResult;

use super::lease::Session;
use super::servers::{Live, Servers};
use super::trouble::Trouble;
use super::url::Address;

/// How often a request follows its slot to another node.
const HOPS_MAX: u32 = 5;
/// How often a request waits for a cluster that isn't ready …
const WAITS_MAX: u32 = 4;
/// … first for this long, then for twice as long each time: 375 ms in all, less than a call may last.
const WAIT_FIRST: Duration = Duration::from_millis(25);

/// A connection to the master.
pub(super) struct Link<'s> {
    servers: &'s Servers,
    live: Option<Live>,
}

impl<'s> Link<'s> {
    pub(super) const fn new(servers: &'s Servers) -> Self {
        Self {
            servers,
            live: None,
        }
    }

    /// Waits for what is to be done next, and drops the connection at once when the master is replaced meanwhile.
    pub(super) async fn while_idle<T>(&mut self, next: impl Future<Output = T>) -> T {
        let mut next = std::pin::pin!(next);
        if let Some(live) = &self.live {
            tokio::select! {
                biased;
                () = self.servers.replaced(live) => {}
                next = &mut next => return next,
            }
            self.live = None;
        }
        next.await
    }

    /// Runs `operation`, which may be run several times. Nothing is sent once it is not `wanted` any more.
    pub(super) async fn run<T>(
        &mut self,
        wanted: impl Fn() -> bool,
        operation: impl AsyncFn(&mut Session) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        let mut effort = Effort::new(self.live.is_none());
        loop {
            let live = match self.live.take() {
                Some(live) => live,
                None => self.servers.connect().await?,
            };
            if !wanted() {
                self.live = Some(live);
                return Err(Trouble::Ended);
            }
            let mut outcome = self.attempt(&live, &operation).await;
            if let Err(Trouble::Asked { to, .. }) = &outcome {
                outcome = self.ask(to, &operation).await;
                if outcome.is_ok() {
                    // The rest of the slot is where it was: the next request begins there again.
                    self.live = Some(live);
                    return outcome;
                }
            }
            let trouble = match outcome {
                Ok(answer) => {
                    self.live = Some(live);
                    return Ok(answer);
                }
                Err(trouble) => trouble,
            };
            self.servers.learn(&live.server, &trouble);
            match effort.once_more(&trouble, self.servers.is_cluster()) {
                None => return Err(trouble),
                Some(wait) => pause(wait).await,
            }
        }
    }

    async fn attempt<T>(
        &self,
        live: &Live,
        operation: &impl AsyncFn(&mut Session) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        let mut session = Session::new(live.connection.clone());
        tokio::select! {
            biased;
            () = self.servers.replaced(live) => Err(Trouble::Replaced { server: live.server.clone() }),
            answer = operation(&mut session) => {
                answer.map_err(|error| self.servers.trouble(error, &live.server))
            }
        }
    }

    /// The same where a slot that is on its way already has its key, or will.
    async fn ask<T>(
        &self,
        to: &Address,
        operation: &impl AsyncFn(&mut Session) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        let connection = self.servers.open(to).await?;
        let mut session = Session::asking(connection);
        operation(&mut session)
            .await
            .map_err(|error| self.servers.trouble(error, to))
    }
}

/// What one request has cost already.
struct Effort {
    is_new: bool,
    hops: u32,
    waits: u32,
}

impl Effort {
    const fn new(is_new: bool) -> Self {
        Self {
            is_new,
            hops: 0,
            waits: 0,
        }
    }

    /// How long to wait before the request is tried again; `None` to give up.
    fn once_more(&mut self, trouble: &Trouble, is_cluster: bool) -> Option<Duration> {
        if matches!(trouble, Trouble::Moved { .. }) {
            self.hops += 1;
            return (self.hops <= HOPS_MAX).then_some(Duration::ZERO);
        }
        if is_cluster && trouble.passes_by_itself() {
            let wait = WAIT_FIRST * 2_u32.pow(self.waits);
            self.waits += 1;
            return (self.waits <= WAITS_MAX).then_some(wait);
        }
        let again = trouble.asks_for_another_connection() && !self.is_new;
        self.is_new = true;
        again.then_some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Address {
        Address {
            host: "a".to_owned(),
            port: 1,
        }
    }

    #[test]
    fn a_request_follows_waits_and_reconnects_so_often_and_no_more() {
        let moved = Trouble::Moved {
            server: server(),
            to: None,
        };
        let mut effort = Effort::new(true);
        let hops = (0..10).filter(|_| effort.once_more(&moved, true).is_some());
        assert_eq!(hops.count(), HOPS_MAX as usize);
        let waits = Trouble::NotReady {
            server: server(),
            answer: "CLUSTERDOWN".to_owned(),
        };
        assert_eq!(effort.once_more(&waits, false), None);
        let all = (0..10).map_while(|_| effort.once_more(&waits, true));
        let all: Vec<u128> = all.map(|wait| wait.as_millis()).collect();
        assert_eq!(all, [25, 50, 100, 200]);
        let replaced = Trouble::Replaced { server: server() };
        let mut effort = Effort::new(false);
        assert_eq!(effort.once_more(&replaced, false), Some(Duration::ZERO));
        assert_eq!(effort.once_more(&replaced, false), None);
    }
}
