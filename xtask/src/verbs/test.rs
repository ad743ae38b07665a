//! `test`: every test of the workspace with the servers they share, and an account of what ran and what could not. A
//! test that could not run is never left unsaid; under `CI=true` it is a failure.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use xtask::servers::{self, ActiveMq, Error, MariaDb, Postgres, RabbitMq, Redis, TempDir};
use xtask::skip::FILE_VARIABLE;

use crate::evidence;

use super::{Steps, cargo, deny, install, say};

/// Runs the tests whose names contain one of the filters; all of them without a filter.
pub fn run(filters: &[String]) -> bool {
    servers::sweep();
    install::servers();
    deny::install();
    let Ok(folder) = TempDir::new("run") else {
        say("failed to make a folder for this run");
        return false;
    };
    let skips = folder.join("skips");
    let mut steps = Steps::default();
    let shared = Shared::start(&mut steps);
    let mut summary = String::new();
    let runner = Runner::here();
    steps.step("tests", || {
        let mut command = runner.command(filters);
        let output = (std::io::stdout(), std::io::stderr());
        let (passed, last) = with_summary(shared.lend(&mut command, &skips), runner, output);
        summary = last;
        passed
    });
    // The names of doctests aren't those of tests: a filter is for tests.
    if filters.is_empty() {
        let doctests = ["test", "--doc", "--workspace", "--all-features", "--quiet"];
        steps.program("doctests", shared.lend(&mut cargo(&doctests), &skips));
    }
    drop(shared);
    note_skips(&mut steps, &skips);
    steps.report("test");
    say("── by name alone (`cargo xtask evidence` keeps their records)");
    for line in evidence::by_name() {
        say(&line);
    }
    if !summary.is_empty() {
        say(&summary);
    }
    steps.passed()
}

/// The servers of the whole run; ended with this value.
struct Shared {
    postgres: Option<Arc<Postgres>>,
    mariadb: Option<Arc<MariaDb>>,
    redis: Option<Arc<Redis>>,
    activemq: Option<Arc<ActiveMq>>,
    rabbitmq: Option<Arc<RabbitMq>>,
}

impl Shared {
    fn start(steps: &mut Steps) -> Self {
        let (postgres, mariadb, redis, activemq, rabbitmq) = std::thread::scope(|scope| {
            let postgres = scope.spawn(Postgres::start);
            let mariadb = scope.spawn(MariaDb::start);
            let redis = scope.spawn(Redis::start);
            let activemq = scope.spawn(ActiveMq::start);
            let rabbitmq = scope.spawn(RabbitMq::start);
            (
                postgres.join(),
                mariadb.join(),
                redis.join(),
                activemq.join(),
                rabbitmq.join(),
            )
        });
        Self {
            postgres: take(steps, "PostgreSQL", postgres),
            mariadb: take(steps, "MariaDB", mariadb),
            redis: take(steps, "Redis", redis),
            activemq: take(steps, "ActiveMQ", activemq),
            rabbitmq: take(steps, "RabbitMQ", rabbitmq),
        }
    }

    /// Tells the tests where the servers are and where to record what they skip.
    fn lend<'a>(&self, command: &'a mut Command, skips: &Path) -> &'a mut Command {
        command.env(FILE_VARIABLE, skips);
        if let Some(server) = &self.postgres {
            command.env(servers::POSTGRES_VARIABLE, server.port().to_string());
        }
        if let Some(server) = &self.mariadb {
            command.env(servers::MARIADB_VARIABLE, server.port().to_string());
        }
        if let Some(server) = &self.redis {
            command.env(servers::REDIS_VARIABLE, server.port().to_string());
        }
        if let Some(broker) = &self.activemq {
            command.env(
                servers::ACTIVEMQ_VARIABLE,
                format!("{},{}", broker.stomp_port(), broker.openwire_port()),
            );
        }
        if let Some(broker) = &self.rabbitmq {
            command.env(
                servers::RABBITMQ_VARIABLE,
                format!("{},{}", broker.amqp_port(), broker.stomp_port()),
            );
        }
        command
    }
}

/// A server that is missing is noted here and again by each test that needs it; one that is broken fails the run.
fn take<T>(
    steps: &mut Steps,
    name: &str,
    started: std::thread::Result<Result<T, Error>>,
) -> Option<Arc<T>> {
    match started {
        Ok(Ok(server)) => return Some(Arc::new(server)),
        Ok(Err(missing @ Error::Missing { .. })) => {
            steps.note(format!("  without {name}: {missing}"));
        }
        Ok(Err(failed)) => steps.step(&format!("{name} did not start: {failed}"), || false),
        Err(_) => steps.step(&format!("{name} did not start"), || false),
    }
    None
}

/// What runs the tests. Each tells its sum in its own words, and a test may print the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    Nextest,
    Cargo,
}

impl Runner {
    /// nextest where it is installed, else cargo's own.
    fn here() -> Self {
        if servers::on_path("cargo-nextest") {
            Self::Nextest
        } else {
            Self::Cargo
        }
    }

    fn command(self, filters: &[String]) -> Command {
        let mut command = match self {
            Self::Nextest => {
                let run = ["nextest", "run", "--workspace", "--all-features"];
                let mut nextest = cargo(&run);
                let color = if std::io::stderr().is_terminal() {
                    "always"
                } else {
                    "never"
                };
                nextest.args(["--no-fail-fast", "--color", color]);
                nextest
            }
            Self::Cargo => {
                let mut plain = cargo(&["test", "--workspace", "--all-features"]);
                plain.args(["--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]);
                plain
            }
        };
        if !filters.is_empty() {
            command.arg("--").args(filters);
        }
        command
    }

    /// Whether a line of its output belongs to its sum.
    fn sums(self, line: &str) -> bool {
        match self {
            Self::Nextest => line.contains("Summary") && line.contains("run"),
            Self::Cargo => line.starts_with("test result:"),
        }
    }
}

/// Runs the tests, passes all they print through, and keeps the runner's own summary.
fn with_summary(
    command: &mut Command,
    runner: Runner,
    (to_out, to_err): (impl std::io::Write + Send, impl std::io::Write),
) -> (bool, String) {
    let mut child = match command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            say(&format!("failed to run the tests: {error}"));
            return (false, String::new());
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let lines = std::thread::scope(|scope| {
        let out = scope.spawn(move || pass_through(out, to_out, runner));
        let mut lines = pass_through(err, to_err, runner);
        lines.extend(out.join().unwrap_or_default());
        lines
    });
    let passed = child.wait().is_ok_and(|status| status.success());
    (passed, summary_of(&lines, runner))
}

/// Copies every line, and gives those that may belong to a summary.
fn pass_through(
    from: Option<impl std::io::Read>,
    mut to: impl std::io::Write,
    runner: Runner,
) -> Vec<String> {
    let mut kept = Vec::new();
    let Some(from) = from else { return kept };
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        // A terminal that went away must not end the run.
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        let text = String::from_utf8_lossy(&line);
        if runner.sums(&text) {
            kept.push(text.trim().to_owned());
        }
    }
    let _ = to.flush();
    kept
}

/// nextest's last summary line; or the sum of what cargo's runner said for each program.
fn summary_of(results: &[String], runner: Runner) -> String {
    if runner == Runner::Nextest || results.is_empty() {
        return results.last().cloned().unwrap_or_default();
    }
    let total = |word: &str| -> u64 {
        results
            .iter()
            .filter_map(|line| number_before(line, word))
            .sum()
    };
    let (passed, failed) = (total("passed"), total("failed"));
    format!(
        "Summary {} tests run: {passed} passed, {failed} failed, {} ignored",
        passed + failed,
        total("ignored")
    )
}

fn number_before(line: &str, word: &str) -> Option<u64> {
    line.split(word)
        .next()?
        .split_whitespace()
        .next_back()?
        .parse()
        .ok()
}

fn note_skips(steps: &mut Steps, skips: &Path) {
    let recorded = std::fs::read_to_string(skips).unwrap_or_default();
    let mut lines: Vec<&str> = recorded.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    steps.note(format!("  {} tests could not run here", lines.len()));
    for line in lines {
        steps.note(format!("    {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextests_own_summary_is_kept() {
        let lines = ["Summary [   1.0s] 3 tests run: 3 passed, 0 skipped".to_owned()];
        assert_eq!(summary_of(&lines, Runner::Nextest), lines[0]);
    }

    #[test]
    fn the_results_of_cargos_runner_are_added_up() {
        let line = |passed, failed| {
            format!(
                "test result: x. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s"
            )
        };
        let summary = summary_of(&[line(2, 0), line(3, 1)], Runner::Cargo);
        assert_eq!(
            summary,
            "Summary 6 tests run: 5 passed, 1 failed, 0 ignored"
        );
        assert_eq!(summary_of(&[], Runner::Cargo), "");
    }

    #[test]
    fn what_a_program_prints_is_passed_through_and_its_end_is_honest() {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "echo 'Summary [1s] 1 test run: 0 passed, 1 failed' >&2; exit 4",
        ]);
        let mut said = Vec::new();
        let (passed, summary) =
            with_summary(&mut shell, Runner::Nextest, (std::io::sink(), &mut said));
        assert!(!passed);
        assert!(summary.ends_with("1 failed"));
        assert!(String::from_utf8_lossy(&said).contains("1 failed"));
        // Under the other runner it is what a test printed, and no sum.
        let sinks = || (std::io::sink(), std::io::sink());
        assert_eq!(with_summary(&mut shell, Runner::Cargo, sinks()).1, "");
        let mut nothing = Command::new("no-such-program-anywhere");
        assert!(!with_summary(&mut nothing, Runner::Cargo, sinks()).0);
    }

    #[test]
    fn every_skip_is_told_once() {
        let folder = TempDir::new("skips").unwrap();
        let skips = folder.join("skips");
        std::fs::write(&skips, "b\na\nb\n").unwrap();
        let mut steps = Steps::default();
        note_skips(&mut steps, &skips);
        assert_eq!(
            steps.lines,
            ["  2 tests could not run here", "    a", "    b"]
        );
    }
}
