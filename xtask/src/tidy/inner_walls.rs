//! The walls inside crates, as ARCHITECTURE.md lists them: which folder names nothing of which module. The compiler keeps
//! the walls between crates; these it can't see. The list is the document's own, so the two never differ.

use super::lexer::code_of;
use super::{File, Finding};

/// The document and the heading of its list.
const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Walls";

/// One row of the list: in this folder or file, nothing of these modules is named.
#[derive(Debug, PartialEq, Eq)]
struct Wall {
    inside: String,
    outside: Vec<String>,
}

/// What breaks a wall of the list, or that there is none.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == DOCUMENT) else {
        return Vec::new();
    };
    let walls = walls(&document.text);
    if walls.is_empty() {
        return vec![document.finding(0, format!("no walls are listed under `{HEADING}`"))];
    }
    let mut findings = Vec::new();
    for wall in &walls {
        let mut inside = files.iter().filter(|file| is_inside(file, wall)).peekable();
        if inside.peek().is_none() {
            let what = format!("the wall around `{}` stands around nothing", wall.inside);
            findings.push(document.finding(0, what));
        }
        findings.extend(inside.flat_map(|file| breaches(file, wall)));
    }
    findings
}

fn is_inside(file: &File, wall: &Wall) -> bool {
    let below = file.path.strip_prefix(&wall.inside);
    file.path.ends_with(".rs") && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn breaches(file: &File, wall: &Wall) -> Vec<Finding> {
    let code = code_of(&file.text);
    let mut findings = Vec::new();
    for (at, line) in code.lines().enumerate() {
        for module in wall.outside.iter().filter(|module| names(line, module)) {
            let what = format!(
                "names `{module}`, from which `{}` is walled off ({DOCUMENT}, walls)",
                wall.inside
            );
            findings.push(file.finding(at + 1, what));
        }
    }
    findings
}

/// Whether a line of code has this path (`crate::control`, `campanile_core::actor`), or something below it.
fn names(line: &str, module: &str) -> bool {
    line.match_indices(module).any(|(at, _)| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let before = line[..at].chars().next_back();
        let after = line[at + module.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The rows of the list: its first column names the inside, its second what is outside.
fn walls(text: &str) -> Vec<Wall> {
    let section = text.split(HEADING).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let quoted = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let wall = |row: &str| {
        let mut cells = row.trim_matches('|').split('|');
        let inside = quoted(cells.next()?).into_iter().next()?;
        let outside = quoted(cells.next()?);
        Some(Wall { inside, outside })
    };
    rows.filter_map(wall).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# A\n\n## Walls\n\n| inside | names nothing of | why |\n|---|---|---|\n\
                        | `a/engine` | `crate::control`, `crate::actor` | because |\n\n## More\n\n| `b` | `c` | |\n";

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn found(path: &str, text: &str) -> Vec<usize> {
        let sound = file("a/engine/sound.rs", "use crate::port::Lock;\n");
        let findings = check(&[file(DOCUMENT, LIST), file(path, text), sound]);
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn what_is_behind_a_wall_is_not_named() {
        let broken = "use crate::port::Lock;\nuse crate::actor::Actor;\n";
        assert_eq!(found("a/engine/x.rs", broken), [2]);
        assert_eq!(found("a/engine/deep/x.rs", "crate::control::f();\n"), [1]);
        assert_eq!(found("a/other/x.rs", broken), [0; 0]);
        assert_eq!(found("a/engine.rs", broken), [0; 0]);
        for sound in [
            "// use crate::actor::Actor;\n",
            "let s = \"crate::actor\";\n",
            "use crate::actors::All;\n",
            "use other_crate::actor::Actor;\n",
        ] {
            assert_eq!(found("a/engine/x.rs", sound), [0; 0], "{sound}");
        }
    }

    #[test]
    fn a_list_that_says_nothing_is_found() {
        let none = check(&[file(DOCUMENT, "# A\n")]);
        assert!(none[0].what.contains("no walls are listed"));
        let nothing = check(&[file(DOCUMENT, LIST)]);
        assert!(nothing[0].what.contains("stands around nothing"));
    }
}
