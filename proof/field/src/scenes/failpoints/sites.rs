//! Every failpoint is at one site of the product, and no program that is shipped has any.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use campanile_core::failpoint::Failpoint;

use super::{STOPS, differs_in_a_cluster};

/// All sources of the product but the list of failpoints itself.
fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("failpoint.rs") {
            into.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_failpoint_has_one_site() {
    let root = xtask::tidy::root();
    let mut texts = Vec::new();
    for folder in [
        "crates/campanile-core/src",
        "crates/campanile-ask/src",
        "crates/campanile-adapters/src",
    ] {
        sources(&root.join(folder), &mut texts);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let is_word = |c: char| c.is_ascii_alphanumeric();
    for text in &texts {
        for behind in text.split("Failpoint::").skip(1) {
            let name = behind.split(|c| !is_word(c)).next().unwrap_or_default();
            *counts.entry(name).or_default() += 1;
        }
    }
    for point in Failpoint::ALL {
        let count = counts.get(format!("{point:?}").as_str()).copied();
        assert_eq!(count, Some(1), "sites of {}", point.name());
    }
}

#[test]
fn what_is_built_without_tests_has_no_failpoints() {
    let features = |edges: &str| {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--package",
                "campanile-server",
                "--prefix",
                "none",
            ])
            .args(["--edges", edges, "--format", "{p} [{f}]"])
            .current_dir(xtask::tidy::root())
            .output()
            .unwrap();
        assert!(
            tree.status.success(),
            "{}",
            String::from_utf8_lossy(&tree.stderr)
        );
        let text = String::from_utf8_lossy(&tree.stdout).into_owned();
        let ours = text
            .lines()
            .find(|line| line.starts_with("campanile-core v"));
        // Behind the path, which may hold any word.
        ours.and_then(|line| line.rsplit_once('['))
            .unwrap()
            .1
            .to_owned()
    };
    assert!(features("normal,build,dev").contains("failpoints"));
    assert!(!features("normal,build").contains("failpoints"));
}

/// The table of the page, from the list.
fn table() -> String {
    let mut out = "| failpoint | what has happened | where |\n|---|---|---|\n".to_owned();
    for point in Failpoint::ALL {
        let mut stands = vec!["one"];
        stands.extend(differs_in_a_cluster(point).then_some("cluster"));
        stands.extend(STOPS.contains(point).then_some("stops"));
        let (name, meaning) = (point.name(), point.meaning().trim_end_matches('.'));
        out.push_str(&format!(
            "| `{name}` | {meaning} | {} |\n",
            stands.join(", ")
        ));
    }
    out
}

#[test]
fn the_page_lists_every_failpoint() {
    let page = xtask::tidy::root().join("docs/contribute/failpoints.md");
    let text = std::fs::read_to_string(page).unwrap();
    let table = table();
    assert!(
        text.contains(&table),
        "the page has another table; it must be:\n{table}"
    );
}
