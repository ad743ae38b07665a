//! The rules that keep the docs from drifting: a path, a link or a crate that a page names exists. Code blocks are left
//! alone, since what they show is run or made up; so are paths that belong to the reader's machine.

use std::collections::BTreeSet;

use super::{File, Finding, Names};

/// What our own files end with; a name with one of these ends is looked for even without a folder in front.
const OWN_ENDINGS: [&str; 2] = [".rs", ".md"];

pub(super) fn check(file: &File, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_block = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            continue;
        }
        let marked: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        for name in &marked {
            if is_own_path(name, names) && !path_exists(file, name, names) {
                findings
                    .push(file.finding(at + 1, format!("names `{name}`, which does not exist")));
            }
            if is_own_crate(name) && !names.crates.contains(*name) && !names.paths.contains(*name) {
                findings.push(file.finding(
                    at + 1,
                    format!("names the crate `{name}`, which does not exist"),
                ));
            }
        }
        for name in crates_called_so(line).filter(|name| !names.crates.contains(*name)) {
            findings.push(file.finding(
                at + 1,
                format!("names the crate `{name}`, which nothing here uses"),
            ));
        }
        for link in links(line).filter(|link| !link_exists(file, link, names)) {
            findings.push(file.finding(at + 1, format!("links to {link}, which does not exist")));
        }
    }
    findings
}

/// What a line begins with that a page may name: an item, not a remark or the middle of something.
const ITEMS: [&str; 8] = [
    "static ",
    "const ",
    "fn ",
    "async fn ",
    "struct ",
    "enum ",
    "trait ",
    "impl ",
];

/// A line of code that a page names (`a/b.rs:12`) begins an item: one that has moved is found here.
pub(super) fn lines(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (at, text) in page.text.lines().enumerate() {
            for name in text.split('`').skip(1).step_by(2) {
                if let Some(there) = line_of(files, name).filter(|there| !begins_item(there)) {
                    let what = format!("names `{name}`, where no item begins: `{}`", there.trim());
                    findings.push(page.finding(at + 1, what));
                }
            }
        }
    }
    findings
}

/// The line that a name like `a/b.rs:12` means; empty behind the file's end.
fn line_of<'a>(files: &'a [File], name: &str) -> Option<&'a str> {
    let (path, number) = name.split_once(".rs:")?;
    let number: usize = number.parse().ok()?;
    let file = files
        .iter()
        .find(|file| file.path.strip_suffix(".rs") == Some(path))?;
    let line = file.text.lines().nth(number.checked_sub(1)?);
    Some(line.unwrap_or_default())
}

fn begins_item(line: &str) -> bool {
    let line = line.trim_start();
    let bare = match line.strip_prefix("pub") {
        Some(rest) => rest
            .trim_start_matches("(super)")
            .trim_start_matches("(crate)"),
        None => line,
    };
    let bare = bare.trim_start();
    ITEMS.iter().any(|item| bare.starts_with(item))
}

/// Every change that a user can see is told in one place.
pub(super) fn changelog(names: &Names) -> Option<Finding> {
    let what = "is missing: what changed for users is told there (Keep a Changelog)";
    let finding = Finding {
        path: "CHANGELOG.md".to_owned(),
        line: 0,
        what: what.to_owned(),
    };
    (!names.paths.contains("CHANGELOG.md")).then_some(finding)
}

/// Whether a name in code marks is meant as a path of this repository.
fn is_own_path(name: &str, names: &Names) -> bool {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c));
    if !plain || name.contains("//") || name.starts_with(['/', '-']) || name.starts_with("~/") {
        return false;
    }
    let path = without_line(name);
    let has_own_ending = OWN_ENDINGS
        .iter()
        .any(|ending| path.len() > ending.len() && path.ends_with(ending));
    let top = path.split('/').next().unwrap_or_default();
    let under_own_folder = path.contains('/') && folders(&names.paths).contains(top);
    has_own_ending || under_own_folder
}

/// As it stands from the root, from the page's folder, or as the end of a path (`sql/store.rs`).
fn path_exists(file: &File, name: &str, names: &Names) -> bool {
    let path = without_line(name).trim_end_matches('/');
    let near = join(folder_of(&file.path), path);
    let tail = format!("/{path}");
    let inner = format!("{tail}/");
    names.paths.iter().any(|known| {
        [path, near.as_str()]
            .iter()
            .any(|wanted| is_or_contains(known, wanted))
            || known.ends_with(&tail)
            || known.contains(&inner)
    })
}

/// Our own crates are called `campanile-…`.
fn is_own_crate(name: &str) -> bool {
    let rest = name.strip_prefix("campanile-");
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    })
}

/// "crate `x`" and "`x` crate".
fn crates_called_so(line: &str) -> impl Iterator<Item = &str> {
    let parts: Vec<&str> = line.split('`').collect();
    let count = parts.len();
    (1..count.saturating_sub(1))
        .step_by(2)
        .filter_map(move |at| {
            let (before, name, after) = (parts[at - 1], parts[at], parts[at + 1]);
            let called = before.ends_with("crate ") || after.starts_with(" crate");
            let is_name = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            (called && is_name).then_some(name)
        })
}

/// The targets of `[text](target)` outside code marks.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let prose = line.split('`').step_by(2);
    let starts = prose.flat_map(|text| text.split("](").skip(1));
    starts
        .filter_map(|rest| rest.split([')', ' ']).next())
        .filter(|target| !target.is_empty())
}

fn link_exists(file: &File, link: &str, names: &Names) -> bool {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() || link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let wanted = match path.strip_prefix('/') {
        Some(from_root) => from_root.to_owned(),
        None => join(folder_of(&file.path), path),
    };
    names
        .paths
        .iter()
        .any(|known| is_or_contains(known, wanted.trim_end_matches('/')))
}

/// Whether `known` is this path, or lies in the folder of this path.
fn is_or_contains(known: &str, wanted: &str) -> bool {
    known
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn folders(paths: &BTreeSet<String>) -> BTreeSet<&str> {
    paths
        .iter()
        .filter_map(|path| path.split_once('/').map(|(folder, _)| folder))
        .collect()
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `path` seen from `folder`, with `.` and `..` resolved.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `a/b.rs` of `a/b.rs:12`.
fn without_line(name: &str) -> &str {
    match name.split_once(':') {
        Some((path, line))
            if line
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '-' | ':')) =>
        {
            path
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let paths = [
            "README.md",
            "docs/guide/start.md",
            "crates/campanile-core/src/decide/mod.rs",
            "xtask/src/main.rs",
        ];
        let crates = ["campanile", "campanile-server", "serde"];
        Names {
            paths: paths.map(str::to_owned).into(),
            crates: crates.map(str::to_owned).into(),
        }
    }

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&file, &names())
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn paths_that_exist_may_be_named_in_many_ways() {
        for good in [
            "`crates/campanile-core/src/decide/mod.rs`",
            "`crates/campanile-core/src/decide/`",
            "`decide/mod.rs`, `mod.rs:12`",
            "`guide/start.md`",
            "`start.md`",
            "[start](guide/start.md#top), [up](../README.md), [root](/README.md), [web](https://x.y/z.md), [here](#a)",
        ] {
            assert!(
                found("docs/index.md", good).is_empty(),
                "{good}: {:?}",
                found("docs/index.md", good)
            );
        }
    }

    #[test]
    fn paths_that_are_gone_are_found() {
        for bad in [
            "`crates/campanile-core/src/gone.rs`",
            "`docs/gone/`",
            "`gone.rs`",
            "`protocol/gone.md`",
            "[x](gone.md)",
            "[x](/docs/gone.md)",
        ] {
            assert_eq!(found("README.md", bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for other in [
            "`/etc/campanile/tasks.toml`",
            "`tasks.toml`",
            "`GET /api/v1/runs`",
            "`text/html`",
            "`sqlite:file.db`",
            "`crates/*/src`",
            "`https://a.b/c.md`",
            "```\n`crates/gone.rs` [x](gone.md)\n```",
        ] {
            assert!(
                found("README.md", other).is_empty(),
                "{other}: {:?}",
                found("README.md", other)
            );
        }
    }

    #[test]
    fn crates_must_exist() {
        assert!(
            found(
                "README.md",
                "`campanile-server` and the crate `serde`, the `campanile` crate"
            )
            .is_empty()
        );
        assert_eq!(found("README.md", "`campanile-gone`").len(), 1);
        assert_eq!(found("README.md", "the `gone` crate").len(), 1);
        assert_eq!(found("README.md", "on the crate `gone`.").len(), 1);
    }

    #[test]
    fn a_line_that_a_page_names_begins_an_item() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let code = file(
            "a/b.rs",
            "//! Head.\nstatic X: u8 = 1;\n    pub(super) const fn y() {\n",
        );
        let found = |page: &str| lines(&[file("p.md", page), code.clone()]).len();
        assert_eq!(
            found("`a/b.rs:2` and `a/b.rs:3`, `a/b.rs`, `other.rs:1`"),
            0
        );
        assert_eq!(found("`a/b.rs:1`"), 1);
        assert_eq!(found("`a/b.rs:9`, `a/b.rs:0`"), 1);
    }

    #[test]
    fn a_changelog_must_be_there() {
        assert!(changelog(&names()).is_some());
        let with = Names {
            paths: ["CHANGELOG.md".to_owned()].into(),
            ..Names::default()
        };
        assert!(changelog(&with).is_none());
    }
}
