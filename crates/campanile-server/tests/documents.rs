//! What the documents tell people to type: every command is one that the program knows, and what they show as its answer
//! is what it answers.

use std::process::Command;

use xtask::pages::{blocks, pages, words};
use xtask::tidy::root;

#[test]
fn every_command_that_a_page_shows_is_one_that_the_program_knows() {
    let mut seen = 0;
    for page in pages().unwrap() {
        let text = std::fs::read_to_string(&page).unwrap();
        for line in blocks(&text).concat() {
            let Some(words) = words("campanile", &line) else {
                continue;
            };
            seen += 1;
            let known = campanile_server::cli::knows(&words);
            assert!(
                known.is_ok(),
                "{}: {line}\n{}",
                page.display(),
                known.unwrap_err()
            );
        }
    }
    assert!(seen >= 15, "{seen} commands were found");
}

/// The commands that answer alike everywhere and always: those that need no service and say from when they reckon, or
/// that are refused.
#[test]
fn what_a_page_shows_as_an_answer_is_the_answer() {
    let mut seen = 0;
    for page in pages().unwrap() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            let Some(words) = block
                .first()
                .filter(|l| l.starts_with("$ "))
                .and_then(|l| words("campanile", l))
            else {
                continue;
            };
            if words.first().is_none_or(|w| w != "cron") {
                continue;
            }
            let output = Command::new(env!("CARGO_BIN_EXE_campanile"))
                .args(&words)
                .env_clear()
                .output()
                .unwrap();
            let answer = [output.stdout, output.stderr].concat();
            let answer = String::from_utf8(answer).unwrap();
            let shown = block[1..].join("\n");
            assert_eq!(
                answer.trim_end(),
                shown.trim_end(),
                "{}: {}",
                page.display(),
                block[0]
            );
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} answers were compared");
}

#[test]
fn every_test_that_the_page_of_sharp_edges_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/contribute/sharp-edges.md")).unwrap();
    let mut seen = 0;
    let marked: Vec<&str> = page.split('`').collect();
    for three in marked
        .windows(3)
        .filter(|three| three[1] == " in " && three[2].ends_with(".rs"))
    {
        let (function, file) = (three[0], three[2]);
        let text = std::fs::read_to_string(root().join(file));
        let text = text.unwrap_or_else(|e| panic!("{file}: {e}"));
        let spelled = [
            format!("fn {function}("),
            format!("{function},"),
            format!("\"{function}\""),
        ];
        assert!(
            spelled.iter().any(|s| text.contains(s)),
            "{function} in {file}"
        );
        seen += 1;
    }
    assert!(seen >= 100, "{seen} names");
}

/// A place in the code that a page names with its line is the line that it means.
#[test]
fn the_line_that_makes_a_paused_leader_harmless_is_where_the_readme_says() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, behind) = readme.split_once("the line that does it: `").unwrap();
    let (path, line) = behind.split('`').next().unwrap().rsplit_once(':').unwrap();
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let line: usize = line.parse().unwrap();
    let there = text.lines().nth(line - 1).unwrap();
    assert!(there.starts_with("static FENCE"), "{path}:{line}: {there}");
}

#[test]
fn the_index_lists_every_page_with_a_line() {
    let docs = root().join("docs");
    let index = std::fs::read_to_string(docs.join("README.md")).unwrap();
    for page in pages().unwrap() {
        let Ok(path) = page.strip_prefix(&docs) else {
            continue;
        };
        let link = format!("]({}): ", path.display());
        assert!(
            path.ends_with("README.md") || index.contains(&link),
            "docs/README.md has no line for {}",
            path.display()
        );
    }
}
