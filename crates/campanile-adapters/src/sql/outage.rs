//! Why no connection to the database can be had, in words that name the setting and the server. The driver's pool waits
//! for a server that refuses connections and then says that it timed out, whatever the cause; so the cause is asked for
//! with a connection of its own, by one caller for all, and kept for a moment. It decides nothing and mends nothing.

use std::sync::Arc;
use std::time::Duration;

use campanile_core::port::Cause;
use campanile_core::port::clock::Clock as _;
use campanile_core::system::{SystemClock, within};
use campanile_core::time::Monotonic;
use tokio::sync::Mutex;

use super::error::remedy;
use super::open::Place;

/// How long the cause is looked for.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// How long it is told without looking again.
const KEPT: Duration = Duration::from_secs(2);

/// No connection, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Down(Arc<str>);

impl Down {
    /// What the driver's error says of this place.
    fn of(place: &Place, error: &sqlx::Error) -> Self {
        let said = match error {
            sqlx::Error::Database(said) => said.message().to_owned(),
            sqlx::Error::Io(cause) => cause.to_string(),
            other => other.to_string(),
        };
        Self::new(
            place,
            &format!("gives no connection: {said}; {}", remedy(error)),
        )
    }

    fn new(place: &Place, what: &str) -> Self {
        let text = format!("setting `store`: {} {}", place.shown(), place.scrub(what));
        Self(text.into())
    }

    /// As an error of the driver: for callers that tell those apart.
    fn into_driver(self) -> sqlx::Error {
        sqlx::Error::Io(std::io::Error::other(self))
    }
}

/// Whether a driver's error says that there was no connection to begin with: then nothing was done.
pub(super) fn is_down(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Io(cause) => cause.get_ref().is_some_and(|inner| inner.is::<Down>()),
        _ => false,
    }
}

/// A driver's error as the cause of ours, without the driver's own frame around what we say.
pub(super) fn cause(error: sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Io(io) if io.get_ref().is_some_and(|inner| inner.is::<Down>()) => {
            match io.into_inner() {
                Some(down) => down,
                None => "no connection".into(),
            }
        }
        other => other.into(),
    }
}

/// A connection of its own, with an error that names the place.
pub(super) async fn connect(place: &Place) -> Result<super::session::Session, sqlx::Error> {
    place.connect().await.map_err(|error| match place {
        Place::Sqlite(_) => error,
        Place::Postgres(..) | Place::MariaDb(_) => Down::of(place, &error).into_driver(),
    })
}

/// Who asks why.
pub(super) struct Outage {
    place: Place,
    clock: SystemClock,
    last: Mutex<Option<(Monotonic, Down)>>,
}

impl std::fmt::Debug for Outage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outage({})", self.place.shown())
    }
}

impl Outage {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            clock: SystemClock::new(),
            last: Mutex::new(None),
        }
    }

    /// The pool's error with its cause in it.
    pub(super) async fn explained(&self, error: sqlx::Error) -> sqlx::Error {
        match (&self.place, error) {
            (_, error @ sqlx::Error::PoolClosed) => error,
            (Place::Sqlite(_), sqlx::Error::PoolTimedOut) => Down::new(
                &self.place,
                "is busy: none of its connections came free in time",
            )
            .into_driver(),
            (Place::Sqlite(_), error) => error,
            (Place::Postgres(..) | Place::MariaDb(_), sqlx::Error::PoolTimedOut) => {
                self.ask().await.into_driver()
            }
            (Place::Postgres(..) | Place::MariaDb(_), error) => {
                Down::of(&self.place, &error).into_driver()
            }
        }
    }

    /// Why there is no connection. Callers that come together share one question.
    async fn ask(&self) -> Down {
        let mut last = self.last.lock().await;
        if let Some((at, down)) = last.as_ref()
            && self.clock.monotonic().since(*at) < KEPT
        {
            return down.clone();
        }
        let down = match within(PROBE_LIMIT, self.place.connect()).await {
            None => Down::new(
                &self.place,
                "gives no connection: nobody answers; check the host in the setting `store`, and the network",
            ),
            Some(Err(error)) => Down::of(&self.place, &error),
            Some(Ok(session)) => {
                session.close().await;
                Down::new(
                    &self.place,
                    "can be reached, and all of this node's connections to it are in use",
                )
            }
        };
        *last = Some((self.clock.monotonic(), down.clone()));
        down
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::{Options, place};
    use super::*;

    fn outage(url: &str) -> Outage {
        Outage::new(place(url, &Options::default()).unwrap())
    }

    async fn told(url: &str) -> String {
        let error = outage(url).explained(sqlx::Error::PoolTimedOut).await;
        assert!(is_down(&error));
        cause(error).to_string()
    }

    #[tokio::test]
    async fn a_pool_that_timed_out_says_why_with_the_setting_and_the_server() {
        // A port that was somebody's a moment ago is nobody's.
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let said = told(&format!("postgres://u:topsecret@127.0.0.1:{port}/d")).await;
        for part in [
            "setting `store`: postgres://u:***@127.0.0.1",
            "refused",
            "nothing listens there",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(
            !said.contains("topsecret") && !said.contains("timed out"),
            "{said}"
        );
        // One that listens and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let said = told(&format!("postgres://u@127.0.0.1:{port}/d")).await;
        assert!(said.contains("nobody answers"), "{said}");
        assert!(told("sqlite:x.db").await.contains("sqlite:x.db is busy"));
    }

    #[tokio::test]
    async fn callers_that_come_together_share_one_question() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let outage = Arc::new(outage(&format!("postgres://u@127.0.0.1:{port}/d")));
        let all = futures_util::future::join_all((0..20).map(|_| outage.ask())).await;
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        silent.set_nonblocking(true).unwrap();
        let asked = std::iter::from_fn(|| silent.accept().ok()).count();
        assert_eq!(asked, 1);
    }

    #[test]
    fn other_errors_of_the_driver_stay_what_they_are() {
        let reset = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(!is_down(&reset));
        assert!(is_down(&sqlx::Error::PoolTimedOut));
        assert!(!cause(reset).to_string().contains("setting"));
    }
}
