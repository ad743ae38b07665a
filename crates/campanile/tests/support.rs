//! What the tests share: a folder of a test's own, and handlers that do one thing each.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile::prelude::*;
use campanile_core::system::{pause, within};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A SQLite file of one test's own, gone with it.
pub struct File(PathBuf);

impl File {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("facade-{}-{number}.db", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.0.display())
    }

    /// A program on it that adds.
    pub async fn adder(&self) -> Campanile {
        let started = Campanile::open(self.url()).handler(Add).start();
        started.await.unwrap()
    }

    /// A program on it that runs nothing.
    pub async fn client(&self) -> Campanile {
        let started = Campanile::open(self.url()).client_only().start();
        started.await.unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

pub fn sum(of: &[i64]) -> Sum {
    Sum { of: of.to_vec() }
}

/// Waits for something that must happen.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match within(DEADLINE, future).await {
        Some(answer) => answer,
        None => panic!("waited in vain for {what}"),
    }
}

/// Looks again and again until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    soon(what, async {
        while !so().await {
            pause(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    pub of: Vec<i64>,
}

/// Adds; of nothing there is no sum.
pub struct Add;

impl Handler for Add {
    const NAME: &'static str = "add";
    type Args = Sum;
    type Output = i64;

    async fn run(&self, _: Context, args: Sum) -> Result<i64, Failure> {
        if args.of.is_empty() {
            return Err(Failure::fatal("there is nothing to add"));
        }
        Ok(args.of.iter().sum())
    }
}

/// Fails with a number that is none until its attempt is the one that it is given.
pub struct Stubborn;

impl Handler for Stubborn {
    const NAME: &'static str = "stubborn";
    type Args = u32;
    type Output = u32;

    async fn run(&self, context: Context, good: u32) -> Result<u32, Failure> {
        let text = if context.attempt < good { "seven" } else { "7" };
        Ok(text.parse::<u32>()?)
    }
}

/// As many bytes as it is told.
pub struct Large;

impl Handler for Large {
    const NAME: &'static str = "large";
    type Args = usize;
    type Output = String;

    async fn run(&self, _: Context, bytes: usize) -> Result<String, Failure> {
        // With its quotes.
        Ok("x".repeat(bytes - 2))
    }
}

/// Says that it has begun, and goes on until it is told to stop.
#[derive(Clone, Default)]
pub struct Endless {
    pub begun: Arc<Notify>,
    pub told: Arc<Notify>,
}

impl Handler for Endless {
    const NAME: &'static str = "endless";
    type Args = ();
    type Output = ();

    async fn run(&self, context: Context, (): ()) -> Result<(), Failure> {
        context.progress(40, "nearly half");
        self.begun.notify_one();
        context.cancelled().await;
        assert!(context.is_cancelled());
        self.told.notify_one();
        Err(Failure::retry("told to stop"))
    }
}
