//! `cluster` and `chaos`: installs what their servers need, builds the field and plays the scene there. What is played and
//! judged is the business of `proof/field`; this tool does not depend on it, so that it starts at once.

use super::{cargo, install};
use crate::evidence;

/// Plays a scene with the options it was given; its own exit code says whether everything held.
pub fn run(scene: &str, options: &[String]) -> bool {
    install::tools();
    xtask::servers::sweep();
    let mut field = cargo(&[
        "run",
        "--quiet",
        "--package",
        "campanile-field",
        "--",
        scene,
    ]);
    let command = format!("cargo xtask {scene} {}", options.join(" "));
    evidence::watch(scene, command.trim_end(), field.args(options))
}
