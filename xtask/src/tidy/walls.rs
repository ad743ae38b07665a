//! The walls between the crates that cargo itself does not keep: what a crate may depend on, where that is a promise. It
//! reads the manifest alone; dev-dependencies are free, for nobody who adds the crate gets them.

use super::{File, Finding};

/// A manifest, and all that it may depend on.
const WALLS: [(&str, &[&str]); 3] = [
    (
        "crates/campanile-access/Cargo.toml",
        &[
            "campanile-schedule",
            "hex",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "utoipa",
        ],
    ),
    (
        "crates/campanile-schedule/Cargo.toml",
        &["jiff", "serde", "thiserror"],
    ),
    (
        "crates/campanile-task/Cargo.toml",
        &[
            "campanile-schedule",
            "jiff",
            "serde",
            "serde_json",
            "serde_path_to_error",
            "strsim",
            "thiserror",
            "utoipa",
        ],
    ),
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let allowed = WALLS.iter().find(|(path, _)| *path == file.path);
    let Some((_, allowed)) = allowed else {
        return Vec::new();
    };
    let mut within = false;
    let mut findings = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let name = match line.strip_prefix('[') {
            Some(section) => {
                let section = section.trim_end_matches(']');
                within = section.ends_with("dependencies") && !section.contains("dev-dependencies");
                section.strip_prefix("dependencies.").unwrap_or_default()
            }
            None if within => line.split(['.', '=', ' ', '#']).next().unwrap_or_default(),
            None => "",
        };
        if !name.is_empty() && !allowed.contains(&name) {
            let what = format!(
                "depends on `{name}`: this crate promises to need nothing but {}",
                allowed.join(", ")
            );
            findings.push(file.finding(at + 1, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crate_promised_not_to_need_is_found() {
        let manifest = |path: &str, dependency: &str| File {
            path: path.to_owned(),
            text: format!(
                "[package]\nname = \"x\"\n\n[dependencies]\n# Why.\njiff.workspace = true\n{dependency}\n\n[dev-dependencies]\ntokio = \"1\"\n"
            ),
        };
        let walled = "crates/campanile-schedule/Cargo.toml";
        for dependency in [
            "tokio = \"1\"",
            "campanile.workspace = true",
            "sqlx = { version = \"0.9\" }",
            "[dependencies.async-trait]",
            "[target.'cfg(unix)'.dependencies]\nnix = \"1\"",
        ] {
            let findings = check(&manifest(walled, dependency));
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(check(&manifest("xtask/Cargo.toml", dependency)).is_empty());
        }
        assert!(check(&manifest(walled, "serde.workspace = true")).is_empty());
    }
}
