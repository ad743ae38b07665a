//! Builds the program under test once, and knows where builds and logs go. Never runs it.

use std::path::PathBuf;

use xtask::cargo::cargo;

use super::Outcome;

/// Builds the product once and gives the path of its program.
pub fn build(profile: &str) -> Outcome<PathBuf> {
    let built = cargo(&[
        "build",
        "--profile",
        profile,
        "--package",
        "campanile-server",
    ])
    .status()?;
    if !built.success() {
        return Err("the program did not build".into());
    }
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target().join(folder).join("campanile"))
}

/// Where this workspace's builds and logs go.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| xtask::tidy::root().join("target"), PathBuf::from)
}
