//! What is played on the field: each scene brings its own faults, and the proof that each of them happened.

use std::collections::BTreeMap;
use std::time::Duration;

use xtask::servers::holds_within;

use crate::load::{Asked, Task};
use crate::stand::Stand;
use crate::{Outcome, wall_ms};

pub mod chaos;
pub mod cluster;
pub mod failpoints;
mod report;

/// Pauses every task, each asked again until somebody has answered; gives when.
fn pause_all(stand: &Stand, tasks: &[Task], limit: Duration) -> Outcome<BTreeMap<String, Asked>> {
    let mut paused = BTreeMap::new();
    for task in tasks {
        let path = format!("/tasks/{}/pause", task.name);
        let asked_ms = wall_ms();
        let mut said = None;
        let answered = holds_within(limit, || {
            said = stand.ask("POST", &path, None, &|| false);
            match &said {
                Some((200, _)) => true,
                // One that people deleted has no schedule, and nothing to pause.
                Some((404, _)) => task.period_ms.is_none(),
                _ => false,
            }
        });
        if !answered {
            return Err(format!("{} could not be paused: {said:?}", task.name).into());
        }
        let answered_ms = wall_ms();
        let asked = Asked {
            asked_ms,
            answered_ms,
        };
        paused.insert(task.name.clone(), asked);
    }
    Ok(paused)
}
