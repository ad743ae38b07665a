//! `campanile-simulation`: runs the histories of many seeds, or prints that of one. What `cargo xtask sim` starts. Owns
//! its options and its output; everything else is the library's.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use campanile_core::port::clock::Clock as _;
use campanile_core::system::SystemClock;
use campanile_simulation::tally::Tally;
use campanile_simulation::{How, run};
use serde_json::{Map, Value, json};

const USAGE: &str = "\
usage: campanile-simulation [--seed N | --seeds N [--from N] [--threads N]] [--short] [--jumps] [--store-broker]

  --seed N     prints the history of one seed
  --seeds N    runs so many seeds (default 1000), from --from (default 1) on, on --threads threads (default 1)
  --jumps      the store's clock jumps ahead for long, again and again, and back
  --store-broker
               the broker is a table of the store: offers that are held, hints that are lost and late
  --short      histories of at most a minute and a half before the faults end, as the tests run them
";
/// Failures that are printed in full; more are only counted.
const FAILURES_PRINTED_MAX: usize = 25;
/// How often a long run says how far it is.
const PROGRESS_SEEDS: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
struct Options {
    seed: Option<u64>,
    seeds: u64,
    from: u64,
    threads: u64,
    how: How,
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn say(line: &str) {
    println!("{line}");
}

/// 0 = nothing was broken, 1 = something was, 2 = not an option.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = read(&arguments) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    let passed = match options.seed {
        Some(seed) => one(seed, options.how),
        None => many(options),
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn read(arguments: &[String]) -> Option<Options> {
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut short, mut jumps, mut store_broker) = (false, false, false);
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--short" => short = true,
            "--jumps" => jumps = true,
            "--store-broker" => store_broker = true,
            "--seed" | "--seeds" | "--from" | "--threads" => {
                numbers.insert(name, rest.next()?.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some(Options {
        seed: numbers.get("--seed").copied(),
        seeds: numbers.get("--seeds").copied().unwrap_or(1_000),
        from: numbers.get("--from").copied().unwrap_or(1),
        threads: numbers.get("--threads").copied().unwrap_or(1).clamp(1, 64),
        how: How {
            short,
            jumps,
            store_broker,
            verbose: false,
        },
    })
}

fn one(seed: u64, how: How) -> bool {
    let outcome = run(
        seed,
        How {
            verbose: true,
            ..how
        },
    );
    say(&outcome.history);
    say(&outcome.tally.to_string());
    say(&format!("seed {seed}, history {:016x}", outcome.hash));
    match outcome.violation {
        Some(violation) => {
            say(&format!("BROKEN: {violation}"));
            false
        }
        None => {
            say("nothing was broken");
            true
        }
    }
}

fn many(options: Options) -> bool {
    let clock = SystemClock::new();
    let next = AtomicU64::new(0);
    let sum = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| work(options, &next, &sum));
        }
    });
    let (tally, failed) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let ms = clock.monotonic().as_ms().max(1);
    say(&tally.to_string());
    let missing = tally.missing();
    if !missing.is_empty() {
        say(&format!("never happened: {}", missing.join("; ")));
    }
    let rate = options.seeds * 1_000 / ms;
    let failures = failed.len();
    say(&format!(
        "{} seeds from {} in {} s on {} threads: {rate} seeds/s; {failures} of them broke something {failed:?}",
        options.seeds,
        options.from,
        ms / 1_000,
        options.threads
    ));
    say(&record(options, &tally, failures, ms).to_string());
    failed.is_empty()
}

/// The same as one line for machines: `cargo xtask evidence` keeps it.
fn record(options: Options, tally: &Tally, failures: usize, ms: u64) -> Value {
    let [faults, seen] = tally.named();
    let map = |all: Vec<(&str, u64)>| -> Map<String, Value> {
        let pairs = all.into_iter();
        pairs.map(|(name, n)| (name.to_owned(), n.into())).collect()
    };
    json!({
        "record": "simulation", "part": "seeds", "seeds": options.seeds, "from": options.from,
        "seeds that broke something": failures, "seconds": ms / 1_000,
        "simulated hours": tally.simulated_ms / 3_600_000, "runs": tally.runs, "starts": tally.starts,
        "checks of the whole store": tally.checks, "faults in all": tally.faults_in_all(),
        "seconds to quiet at most": tally.longest_quiet_ms / 1_000,
        "faults": map(faults), "seen": map(seen),
    })
}

fn work(options: Options, next: &AtomicU64, sum: &Mutex<(Tally, Vec<u64>)>) {
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= options.seeds {
            return;
        }
        if n > 0 && n.is_multiple_of(PROGRESS_SEEDS) {
            say(&format!("… {n} seeds"));
        }
        let outcome = run(options.from + n, options.how);
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.0.add(&outcome.tally);
        if let Some(violation) = outcome.violation {
            sum.1.push(outcome.seed);
            if sum.1.len() <= FAILURES_PRINTED_MAX {
                let words = options.how.words();
                say(&format!(
                    "seed {}: {violation}\n  its history: cargo xtask sim --seed {}{words}",
                    outcome.seed, outcome.seed
                ));
            }
        }
    }
}
