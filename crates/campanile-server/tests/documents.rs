//! What the documents tell people to type: every command is one that the program knows, and what they show as its answer
//! is what it answers.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages that people follow.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("reference") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The lines of a page's code blocks, those that end with a backslash joined with the next.
fn blocks(text: &str) -> Vec<Vec<String>> {
    let mut out: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    let mut joined = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            if inside {
                out.push(Vec::new());
            }
        } else if inside {
            let uncommented = line.split("  # ").next().unwrap_or(line);
            match uncommented.trim_end().strip_suffix('\\') {
                Some(begin) => joined.push_str(begin),
                None => {
                    let whole = std::mem::take(&mut joined) + line;
                    out.last_mut().unwrap().push(whole);
                }
            }
        }
    }
    out
}

/// A command as a shell would split it; `None` for a line that is no command of ours.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start().trim_start_matches("$ ");
    let command = line.strip_prefix("campanile ")?;
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, ' ') => words.extend(word.take()),
            // What a shell does with the output, and remarks.
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '&' | ';') => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    // Three points stand for what is a reader's own: a flag's value, or more of the same.
    let is_value = |at: usize| at > 0 && words[at - 1].starts_with("--");
    let kept = (0..words.len()).filter(|at| words[*at] != "…" || is_value(*at));
    Some(kept.map(|at| words[at].clone()).collect())
}

#[test]
fn every_command_that_a_page_shows_is_one_that_the_program_knows() {
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for line in blocks(&text).concat() {
            let Some(words) = words(&line) else { continue };
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
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            let Some(words) = block
                .first()
                .filter(|l| l.starts_with("$ "))
                .and_then(|l| words(l))
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
    let page = std::fs::read_to_string(root().join("docs/guide/sharp-edges.md")).unwrap();
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
