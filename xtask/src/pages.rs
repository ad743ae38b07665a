//! The pages that people follow, and the commands that they show: for the tests that hold each program to what is said of
//! it. It reads and compares; which commands a program knows, its own tests say.

use std::io;
use std::path::PathBuf;

use crate::tidy::root;

/// The pages that people follow: those of the reference are made, and apart.
///
/// # Errors
/// The file system's.
pub fn pages() -> io::Result<Vec<PathBuf>> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("reference") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// The lines of a page's code blocks, those that end with a backslash joined with the next.
#[must_use]
pub fn blocks(text: &str) -> Vec<Vec<String>> {
    let mut out: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    let mut joined = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            if inside {
                out.push(Vec::new());
            }
        } else if let Some(block) = out.last_mut().filter(|_| inside) {
            let uncommented = line.split("  # ").next().unwrap_or(line);
            match uncommented.trim_end().strip_suffix('\\') {
                Some(begin) => joined.push_str(begin),
                None => block.push(std::mem::take(&mut joined) + line),
            }
        }
    }
    out
}

/// What stands in backticks within a page's lines, its code blocks left out.
#[must_use]
pub fn spans(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut out = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            out.extend(line.split('`').skip(1).step_by(2));
        }
    }
    out
}

/// The words of a command behind the program's name, as a shell would split it; `None` for a line that is no command of
/// this program.
#[must_use]
pub fn words(program: &str, line: &str) -> Option<Vec<String>> {
    let line = line.trim_start().trim_start_matches("$ ");
    let command = line.strip_prefix(program)?.strip_prefix(' ')?;
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

/// Compares what a program makes with the committed page of the reference; writes it where it can be copied from.
///
/// # Errors
/// They differ, with what to do.
pub fn is_committed(name: &str, made: &str) -> Result<(), String> {
    let committed = root().join("docs/reference").join(name);
    let fresh = root().join("target/reference");
    let written =
        std::fs::create_dir_all(&fresh).and_then(|()| std::fs::write(fresh.join(name), made));
    written.map_err(|e| format!("{}: {e}", fresh.display()))?;
    match std::fs::read_to_string(&committed) {
        Ok(there) if there == made => Ok(()),
        _ => Err(format!(
            "docs/reference/{name} is not what the program makes: cp target/reference/{name} docs/reference/{name}"
        )),
    }
}
