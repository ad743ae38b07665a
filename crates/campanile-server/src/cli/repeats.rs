//! One outage is one line of the log, and then a count. While a database, a lock service or a broker is down, every duty
//! of a node meets the same error again and again; the first line says what it is and which setting names it, and the rest
//! are counted and told once in a while. Lines about a run, a task or a term are never held back.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use campanile_core::port::clock::Clock as _;
use campanile_core::system::{self, SystemClock};
use campanile_core::time::Monotonic;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The count is told this often.
const PERIOD: Duration = Duration::from_secs(30);
/// Causes that are told apart at once; what comes beyond them is not held back.
const CAUSES_MAX: usize = 32;
/// What the error of an outage holds: the name of a setting.
const MARK: &str = "setting `";
/// Fields of lines that tell of more than the outage.
const TELLING: [&str; 5] = ["run", "task", "epoch", "repeated", "panic"];

/// The outages that the log was told of.
#[derive(Clone)]
pub(super) struct Repeats(Arc<Inner>);

struct Inner {
    clock: SystemClock,
    causes: Mutex<HashMap<String, Cause>>,
}

struct Cause {
    /// When it was last told.
    at: Monotonic,
    /// Lines since.
    held: u64,
}

impl Repeats {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            clock: SystemClock::new(),
            causes: Mutex::default(),
        }))
    }

    /// Whether a line with this error is to be written; else it is counted.
    fn passes(&self, error: &str, now: Monotonic) -> bool {
        if !error.contains(MARK) {
            return true;
        }
        let key = key(error);
        let mut causes = self.0.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cause) = causes.get_mut(key) {
            if now.since(cause.at) < PERIOD {
                cause.held += 1;
                return false;
            }
            cause.at = now;
            return true;
        }
        if causes.len() >= CAUSES_MAX {
            return true;
        }
        causes.insert(key.to_owned(), Cause { at: now, held: 0 });
        true
    }

    /// The causes whose lines were held back, with their numbers. Those that did not come again are forgotten.
    fn held(&self, now: Monotonic) -> Vec<(String, u64)> {
        let mut causes = self.0.causes.lock().unwrap_or_else(PoisonError::into_inner);
        causes.retain(|_, cause| cause.held > 0 || now.since(cause.at) < PERIOD);
        causes
            .iter_mut()
            .filter(|(_, cause)| cause.held > 0)
            .map(|(key, cause)| {
                cause.at = now;
                (key.clone(), std::mem::take(&mut cause.held))
            })
            .collect()
    }

    /// Tells the counts for as long as the process lives.
    pub(super) fn tell(&self) {
        let repeats = self.clone();
        system::spawn(async move {
            loop {
                system::pause(PERIOD).await;
                for (error, repeated) in repeats.held(repeats.0.clock.monotonic()) {
                    tracing::warn!(%error, repeated, "this goes on: {repeated} more lines about it in the last {} s", PERIOD.as_secs());
                }
            }
        });
    }
}

/// What is the same in all lines about one outage: the duties' own words stand before it.
fn key(error: &str) -> &str {
    match error.split_once(": ") {
        Some((duty, cause)) if cause.contains(MARK) && !duty.contains(MARK) => cause,
        _ => error,
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let fields = event.metadata().fields();
        if fields.field("error").is_none() || TELLING.iter().any(|f| fields.field(f).is_some()) {
            return true;
        }
        let mut found = Found(String::new());
        event.record(&mut found);
        self.passes(&found.0, self.0.clock.monotonic())
    }
}

/// The text of the field `error`.
struct Found(String);

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "error" {
            self.0 = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error" {
            value.clone_into(&mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(event);
            Ok(event.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const DOWN: &str = "setting `store`: postgres://h/d gives no connection: refused";

    #[test]
    fn an_outage_is_one_line_whoever_meets_it() {
        let (kept, repeats) = (Kept::default(), Repeats::new());
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish()
            .with(repeats.clone());
        tracing::subscriber::with_default(lines, || {
            for _ in 0..10 {
                let (store, lock) = (
                    format!("reach the store: {DOWN}"),
                    format!("reach the lock service: {DOWN}"),
                );
                tracing::warn!(error = %store, "a heartbeat failed");
                tracing::warn!(error = %lock, "the lock service failed");
                tracing::warn!(error = store, "a readiness check failed");
            }
            tracing::warn!(epoch = 3, error = %DOWN, "term 3 ends: the store failed");
            tracing::warn!(error = %"reach the store: setting `store`: postgres://h/d gives no connection: wrong password", "a heartbeat failed");
            tracing::warn!(error = "disk full", "a heartbeat failed");
            tracing::warn!(error = "disk full", "a heartbeat failed");
        });
        let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 5, "{written}");
        assert!(
            lines[0].contains("a heartbeat failed") && lines[0].contains(DOWN),
            "{written}"
        );
        assert!(lines[1].contains("term 3 ends"), "{written}");
        assert!(lines[2].contains("wrong password"), "{written}");
        let held = repeats.held(Monotonic::default());
        assert_eq!(held, [(DOWN.to_owned(), 29)]);
        assert_eq!(repeats.held(Monotonic::default()), []);
    }

    #[test]
    fn what_comes_again_later_is_told_again_and_the_memory_is_bounded() {
        let repeats = Repeats::new();
        let at = |seconds: u64| Monotonic::from_ms(seconds * 1_000);
        assert!(repeats.passes(DOWN, at(0)));
        assert!(!repeats.passes(DOWN, at(29)));
        assert_eq!(repeats.held(at(30)).len(), 1);
        // It was told of a moment ago, with its number.
        assert!(!repeats.passes(DOWN, at(31)));
        assert_eq!(repeats.held(at(60))[0].1, 1);
        assert!(repeats.held(at(120)).is_empty());
        assert!(repeats.passes(DOWN, at(121)));
        for n in 0..1_000 {
            assert!(repeats.passes(&format!("setting `store`: {n}"), at(122)));
        }
        assert!(repeats.0.causes.lock().unwrap().len() <= CAUSES_MAX);
    }
}
