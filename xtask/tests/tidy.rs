//! The rules of the house hold for the whole workspace: the same check as `cargo xtask tidy`, as an ordinary test, so
//! that whoever runs the tests sees a broken rule too.

#[test]
fn the_workspace_is_tidy() {
    let findings = xtask::tidy::check(&xtask::tidy::root()).unwrap();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}
