//! `provider`: people log in by an identity provider that others wrote (npm's `oidc-provider`). It needs node and npm, and
//! what npm brings is not Debian's: so it is no part of `test`, and its record is listed there with its age.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use xtask::tidy;

use super::{Steps, cargo};
use crate::evidence;

/// Tells the test where the foreign provider is.
const VARIABLE: &str = "CAMPANILE_FOREIGN_PROVIDER";
/// What is installed, and what is run.
const SOURCES: &str = "crates/campanile-server/tests/foreign";

/// The provider while it runs; it ends with its standard input.
struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    fn start() -> Option<Self> {
        let (root, folder) = (tidy::root(), tidy::root().join("target/foreign-provider"));
        let mut child = Command::new("node")
            .arg(root.join(SOURCES).join("provider.mjs"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut issuer = String::new();
        let output = child.stdout.take()?;
        BufReader::new(output).read_line(&mut issuer).ok()?;
        let issuer = issuer.trim().to_owned();
        issuer.starts_with("http").then_some(Self { child, issuer })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs the provider, starts it, and has people log in.
pub fn run() -> bool {
    let mut steps = Steps::default();
    let folder = tidy::root().join("target/foreign-provider");
    let copied = std::fs::create_dir_all(&folder).and_then(|()| {
        let package = tidy::root().join(SOURCES).join("package.json");
        std::fs::copy(package, folder.join("package.json"))
    });
    steps.step("the provider's folder", || copied.is_ok());
    let mut install = Command::new("npm");
    install
        .current_dir(&folder)
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
    steps.program("npm install", &mut install);
    steps.step("people log in", || {
        let Some(provider) = Provider::start() else {
            super::say("the provider did not start: it needs node 18 or newer");
            return false;
        };
        let mut test = cargo(&[
            "test",
            "-p",
            "campanile-server",
            "--test",
            "main",
            "people_log_in_at_each_provider",
        ]);
        test.args(["--", "--nocapture"])
            .env(VARIABLE, &provider.issuer);
        evidence::watch("provider", "cargo xtask provider", &mut test)
    });
    steps.report("provider");
    steps.passed()
}
