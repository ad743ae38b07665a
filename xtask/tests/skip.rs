//! A test that can't run says so where somebody reads it, or fails. Run in processes of their own, because the rules
//! depend on the environment.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::process::Command;

use xtask::servers::{Error, TempDir};

/// Runs the helper below with these variables; whether it passed, and all it said.
fn helper(variables: &[(&str, &str)]) -> (bool, String) {
    let mut helper = Command::new(std::env::current_exe().unwrap());
    helper
        .args(["--exact", "helper_skips", "--nocapture"])
        .env("CAMPANILE_HELPER", "1");
    helper
        .env_remove("CI")
        .env_remove("CAMPANILE_SKIPS")
        .envs(variables.iter().copied());
    let output = helper.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Does nothing in an ordinary run: it is the process that the tests here look at.
#[test]
fn helper_skips() {
    if std::env::var_os("CAMPANILE_HELPER").is_some() {
        let missing: Result<(), Error> = Err(Error::Missing {
            packages: vec!["redis-server"],
        });
        assert!(xtask::or_skip(missing).is_none());
    }
}

#[test]
fn a_skip_is_recorded_with_its_place_and_its_remedy() {
    let folder = TempDir::new("skip").unwrap();
    let file = folder.join("skips");
    let (passed, _) = helper(&[("CAMPANILE_SKIPS", file.to_str().unwrap())]);
    assert!(passed);
    let line = std::fs::read_to_string(file).unwrap();
    assert!(
        line.contains("tests/skip.rs") && line.contains("helper_skips"),
        "{line}"
    );
    assert!(
        line.contains("apt-get install -y --no-install-recommends redis-server"),
        "{line}"
    );
}

#[test]
fn a_skip_that_nobody_would_read_is_a_failure() {
    let folder = TempDir::new("skip").unwrap();
    let file = folder.join("skips");
    let (passed, said) = helper(&[]);
    assert!(!passed && said.contains("redis-server"), "{said}");
    let (passed, said) = helper(&[("CAMPANILE_SKIPS", file.to_str().unwrap()), ("CI", "true")]);
    assert!(!passed && said.contains("redis-server"), "{said}");
    let (passed, said) = helper(&[("CAMPANILE_SKIPS", "/no/such/folder/skips")]);
    assert!(!passed && said.contains("can't record it"), "{said}");
}
