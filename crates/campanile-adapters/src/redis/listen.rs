//! What Redis tells unasked: other nodes' hints on the signal channel, and the sentinels' news of a new master. It owns
//! reconnecting for ever, with a jittered back-off. All of it is only a hint: whatever is missed here is found by the
//! next look at the lock.

use std::time::Duration;

use campanile_core::memory::lock::Hints;
use campanile_core::port::lock::Signal;
use campanile_core::system::{Random, pause, within};
use futures_util::StreamExt as _;
use futures_util::future::{join_all, pending};
use redis::Msg;
use redis::aio::PubSub;

use super::lease::{self, Names};
use super::servers::Servers;
use super::trouble::Trouble;
use super::url::Address;
use super::wire::Allowance;

/// A silent connection is asked for a sign of life this often …
const PING_EVERY: Duration = Duration::from_secs(2);
/// … and is dead without one for this long.
const PING_LIMIT: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const SWITCHED: &str = "+switch-master";

/// Hears other nodes' hints, for ever.
pub(super) async fn hear_signals(servers: &Servers, names: &Names, heard: &Hints) {
    let mut backoff = Backoff::new();
    let mut was_connected = false;
    loop {
        let trouble = match subscribe(servers, names).await {
            Ok((channels, master)) => {
                backoff.reset();
                if was_connected {
                    // What was said during the gap is lost, so everybody looks.
                    heard.deliver(Signal::Released);
                    heard.deliver(Signal::Work);
                }
                was_connected = true;
                let on_message = |message: &Msg| {
                    if let Some(signal) = lease::read_signal(message.get_payload_bytes()) {
                        heard.deliver(signal);
                    }
                };
                tokio::select! {
                    () = follow(channels, on_message) => Trouble::Silent { server: master.server },
                    () = servers.replaced(&master) => continue,
                }
            }
            Err(trouble) => trouble,
        };
        backoff
            .wait("hints from other nodes are not heard", &trouble)
            .await;
    }
}

async fn subscribe(
    servers: &Servers,
    names: &Names,
) -> Result<(Channels, super::servers::Live), Trouble> {
    let master = servers.connect().await?;
    let channels = servers
        .subscribe(&master.server, false, &names.signals)
        .await?;
    Ok((channels, master))
}

/// Hears of new masters from every sentinel, for ever.
pub(super) async fn watch_masters(servers: &Servers) {
    let watches = servers.sentinels().iter().enumerate();
    join_all(watches.map(|(index, sentinel)| watch_one(servers, sentinel, index))).await;
    // A single server has none; the watch still never ends.
    pending::<()>().await;
}

async fn watch_one(servers: &Servers, sentinel: &Address, index: usize) {
    let mut backoff = Backoff::new();
    loop {
        let trouble = match servers.subscribe(sentinel, true, SWITCHED).await {
            Ok(channels) => {
                // A switch may have happened while nobody watched.
                let missed = servers.ask(sentinel).await;
                if let Ok(master) = missed {
                    servers.announce(master, index, false);
                    backoff.reset();
                }
                let on_message = |message: &Msg| {
                    if let Some(master) = new_master(message.get_payload_bytes(), servers.service())
                    {
                        tracing::info!(%master, service = servers.service(), "Redis has a new master: {master}");
                        servers.announce(master, index, true);
                    }
                };
                follow(channels, on_message).await;
                Trouble::Silent {
                    server: sentinel.clone(),
                }
            }
            Err(trouble) => trouble,
        };
        backoff.wait("a sentinel is not heard", &trouble).await;
    }
}

/// A subscription, and what it may be sent.
type Channels = (PubSub, Allowance);

/// Passes messages on until the connection breaks or shows no sign of life.
async fn follow((channels, allowance): Channels, on_message: impl Fn(&Msg)) {
    let (mut sink, mut messages) = channels.split();
    loop {
        match within(PING_EVERY, messages.next()).await {
            Some(Some(message)) => {
                allowance.renew();
                on_message(&message);
            }
            Some(None) => return,
            None => match within(PING_LIMIT, sink.ping::<redis::Value>()).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

/// The new master in `SERVICE OLD-HOST OLD-PORT NEW-HOST NEW-PORT`.
fn new_master(payload: &[u8], service: &str) -> Option<Address> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut words = text.split(' ');
    if words.next() != Some(service) {
        return None;
    }
    let host = words.nth(2)?.to_owned();
    let port = words.next()?.parse().ok()?;
    Some(Address { host, port })
}

/// Waits that grow, each by half at random, so that many nodes don't come back in one moment.
struct Backoff {
    random: Random,
    next: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self {
            random: Random::from_system(),
            next: BACKOFF_FIRST,
        }
    }

    const fn reset(&mut self) {
        self.next = BACKOFF_FIRST;
    }

    async fn wait(&mut self, what: &str, trouble: &Trouble) {
        tracing::debug!(error = %trouble, "{what} for a moment: failed to {trouble}");
        let half = self.next / 2;
        let bound = u64::try_from(half.as_millis()).unwrap_or(0) + 1;
        self.next = (self.next * 2).min(BACKOFF_MAX);
        pause(half + Duration::from_millis(self.random.below(bound))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_another_service_is_none() {
        let payload = b"main 10.0.0.1 6379 ::2 6380";
        assert_eq!(
            new_master(payload, "main"),
            Some(Address {
                host: "::2".into(),
                port: 6380
            })
        );
        assert_eq!(new_master(payload, "mai"), None);
        assert_eq!(new_master(b"main 10.0.0.1 6379 ::2", "main"), None);
    }
}
