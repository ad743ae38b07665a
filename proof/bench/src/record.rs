//! The handler of every workload: it does nothing but note that it was started, first thing. Its record is the second
//! witness beside the store's rows. In memory for a node in this process; in a file, line by line, for a node that will
//! be killed: what was written to a file survives its process.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use campanile_core::id::RunId;
use campanile_core::port::handler::{Context, Failure, Handler};
use tokio::sync::Notify;

use super::Error;
use super::clock::now_us;

/// One start, as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Which run.
    pub run: RunId,
    /// Which attempt.
    pub attempt: u32,
    /// The instant that the handler was told, in milliseconds.
    pub due_ms: i64,
    /// When, on the machine's monotonic clock, in microseconds.
    pub at_us: i64,
    /// The task's name.
    pub task: String,
}

/// Where starts are noted.
#[derive(Debug, Default)]
pub struct Record {
    starts: Mutex<Vec<Noted>>,
    file: Option<Mutex<File>>,
    arrived: Notify,
}

impl Record {
    /// A record in memory with room for so many.
    #[must_use]
    pub fn with_room(starts: usize) -> Arc<Self> {
        Arc::new(Self {
            starts: Mutex::new(Vec::with_capacity(starts)),
            ..Self::default()
        })
    }

    /// A record in a new file.
    ///
    /// # Errors
    /// The file system's.
    pub fn in_file(path: &Path) -> std::io::Result<Arc<Self>> {
        let file = File::options().create_new(true).append(true).open(path)?;
        Ok(Arc::new(Self {
            file: Some(Mutex::new(file)),
            ..Self::default()
        }))
    }

    fn starts(&self) -> MutexGuard<'_, Vec<Noted>> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, noted: Noted) -> std::io::Result<()> {
        match &self.file {
            Some(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // One write for one line: a kill leaves whole lines.
                file.write_all(line(&noted).as_bytes())?;
            }
            None => self.starts().push(noted),
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// How many were noted in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts().len()
    }

    /// How many of those noted in memory are due in a range of milliseconds.
    #[must_use]
    pub fn due_within(&self, from_ms: i64, until_ms: i64) -> usize {
        let within = |n: &&Noted| (from_ms..until_ms).contains(&n.due_ms);
        self.starts().iter().filter(within).count()
    }

    /// Takes all that was noted in memory.
    #[must_use]
    pub fn take(&self) -> Vec<Noted> {
        std::mem::take(&mut *self.starts())
    }

    /// Waits until a start of this run is noted, and says when it was.
    pub async fn start_of(&self, run: RunId) -> i64 {
        loop {
            // A permit of an earlier start only costs another look.
            let arrived = self.arrived.notified();
            let found = self
                .starts()
                .iter()
                .rev()
                .find(|n| n.run == run)
                .map(|n| n.at_us);
            if let Some(at_us) = found {
                return at_us;
            }
            arrived.await;
        }
    }
}

fn line(noted: &Noted) -> String {
    let Noted {
        run,
        attempt,
        due_ms,
        at_us,
        task,
    } = noted;
    format!("{} {attempt} {due_ms} {at_us} {task}\n", run.as_i64())
}

/// Reads a record in a file.
///
/// # Errors
/// The file system's; half a line.
pub fn read_file(path: &Path) -> Result<Vec<Noted>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    let half = || Error::Impossible(format!("{} holds half a line", path.display()));
    read(&text).ok_or_else(half)
}

/// Reads the lines of a record in a file; `None` for a line that is none.
#[must_use]
pub fn read(text: &str) -> Option<Vec<Noted>> {
    text.lines()
        .map(|line| {
            let mut parts = line.splitn(5, ' ');
            Some(Noted {
                run: RunId::from_i64(parts.next()?.parse().ok()?),
                attempt: parts.next()?.parse().ok()?,
                due_ms: parts.next()?.parse().ok()?,
                at_us: parts.next()?.parse().ok()?,
                task: parts.next()?.to_owned(),
            })
        })
        .collect()
}

/// The handler.
pub struct Noop(pub Arc<Record>);

impl Handler for Noop {
    const NAME: &'static str = "bench-noop";
    type Args = serde_json::Value;
    type Output = ();

    async fn run(&self, context: Context, _: Self::Args) -> Result<(), Failure> {
        let noted = Noted {
            at_us: now_us(),
            run: context.run,
            attempt: context.attempt,
            due_ms: context.due_at.as_ms(),
            task: context.task,
        };
        self.0
            .note(noted)
            .map_err(|e| Failure::fatal(format!("failed to note the start: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(n: i64) -> Noted {
        Noted {
            run: RunId::from_i64(n),
            attempt: 2,
            due_ms: 1_700_000_000_000 + n,
            at_us: -n,
            task: "bench-steady 7".to_owned(),
        }
    }

    #[test]
    fn a_file_gives_back_what_was_noted() {
        let folder =
            std::env::temp_dir().join(format!("campanile-bench-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("record");
        let record = Record::in_file(&path).unwrap();
        record.note(noted(1)).unwrap();
        record.note(noted(2)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(read(&text), Some(vec![noted(1), noted(2)]));
        assert_eq!(read("1 2 three"), None);
    }

    #[tokio::test]
    async fn a_start_is_waited_for() {
        let record = Record::with_room(2);
        let other = Arc::clone(&record);
        let waiting =
            campanile_core::system::spawn(async move { other.start_of(RunId::from_i64(2)).await });
        record.note(noted(1)).unwrap();
        record.note(noted(2)).unwrap();
        assert_eq!(waiting.await.unwrap(), -2);
        assert_eq!(record.due_within(1_700_000_000_002, 1_700_000_000_003), 1);
        assert_eq!((record.len(), record.take().len(), record.len()), (2, 2, 0));
    }
}
