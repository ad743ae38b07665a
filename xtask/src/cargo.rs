//! How this project calls cargo: in the root of its workspace, and without what cargo told the tool that calls it.

use std::process::Command;

/// The cargo that runs this tool, in the workspace's root.
#[must_use]
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.args(arguments).current_dir(crate::tidy::root());
    // What cargo told this tool of its own package would make some dependencies' build scripts run again, and with
    // them half of the world.
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if told.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&*name);
        }
    }
    cargo
}
