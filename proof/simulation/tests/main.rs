//! The simulation in every test run: the corpus of seeds that once broke something, some fresh ones, and the proof that
//! a seed replays its history to the letter.

use campanile_simulation::tally::{Fault, Seen, Tally};
use campanile_simulation::{How, run};

/// Seeds that once broke something: a number and why, a line each.
const CORPUS: &str = include_str!("corpus.txt");
/// Always the same ones, so that a red test is the change's doing.
const FRESH_SEEDS: std::ops::Range<u64> = 500_000..500_020;

/// The same, with a store's clock that jumps.
const JUMP_SEEDS: std::ops::Range<u64> = 600_000..600_012;

/// The same, where the broker is a table of the store.
const STORE_BROKER_SEEDS: std::ops::Range<u64> = 700_000..700_020;

fn corpus() -> Vec<(u64, How)> {
    let lines = CORPUS.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let seed = words.next()?.parse().ok()?;
        let (short, jumps) = match words.next()? {
            "short" => (true, false),
            "long" => (false, false),
            "jumps" => (true, true),
            "store-broker" => (true, false),
            _ => return None,
        };
        let how = How {
            short,
            jumps,
            store_broker: line.contains(" store-broker "),
            verbose: false,
        };
        words.next().map(|_| (seed, how))
    };
    let Some(seeds) = lines.map(read).collect::<Option<Vec<_>>>() else {
        panic!("each line of the corpus is a seed, a length and a reason");
    };
    seeds
}

fn run_all(seeds: impl Iterator<Item = (u64, How)>) -> Tally {
    let mut tally = Tally::default();
    for (seed, how) in seeds {
        let outcome = run(seed, how);
        let words = how.words();
        assert_eq!(
            outcome.violation, None,
            "seed {seed} broke something; its history: cargo xtask sim --seed {seed}{words}"
        );
        tally.add(&outcome.tally);
    }
    tally
}

#[test]
fn what_once_broke_holds() {
    run_all(corpus().into_iter());
}

#[test]
fn fresh_seeds_break_nothing_and_show_something() {
    let how = How {
        short: true,
        ..How::default()
    };
    let tally = run_all(FRESH_SEEDS.map(|seed| (seed, how)));
    assert!(tally.faults_in_all() > 1_000, "{tally}");
    assert!(tally.of_fault(Fault::RowUnread) > 0, "{tally}");
    let shown = [
        Seen::TermBegun,
        Seen::SetAside,
        Seen::Republished,
        Seen::Grouped,
        Seen::StaleClaimRefused,
        Seen::NodeEvicted,
        Seen::LostRecovered,
        Seen::HandedOn,
        Seen::RefusedBeforeStart,
        Seen::Unserved,
        Seen::Unblocked,
        Seen::CaughtUp,
        Seen::TakenBack,
        Seen::ChainWentOn,
        Seen::Backfilled,
    ];
    for seen in shown {
        assert!(tally.of(seen) > 0, "never seen: {}\n{tally}", seen.text());
    }
}

#[test]
fn what_a_wrong_clock_planned_is_taken_back_and_nothing_is_lost_or_doubled() {
    let how = How {
        short: true,
        jumps: true,
        ..How::default()
    };
    let tally = run_all(JUMP_SEEDS.map(|seed| (seed, how)));
    assert!(tally.of_fault(Fault::StoreClockJump) > 10, "{tally}");
    for seen in [
        Seen::PutBack,
        Seen::AnsweredAhead,
        Seen::CaughtUp,
        Seen::ClockTold,
    ] {
        assert!(tally.of(seen) > 0, "never seen: {}\n{tally}", seen.text());
    }
}

#[test]
fn without_a_broker_nothing_is_lost_or_doubled() {
    let how = How {
        short: true,
        store_broker: true,
        ..How::default()
    };
    let tally = run_all(STORE_BROKER_SEEDS.map(|seed| (seed, how)));
    for fault in [
        Fault::Crash,
        Fault::CrashInCall,
        Fault::HintLost,
        Fault::MessageDelayed,
        Fault::ConfirmLost,
        Fault::AckLost,
    ] {
        assert!(tally.of_fault(fault) > 0, "{tally}");
    }
    for seen in [Seen::StaleClaimRefused, Seen::LostRecovered, Seen::Grouped] {
        assert!(tally.of(seen) > 0, "never seen: {}\n{tally}", seen.text());
    }
}

#[test]
fn a_seed_is_one_history() {
    for (seed, store_broker) in [(4, false), (118, false), (5, true)] {
        let how = How {
            short: true,
            verbose: true,
            store_broker,
            ..How::default()
        };
        let (first, second) = (run(seed, how), run(seed, how));
        assert!(first.history.lines().count() > 100);
        // Line by line, so that the first difference is shown and not all of both.
        for (one, two) in first.history.lines().zip(second.history.lines()) {
            assert_eq!(one, two, "seed {seed}");
        }
        assert_eq!((first.hash, first.tally), (second.hash, second.tally));
        assert_ne!(first.hash, run(seed + 1, how).hash);
    }
}
