//! The rules that a machine can keep, so that nobody has to remember them: heads of files, sizes, names in the docs,
//! words that don't belong in a commit. Each rule is a function on one file's text; only this file reads the disk.
//! It never fixes anything, and knows nothing that the compiler or clippy already checks.

mod docs;
mod heart;
mod inner_walls;
mod lexer;
mod rust;
mod walls;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use rust::Ratchet;

/// Files over the limit, with their present number of lines. The numbers only go down: a file that shrank must have
/// its number lowered, one that grew fails.
const LONG_FILES: Ratchet = Ratchet { exceptions: &[] };
/// The same for functions, named `path::function`.
const LONG_FUNCTIONS: Ratchet = Ratchet { exceptions: &[] };

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root.
    pub path: String,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// One text file.
#[derive(Debug, Clone)]
struct File {
    path: String,
    text: String,
}

impl File {
    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What the rules about names look names up in.
#[derive(Debug, Default)]
struct Names {
    /// Every file of the repository, texts or not.
    paths: BTreeSet<String>,
    /// The packages of the workspace and all that it depends on.
    crates: BTreeSet<String>,
}

/// The root of this workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Checks every file that git knows, or would know after `git add`, under `root`.
///
/// # Errors
/// When git can't list the files.
pub fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let paths = paths(root)?;
    let read = |path: &String| {
        // What is no text (an image) or has just been removed has no lines to check.
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(File {
            path: path.clone(),
            text,
        })
    };
    let files: Vec<File> = paths.iter().filter_map(read).collect();
    let names = Names {
        crates: crates(&files),
        paths,
    };
    Ok(check_files(&files, &names, &LONG_FILES, &LONG_FUNCTIONS))
}

fn check_files(
    files: &[File],
    names: &Names,
    long_files: &Ratchet,
    long_functions: &Ratchet,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if file.path.ends_with(".rs") {
            findings.extend(rust::check(file));
        }
        if file.path.ends_with(".md") {
            findings.extend(docs::check(file, names));
        }
        findings.extend(walls::check(file));
        findings.extend(words::check(file));
    }
    findings.extend(rust::sizes(files, long_files, long_functions));
    findings.extend(inner_walls::check(files));
    findings.extend(heart::check(files));
    findings.extend(docs::lines(files));
    findings.extend(docs::changelog(names));
    findings.sort();
    findings
}

fn paths(root: &Path) -> io::Result<BTreeSet<String>> {
    let mut git = Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])
    .current_dir(root);
    let output = git.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!(
            "list the files of {}: {why}",
            root.display()
        )));
    }
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let existing = list
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).exists());
    Ok(existing.map(str::to_owned).collect())
}

/// The names in the workspace's manifests and its lock file.
fn crates(files: &[File]) -> BTreeSet<String> {
    let manifests = files
        .iter()
        .filter(|file| matches!(file.name(), "Cargo.toml" | "Cargo.lock"));
    let lines = manifests.flat_map(|file| file.text.lines());
    let names = lines.filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_whole_tree_is_checked_and_findings_name_their_place() {
        let files = [
            file(
                "crates/a/src/lib.rs",
                "//! Owns the letter a and never touches b,\n//! because c says so.\npub fn f() {}\n",
            ),
            file("crates/a/src/bare.rs", "pub fn f() {}\n"),
            file("README.md", "See `crates/a/src/gone.rs`.\n"),
        ];
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let names = Names {
            paths,
            crates: BTreeSet::new(),
        };
        let none = Ratchet { exceptions: &[] };
        let findings = check_files(&files, &names, &none, &none);
        let places: Vec<(&str, usize)> = findings
            .iter()
            .map(|finding| (finding.path.as_str(), finding.line))
            .collect();
        assert_eq!(
            places,
            [
                ("CHANGELOG.md", 0),
                ("README.md", 1),
                ("crates/a/src/bare.rs", 1)
            ]
        );
        assert!(findings[1].to_string().starts_with("README.md:1: "));
        assert!(findings[0].to_string().starts_with("CHANGELOG.md: "));
    }

    #[test]
    fn crates_are_read_from_manifests_and_the_lock_file() {
        let files = [
            file("x/Cargo.toml", "[package]\nname = \"x\"\n"),
            file("Cargo.lock", "[[package]]\nname = \"serde\"\n"),
        ];
        assert_eq!(
            crates(&files).into_iter().collect::<Vec<_>>(),
            ["serde", "x"]
        );
    }

    #[test]
    fn git_lists_new_files_and_not_ignored_or_removed_ones() {
        let folder = crate::servers::TempDir::new("tidy").unwrap();
        let git = |arguments: &[&str]| {
            let status = Command::new("git")
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .unwrap()
                .status;
            assert!(status.success());
        };
        git(&["init", "--quiet"]);
        for name in ["kept.md", "removed.md", "ignored.log"] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        std::fs::write(folder.join(".gitignore"), "*.log\n").unwrap();
        git(&["add", "removed.md"]);
        std::fs::remove_file(folder.join("removed.md")).unwrap();
        assert_eq!(
            paths(folder.path())
                .unwrap()
                .into_iter()
                .collect::<Vec<_>>(),
            [".gitignore", "kept.md"]
        );
        let findings = check(folder.path()).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    #[test]
    fn a_folder_without_git_is_an_error() {
        let folder = crate::servers::TempDir::new("tidy").unwrap();
        let error = check(folder.path()).unwrap_err().to_string();
        assert!(error.contains("list the files"), "{error}");
    }
}
