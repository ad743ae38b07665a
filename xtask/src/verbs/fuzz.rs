//! `fuzz`: runs a target of `fuzz/` for some minutes, with a corpus that begins with the oracles' expressions. It finds;
//! what it found is mended by hand and becomes a test.

use std::fs;
use std::path::Path;
use std::process::Command;

use xtask::servers::on_path;
use xtask::tidy;

use super::say;

/// An input may take this long, in a build that is many times slower than a release.
const INPUT_SECONDS_MAX: u32 = 5;
/// The process may grow to this, of which the corpus and the sanitizer take most.
const MEMORY_MIB_MAX: u32 = 1_024;
/// Longer texts are refused by their length alone.
const INPUT_BYTES_MAX: u32 = 1_100;
const MINUTES: u32 = 10;
/// The oracles whose expressions the corpus begins with, and their dialect's number in the target.
const SEEDS: [(&str, u8); 3] = [("unix", 1), ("spring", 2), ("quartz", 3)];
const ORACLES: &str = "crates/campanile/src/schedule/tests/oracle";

/// What to fuzz, and for how long.
pub struct Options {
    minutes: u32,
}

impl Options {
    /// `cron`, perhaps with `--minutes N`.
    pub fn read(arguments: &[String]) -> Option<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let minutes = match words.as_slice() {
            ["cron"] => MINUTES,
            ["cron", "--minutes", minutes] => minutes.parse().ok().filter(|n| *n > 0)?,
            _ => return None,
        };
        Some(Self { minutes })
    }
}

/// Whether the target ran for its time and found nothing.
pub fn run(options: &Options) -> bool {
    if !on_path("cargo-fuzz") {
        say("cargo-fuzz is missing; to install it:\n  cargo install cargo-fuzz");
        return false;
    }
    let root = tidy::root();
    let corpus = root.join("fuzz/corpus/cron");
    match seed(&root, &corpus) {
        Ok(count) => say(&format!("the corpus begins with {count} expressions")),
        Err(error) => {
            say(&format!("failed to write the corpus: {error}"));
            return false;
        }
    }
    // The toolchain is named by rustup's own program: the cargo that runs this tool is bound to another one.
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", "run", "cron", "--"])
        .arg(format!("-max_total_time={}", options.minutes * 60))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg("-print_final_stats=1")
        .current_dir(&root)
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN");
    match fuzz.status() {
        Ok(status) => status.success(),
        Err(error) => {
            say(&format!(
                "failed to run rustup ({error}): fuzzing needs it, and `rustup toolchain install nightly`"
            ));
            false
        }
    }
}

/// Writes the oracles' expressions as inputs: eight bytes of choices, then the text.
fn seed(root: &Path, corpus: &Path) -> std::io::Result<usize> {
    fs::create_dir_all(corpus)?;
    let mut count = 0_usize;
    for (name, dialect) in SEEDS {
        let rows = fs::read_to_string(root.join(ORACLES).join(format!("{name}.tsv")))?;
        for expression in rows.lines().filter_map(|row| row.split('\t').nth(3)) {
            let choice = u8::try_from(count % 100).unwrap_or(0);
            let mut input = vec![dialect, choice, choice / 3, choice / 9];
            // About 2026.
            input.extend(1_988_000_000_u32.to_le_bytes());
            input.extend(expression.as_bytes());
            fs::write(corpus.join(format!("seed-{name}-{count}")), input)?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Option<u32> {
        let arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Options::read(&arguments).map(|options| options.minutes)
    }

    #[test]
    fn options_name_the_target_and_the_minutes() {
        assert_eq!(read(&["cron"]), Some(MINUTES));
        assert_eq!(read(&["cron", "--minutes", "3"]), Some(3));
        for wrong in [
            &[][..],
            &["cron", "--minutes"],
            &["cron", "--minutes", "0"],
            &["parser"],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
