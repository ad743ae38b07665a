//! The program killed, or stopped, at every failpoint, and the next one going on: the scenes are `proof/field`'s, and only
//! this crate's tests have the program with its failpoints.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use campanile_field::scenes::failpoints;

const PROGRAM: &str = env!("CARGO_BIN_EXE_campanile");

/// Both fill the machine, and the leases of their scenes are short: one after the other.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn one_process_dies_at_every_failpoint_and_the_next_puts_everything_right() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let wrong = failpoints::one_process(Path::new(PROGRAM));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn in_a_cluster_others_go_on_when_a_process_dies_or_stops_at_a_failpoint() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(wrong) = xtask::or_skip(failpoints::cluster(Path::new(PROGRAM))) else {
        return;
    };
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
