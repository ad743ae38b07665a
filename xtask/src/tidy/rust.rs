//! The rules about Rust files: how they open, how long they and their functions are, and where features may be named.
//! Sizes are a ratchet: an exception is written down with its number, which only goes down.

use super::lexer::code_of;
use super::{File, Finding};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Shorter heads say nothing.
const HEAD_CHARS_MIN: usize = 40;

/// Places that are over a limit today, each with its present number of lines.
#[derive(Debug)]
pub struct Ratchet {
    /// A file's path, or `path::function`, and its lines.
    pub exceptions: &'static [(&'static str, usize)],
}

/// The rules that need one file alone.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings: Vec<Finding> = head(file).into_iter().collect();
    findings.extend(features(file));
    findings
}

/// A file opens with what it owns, what it never does and why: at least one whole sentence of some length.
fn head(file: &File) -> Option<Finding> {
    let head: Vec<&str> = file
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .collect();
    let sentences = head.join(" ");
    let whole = sentences.contains(". ") || sentences.trim_end().ends_with('.');
    let enough = sentences.trim().len() >= HEAD_CHARS_MIN;
    if enough && whole {
        return None;
    }
    Some(file.finding(
        1,
        "opens without a `//!` head that says what it owns, what it never does and why",
    ))
}

/// Attributes that describe a type to an API document. They leave no code out, so they are free.
const SCHEMAS: [&str; 2] = [
    "#[cfg_attr(feature = \"openapi\", schema(",
    "#[cfg_attr(feature = \"openapi\", derive(utoipa::ToSchema)",
];

/// A feature gates a module in `lib.rs` and nothing else.
fn features(file: &File) -> Vec<Finding> {
    if file.name() == "lib.rs" {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let gated = code.lines().zip(file.text.lines()).enumerate();
    let gated = gated.filter(|(_, (code, written))| {
        let plain: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let describes = SCHEMAS.iter().any(|s| written.trim_start().starts_with(s));
        plain.contains("cfg") && plain.contains("feature=\"") && !describes
    });
    gated
        .map(|(at, _)| file.finding(at + 1, "names a feature: gate the module in lib.rs instead"))
        .collect()
}

/// Files and functions over their limits, and exceptions that no longer hold.
pub(super) fn sizes(
    files: &[File],
    long_files: &Ratchet,
    long_functions: &Ratchet,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut lengths, mut function_lengths) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        lengths.push((
            file.path.clone(),
            file.finding(0, ""),
            file.text.lines().count(),
        ));
        for function in functions(&file.text) {
            let name = format!("{}::{}", file.path, function.name);
            function_lengths.push((name, file.finding(function.line, ""), function.lines));
        }
    }
    findings.extend(ratchet(&lengths, FILE_LINES_MAX, long_files));
    findings.extend(ratchet(
        &function_lengths,
        FUNCTION_LINES_MAX,
        long_functions,
    ));
    findings
}

fn ratchet(lengths: &[(String, Finding, usize)], limit: usize, ratchet: &Ratchet) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, place, lines) in lengths {
        let allowed = ratchet
            .exceptions
            .iter()
            .find(|(exception, _)| exception == name)
            .map(|(_, lines)| *lines);
        let what = match allowed {
            None if *lines > limit => {
                format!("{name} has {lines} lines, the limit is {limit}: split it")
            }
            Some(allowed) if *lines > allowed => {
                format!("{name} grew from {allowed} to {lines} lines")
            }
            Some(_) if *lines <= limit => {
                format!("{name} is within the limit now: remove its exception from tidy")
            }
            Some(allowed) if *lines < allowed => {
                format!("{name} shrank: lower its exception from {allowed} to {lines}")
            }
            _ => continue,
        };
        findings.push(Finding {
            what,
            ..place.clone()
        });
    }
    for (name, _) in ratchet.exceptions {
        if !lengths.iter().any(|(known, ..)| known == name) {
            let path = name.split("::").next().unwrap_or_default().to_owned();
            findings.push(Finding {
                path,
                line: 0,
                what: format!("{name} is gone: remove its exception from tidy"),
            });
        }
    }
    findings
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Where it starts, from 1.
    line: usize,
    /// The lines of its body that hold code (as clippy counts).
    lines: usize,
}

fn functions(source: &str) -> Vec<Function> {
    let code = code_of(source);
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        let name: String = code[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') || name.is_empty() {
            continue;
        }
        if let Some(body) = body(&code[at..]) {
            let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
            functions.push(Function {
                name,
                line: code[..at].matches('\n').count() + 1,
                lines,
            });
        }
    }
    functions
}

/// What stands between the braces of the function that starts here; `None` for one without a body.
fn body(code: &str) -> Option<&str> {
    let mut nested = 0_usize;
    // Array types in the signature hold a `;` in their brackets.
    let open = code.char_indices().find_map(|(at, c)| {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            '{' | ';' if nested == 0 => return Some((at, c)),
            _ => {}
        }
        None
    })?;
    if open.1 == ';' {
        return None;
    }
    let mut depth = 0_usize;
    for (at, c) in code[open.0..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&code[open.0 + 1..open.0 + at]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "//! Owns this and that; never those,\n//! because so.\n";

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn lines_of(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_head_says_something_in_a_sentence() {
        assert!(check(&file("a.rs", HEAD)).is_empty());
        for bad in [
            "",
            "fn f() {}\n",
            "//! One line.\n",
            "//! No sentence\n//! at all\n",
            "//! A.\n//!\n",
            "\n//! Late.\n//! So.\n",
        ] {
            assert_eq!(lines_of(&check(&file("a.rs", bad))), [1], "{bad:?}");
        }
    }

    #[test]
    fn features_are_named_in_lib_rs_alone() {
        for gate in [
            "#[cfg(feature = \"sql\")]",
            "#[cfg(all(unix, feature=\"x\"))]",
            "if cfg!(feature = \"x\") {}",
            "#[cfg_attr(feature = \"openapi\", derive(Clone))]",
        ] {
            let text = format!("{HEAD}{gate}\nmod sql;\n");
            assert_eq!(
                lines_of(&check(&file("src/sql/mod.rs", &text))),
                [3],
                "{gate}"
            );
            assert!(check(&file("src/lib.rs", &text)).is_empty());
        }
        let innocent = format!(
            "{HEAD}// #[cfg(feature = \"x\")]\n#[cfg_attr(feature = \"openapi\", derive(utoipa::ToSchema))]\n#[cfg(test)]\nlet feature = \"cfg\";\n"
        );
        assert!(check(&file("src/a.rs", &innocent)).is_empty());
    }

    #[test]
    fn functions_are_measured_as_clippy_does() {
        let source = "trait T { fn none(&self); }\nfn one(x: [u8; 2]) -> bool {\n  // no\n\n  let s = \"}\";\n  x.is_empty()\n}\nstruct S { f: fn () -> u8 }\n";
        let found = functions(source);
        assert_eq!(
            found,
            [Function {
                name: "one".to_owned(),
                line: 2,
                lines: 2
            }]
        );
    }

    #[test]
    fn closures_and_nested_functions_count_for_the_outer_one() {
        let found = functions(
            "fn outer() {\n  fn inner() {\n    a();\n  }\n  b(|| {\n    c();\n  });\n}\n",
        );
        let sizes: Vec<(&str, usize)> = found
            .iter()
            .map(|function| (function.name.as_str(), function.lines))
            .collect();
        assert_eq!(sizes, [("outer", 6), ("inner", 1)]);
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let long = format!(
            "{HEAD}fn f() {{\n{}}}\n{}",
            "a();\n".repeat(71),
            "// x\n".repeat(430)
        );
        let none = Ratchet { exceptions: &[] };
        let findings = sizes(&[file("a.rs", &long)], &none, &none);
        let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "a.rs: a.rs has 505 lines, the limit is 500: split it",
                "a.rs:3: a.rs::f has 71 lines, the limit is 70: split it"
            ]
        );
    }

    #[test]
    fn exceptions_only_go_down() {
        let files = [file("a.rs", &"x\n".repeat(600)), file("b.rs", "x\n")];
        let none = Ratchet { exceptions: &[] };
        let with = |exceptions| sizes(&files, &Ratchet { exceptions }, &none);
        assert!(with(&[("a.rs", 600)]).is_empty());
        assert!(
            with(&[("a.rs", 599)])[0]
                .what
                .contains("grew from 599 to 600")
        );
        assert!(
            with(&[("a.rs", 601)])[0]
                .what
                .contains("lower its exception from 601 to 600")
        );
        assert!(
            with(&[("a.rs", 600), ("b.rs", 501)])[0]
                .what
                .contains("within the limit now")
        );
        assert!(
            with(&[("a.rs", 600), ("c.rs", 501)])[0]
                .what
                .contains("c.rs is gone")
        );
    }
}
