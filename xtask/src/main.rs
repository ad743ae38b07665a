//! `cargo xtask VERB`: every thing a developer does, one command each. This file owns the list of verbs and the exit
//! code; what a verb does stands in `verbs`. Needs nothing but Rust to start.

mod evidence;
mod verbs;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask VERB

  check            formatting, clippy, tidy and the API docs, warnings as errors; then cargo-deny: licences, bans, sources,
                   and advisories where a database of them is here; what it could not ask, it says
  tidy             the rules of the house: heads, sizes, names in docs, words
  test [FILTER…]   every test, with private servers started for the run; lists what could not run
  model [--deep]   every order of steps that small bounds allow, and every guard removed; --deep: large bounds, minutes
  ci               check and test, exactly what CI runs
  bench [GROUP…]   measure on private servers, beside the limits of the same minutes; `bench servers` only starts them
  sim [--seed N | --seeds N [--from N] [--threads N]] [--short]
                   the engine on simulated time under seeded faults: prints one seed's history, or counts over many
  step [--rounds N] [--seed N]
                   sessions on real databases, one statement at a time, against the store in memory
  fuzz TARGET|all [--minutes N]
                   any bytes as what comes from outside, on nightly with a sanitizer: cron, rrule, crontab, ics, stomp,
                   message, taskfile, api; says what to install if it is missing
  failpoints       a process killed at every named step, on one process and on a cluster: what the next one makes of it
  cluster [--seconds N] [--failovers N] [--profile P] [--keep]
                   real processes and servers, broken on purpose while they work; judged from outside
  chaos [--minutes N] [--store postgres|sqlite|both] [--seed N] [--no-lock] [--keep]
                   faults that never stop and overlap, by the seed's dice, over both stores; then schedulers without a lock
  provider         people log in by an identity provider that others wrote (npm's oidc-provider; needs node and npm)
  evidence         writes docs/contribute/evidence.md from what the instruments above (and their last runs) have counted
";

/// 0 = passed, 1 = failed, 2 = not a verb.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = arguments
        .split_first()
        .map_or(("", &[][..]), |(verb, rest)| (verb.as_str(), rest));
    let passed = match (verb, rest) {
        ("check", []) => verbs::check::run(),
        ("tidy", []) => verbs::check::tidy(),
        ("test", filters) => verbs::test::run(filters),
        ("model", []) => verbs::model::run(false),
        ("model", [deep]) if deep == "--deep" => verbs::model::run(true),
        ("sim", options) => verbs::sim::run(options),
        ("step", options) => match verbs::step::Options::read(options) {
            Some(options) => verbs::step::run(&options),
            None => return usage(),
        },
        ("cluster", options) => verbs::field::run("cluster", options),
        ("chaos", options) => verbs::field::run("chaos", options),
        ("fuzz", options) => match verbs::fuzz::Options::read(options) {
            Some(options) => verbs::fuzz::run(&options),
            None => return usage(),
        },
        ("provider", []) => verbs::provider::run(),
        ("failpoints", []) => verbs::failpoints::run(),
        ("evidence", []) => evidence::write(),
        ("ci", []) => verbs::check::run() & verbs::test::run(&[]),
        ("bench", groups) => verbs::bench::run(groups),
        ("help" | "--help" | "-h", _) => {
            verbs::say(USAGE);
            true
        }
        _ => return usage(),
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn usage() -> ExitCode {
    verbs::say(USAGE);
    ExitCode::from(2)
}
