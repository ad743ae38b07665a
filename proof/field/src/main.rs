//! Plays one scene of the field by its name and arguments: what `cargo xtask cluster` and `cargo xtask chaos` run. The exit
//! code is 0 if everything held, 1 if not, 2 if there is no such scene or option.

use std::process::ExitCode;

use campanile_field::say;
use campanile_field::scenes::{chaos, cluster};

const USAGE: &str = "\
usage: campanile-field SCENE

  cluster [--seconds N] [--failovers N] [--profile P] [--keep]
  chaos [--minutes N] [--store postgres|sqlite|both] [--seed N] [--no-lock] [--profile P] [--keep]
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let passed = match arguments.split_first() {
        Some((scene, rest)) if scene == "cluster" => {
            cluster::Options::read(rest).map(|options| cluster::run(&options))
        }
        Some((scene, rest)) if scene == "chaos" => {
            chaos::Options::read(rest).map(|options| chaos::run(&options))
        }
        _ => None,
    };
    match passed {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            say(USAGE);
            ExitCode::from(2)
        }
    }
}
