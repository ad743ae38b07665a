//! `fuzz`: runs the targets of `fuzz/` for some minutes, each with a corpus that begins with `seeds`, and tells what each
//! did. It finds; what it found is mended by hand and becomes a test.

mod seeds;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;
use xtask::servers::on_path;
use xtask::tidy;

use super::say;
use crate::evidence;

/// An input may take this long, in a build that is many times slower than a release.
const INPUT_SECONDS_MAX: u32 = 5;
/// The process may grow to this, of which the corpus and the sanitizer take most.
const MEMORY_MIB_MAX: u32 = 1_024;
const MINUTES: u32 = 10;

/// One program of `fuzz/`.
#[derive(Debug)]
struct Target {
    name: &'static str,
    /// Longer inputs are not tried: they are refused by their length, or say nothing new.
    input_bytes_max: u32,
    /// Whether it needs the whole server, which takes long to build.
    server: bool,
}

const fn target(name: &'static str, input_bytes_max: u32, server: bool) -> Target {
    Target {
        name,
        input_bytes_max,
        server,
    }
}

const TARGETS: [Target; 8] = [
    target("cron", 1_100, false),
    target("rrule", 4_096, false),
    target("crontab", 4_096, false),
    target("ics", 8_192, false),
    target("stomp", 16_384, false),
    target("message", 4_096, false),
    target("taskfile", 4_096, true),
    target("api", 4_096, true),
];

/// What to fuzz, and for how long.
#[derive(Debug)]
pub struct Options {
    targets: &'static [Target],
    minutes: u32,
}

impl Options {
    /// A target's name or `all`, perhaps with `--minutes N`: the time of all of them together.
    pub fn read(arguments: &[String]) -> Option<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (name, minutes) = match words.as_slice() {
            [name] => (name, MINUTES),
            [name, "--minutes", minutes] => (name, minutes.parse().ok().filter(|n| *n > 0)?),
            _ => return None,
        };
        let targets = if *name == "all" {
            &TARGETS[..]
        } else {
            let at = TARGETS.iter().position(|t| t.name == *name)?;
            &TARGETS[at..=at]
        };
        Some(Self { targets, minutes })
    }

    fn seconds_each(&self) -> u32 {
        let count = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        (self.minutes * 60 / count).max(1)
    }
}

/// Whether every target ran for its time and found nothing.
pub fn run(options: &Options) -> bool {
    if !on_path("cargo-fuzz") {
        say("cargo-fuzz is missing; to install it:\n  cargo install cargo-fuzz");
        return false;
    }
    let root = tidy::root();
    let (mut told, mut lines) = (Vec::new(), Vec::new());
    let start = Instant::now();
    let mut passed = true;
    for target in options.targets {
        let corpus = root.join("fuzz/corpus").join(target.name);
        match seeds::write(&root, target.name, &corpus) {
            Ok(count) => say(&format!("{}: {count} seeds", target.name)),
            Err(error) => {
                say(&format!("failed to write the corpus: {error}"));
                return false;
            }
        }
        let done = fuzz(&root, target, options.seconds_each());
        passed &= done.is_some();
        let kept = fs::read_dir(&corpus).map_or(0, Iterator::count);
        told.push(match done {
            Some(Figures { inputs, peak_mib }) => {
                lines.push(json!({
                    "record": "fuzz", "part": target.name, "inputs": inputs, "seconds": options.seconds_each(),
                    "MiB at most": peak_mib, "inputs kept": kept,
                }));
                let seconds = options.seconds_each();
                format!(
                    "{}: {inputs} inputs in {seconds} s, at most {peak_mib} MiB, {kept} inputs kept",
                    target.name
                )
            }
            None => format!(
                "{}: FAILED; the input is in fuzz/artifacts/{}, if there is one",
                target.name, target.name
            ),
        });
    }
    say(&told.join("\n"));
    if passed && options.targets.len() == TARGETS.len() {
        let command = format!("cargo xtask fuzz all --minutes {}", options.minutes);
        evidence::keep("fuzz", &command, start.elapsed().as_secs(), lines);
    }
    passed
}

/// Runs one target; what it says of itself, if it ran for its time and found nothing.
fn fuzz(root: &Path, target: &Target, seconds: u32) -> Option<Figures> {
    // The toolchain is named by rustup's own program: the cargo that runs this tool is bound to another one.
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", "run"]);
    if target.server {
        fuzz.args(["--features", "server"]);
    }
    fuzz.args([target.name, "--"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-max_len={}", target.input_bytes_max))
        .arg("-print_final_stats=1")
        .current_dir(root)
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .stderr(Stdio::piped());
    let mut child = match fuzz.spawn() {
        Ok(child) => child,
        Err(error) => {
            say(&format!(
                "failed to run rustup ({error}): fuzzing needs it, and `rustup toolchain install nightly`"
            ));
            return None;
        }
    };
    let mut figures = Figures::default();
    if let Some(lines) = child.stderr.take() {
        for line in BufReader::new(lines).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            figures.hear(&line);
            say(&line);
        }
    }
    let passed = child.wait().is_ok_and(|status| status.success());
    passed.then_some(figures)
}

/// What the fuzzer says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    inputs: u64,
    peak_mib: u64,
}

impl Figures {
    fn hear(&mut self, line: &str) {
        let figure = |name: &str| line.strip_prefix(name)?.trim().parse().ok();
        if let Some(inputs) = figure("stat::number_of_executed_units:") {
            self.inputs = inputs;
        }
        if let Some(peak) = figure("stat::peak_rss_mb:") {
            self.peak_mib = peak;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<(usize, u32)> {
        let arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Options::read(&arguments).map(|options| (options.targets.len(), options.seconds_each()))
    }

    #[test]
    fn options_name_the_target_and_the_minutes() {
        assert_eq!(read(&["cron"]), Some((1, 600)));
        assert_eq!(read(&["stomp", "--minutes", "3"]), Some((1, 180)));
        assert_eq!(read(&["all", "--minutes", "8"]), Some((TARGETS.len(), 60)));
        for wrong in [
            &[][..],
            &["cron", "--minutes"],
            &["cron", "--minutes", "0"],
            &["parser"],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_target_is_a_program_and_has_seeds() {
        let root = tidy::root();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let programs = manifest.matches("[[bin]]").count();
        assert_eq!(programs, TARGETS.len());
        for target in &TARGETS {
            assert!(manifest.contains(&format!("name = \"{}\"", target.name)));
            let seeds = seeds::of(&root, target.name).unwrap();
            assert!(!seeds.is_empty(), "{}", target.name);
            let most = target.input_bytes_max as usize;
            assert!(
                seeds.iter().any(|seed| seed.len() <= most),
                "{}",
                target.name
            );
        }
    }

    #[test]
    fn the_fuzzer_is_heard() {
        let mut figures = Figures::default();
        for line in [
            "stat::number_of_executed_units: 1234",
            "stat::peak_rss_mb:              55",
            "noise",
        ] {
            figures.hear(line);
        }
        let (inputs, peak_mib) = (1_234, 55);
        assert_eq!(figures, Figures { inputs, peak_mib });
    }
}
