//! What pages say of this program: every command is one that it knows, and its page of the reference is what it makes.

use campanile_server::cli::reference_of;
use clap::{CommandFactory as _, Parser as _};
use xtask::pages::{blocks, is_committed, pages, spans, words};

use super::Args;

#[test]
fn every_command_that_a_page_shows_is_one_that_the_program_knows() {
    let mut seen = 0;
    for page in pages().unwrap() {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = blocks(&text).concat();
        let lines = blocks.iter().map(String::as_str).chain(spans(&text));
        for words in lines.filter_map(|line| words("campanile-bench", line)) {
            // Capitals stand for what a reader puts there.
            if words.iter().any(|word| word == "WORKLOAD") {
                continue;
            }
            seen += 1;
            let name = std::iter::once("campanile-bench".to_owned());
            let known = Args::try_parse_from(name.chain(words.iter().cloned()));
            assert!(
                known.is_ok(),
                "{}: {words:?}\n{}",
                page.display(),
                known.unwrap_err()
            );
        }
    }
    assert!(seen >= 10, "{seen} commands were found");
}

#[test]
fn the_page_of_help() {
    let help = reference_of(Args::command());
    let page = format!("# The benchmarks\n\n{}\n", help.trim_end());
    is_committed("bench.md", &page).unwrap();
}
