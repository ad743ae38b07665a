//! Which program a workload starts: this one again, or `campanile`, which is built beside it.

use std::path::{Path, PathBuf};

use super::Error;

/// The name of the program that is measured.
const CAMPANILE: &str = "campanile";

/// This program.
///
/// # Errors
/// The operating system's.
pub fn own_program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|e| Error::Unavailable(e.to_string()))
}

/// The program `campanile` beside this one.
///
/// # Errors
/// It is not there, with how to build it.
pub fn campanile() -> Result<PathBuf, Error> {
    beside(&own_program()?)
}

fn beside(own: &Path) -> Result<PathBuf, Error> {
    let program = own.with_file_name(CAMPANILE);
    match program.is_file() {
        true => Ok(program),
        false => Err(Error::NoProgram(program)),
    }
}

#[cfg(test)]
mod tests {
    use campanile_core::system::Random;

    use super::*;
    use crate::site::Scratch;

    #[test]
    fn the_program_that_is_measured_is_the_one_beside_this() {
        let folder = Scratch::new(&Random::from_system()).unwrap();
        let own = folder.path().join("campanile-bench");
        let there = folder.path().join("campanile");
        let said = beside(&own).unwrap_err().to_string();
        for part in [
            there.to_str().unwrap(),
            "cargo build --release",
            "--program FILE",
        ] {
            assert!(said.contains(part), "{said}");
        }
        std::fs::write(&there, "").unwrap();
        assert_eq!(beside(&own).unwrap(), there);
    }
}
