//! The step of `check` that asks cargo-deny about everything we build on: licences, banned crates, sources, and known
//! weaknesses where a database of them is on this machine. It downloads no database; what it did not ask is a line of the
//! summary.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use xtask::servers::on_path;

use super::{Steps, cargo, say};

/// What installs the program.
const INSTALL: [&str; 3] = ["install", "cargo-deny", "--locked"];

/// A manifest outside the workspace.
const FUZZ: &str = "fuzz/Cargo.toml";

/// Asks about the workspace, and about `fuzz/` where its dependencies can be resolved.
pub fn run(steps: &mut Steps) {
    if !on_path("cargo-deny") {
        steps.note(missing());
        return;
    }
    steps.program(
        "cargo deny: licences, bans, sources",
        &mut cargo(&arguments("Cargo.toml", false)),
    );
    if resolves(FUZZ) {
        steps.program(
            "cargo deny: the same of fuzz/",
            &mut cargo(&arguments(FUZZ, false)),
        );
    } else {
        steps.note(format!(
            "  not run  cargo deny of fuzz/: `cargo metadata --manifest-path {FUZZ}` fails here"
        ));
    }
    if has_database(&database_folder()) {
        steps.program(
            "cargo deny: advisories",
            &mut cargo(&arguments("Cargo.toml", true)),
        );
    } else {
        steps.note(no_database());
    }
}

/// Installs the program where it is missing: it is compiled, which takes minutes. What fails here is said by [`run`].
pub fn install() {
    if on_path("cargo-deny") {
        return;
    }
    say("installing cargo-deny: two to four minutes on two cores");
    if !cargo(&INSTALL)
        .status()
        .is_ok_and(|status| status.success())
    {
        say("failed to install it");
    }
}

fn missing() -> String {
    format!(
        "  not run  cargo deny (licences, bans, sources, advisories): cargo-deny is missing; to install it: \
         cargo {}",
        INSTALL.join(" ")
    )
}

fn no_database() -> String {
    "  not run  cargo deny's advisories: no database of them is on this machine; to fetch it: cargo deny fetch db"
        .to_owned()
}

/// Advisories are asked about `--offline`, so that a check says the same with and without a network.
fn arguments(manifest: &str, advisories: bool) -> Vec<&str> {
    let mut arguments = vec!["deny", "--manifest-path", manifest, "--config", "deny.toml"];
    if advisories {
        arguments.extend(["--offline", "check", "advisories"]);
    } else {
        let checks = [
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ];
        arguments.extend(checks);
    }
    arguments
}

/// Where cargo-deny keeps its databases.
fn database_folder() -> PathBuf {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cargo_home = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
    cargo_home.unwrap_or_default().join("advisory-dbs")
}

/// Whether a database lies in the folder: each has one of its own.
fn has_database(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().is_dir())
}

fn resolves(manifest: &str) -> bool {
    let mut metadata = cargo(&["metadata", "--format-version", "1", "--manifest-path"]);
    metadata
        .arg(manifest)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    metadata.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::servers::TempDir;

    #[test]
    fn a_database_is_a_folder_of_its_own() {
        let folder = TempDir::new("advisories").unwrap();
        assert!(!has_database(&folder.join("not-there")));
        std::fs::write(folder.join("a-file"), "").unwrap();
        assert!(!has_database(&folder.join("")));
        std::fs::create_dir(folder.join("advisory-db-1")).unwrap();
        assert!(has_database(&folder.join("")));
    }

    #[test]
    fn what_was_not_asked_is_said_with_the_command_that_mends_it() {
        assert!(
            missing().contains("not run")
                && missing().contains("cargo install cargo-deny --locked")
        );
        assert!(no_database().contains("not run") && no_database().contains("cargo deny fetch db"));
    }
}
