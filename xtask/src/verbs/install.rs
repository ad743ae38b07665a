//! Installs the servers that the tests need, where that is ours to do: as root on a machine with apt-get. It installs
//! programs only; the services that come with them are not started, because the tests start private ones.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use xtask::servers::{install_line, is_root, missing, on_path};

use super::say;

/// Debian asks this script before it starts a service; 101 means "no".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What a chaos campaign needs beside the servers: the program, and the Debian package that has it.
const TOOLS: [(&str, &str); 2] = [("faketime", "faketime"), ("sqlite3", "sqlite3")];

/// Installs what is missing, or says how to. What is missing afterwards is reported by the tests that need it.
pub fn servers() {
    get(&missing());
}

/// The same with the tools of a chaos campaign.
pub fn tools() {
    let lacks = TOOLS.into_iter().filter(|(program, _)| !on_path(program));
    let mut all = missing();
    all.extend(lacks.map(|(_, package)| package));
    get(&all);
}

fn get(packages: &[&str]) {
    if packages.is_empty() {
        return;
    }
    if !is_root() || !on_path("apt-get") {
        say(&format!(
            "some tests can't run without servers that this machine lacks; to install them:\n  {}",
            install_line(packages)
        ));
        return;
    }
    say(&format!("installing {}", packages.join(" ")));
    let quiet = Silence::new();
    // An old index may still do: the installation itself decides.
    apt(&["update", "-qq"]);
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    if !apt(&install) {
        say(&format!(
            "failed to install them; by hand:\n  {}",
            install_line(packages)
        ));
    }
    drop(quiet);
}

fn apt(arguments: &[&str]) -> bool {
    let mut apt = Command::new("apt-get");
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt.status().is_ok_and(|status| status.success())
}

/// While it lives, no installed service is started. A policy that the machine already has is left alone.
struct Silence {
    ours: bool,
}

impl Silence {
    fn new() -> Self {
        let path = Path::new(POLICY);
        let ours = !path.exists() && std::fs::write(path, "#!/bin/sh\nexit 101\n").is_ok();
        if ours && let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(0o755)) {
            say(&format!(
                "failed to keep the installed services from starting: {error}"
            ));
        }
        Self { ours }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            say(&format!(
                "failed to remove {POLICY}, which keeps services from starting: {error}"
            ));
        }
    }
}
