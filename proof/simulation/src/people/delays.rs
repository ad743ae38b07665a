//! What people change of schedules that go on from the ends of their runs.

use std::time::Duration;

use campanile_core::task::{Task, TaskSpec};
use campanile_schedule::time::format_duration;
use tokio::runtime::Runtime;

use super::People;
use crate::net::HOME;
use crate::oracle::Grid;
use crate::tally::Seen;

impl People {
    /// It stays one, and its delay is another.
    pub(super) fn change_delay(&self, home: &Runtime, task: Task, grid: Grid) {
        let step = format_duration(Duration::from_millis(grid.step_ms));
        let spec = TaskSpec {
            schedule: Some(format!("after {step}").into()),
            ..task.spec
        };
        let changed = usize::from(self.put(home, "change of delay", &spec).is_some());
        let name = || spec.name.clone();
        self.net.seen(HOME, Seen::DelayChanged, changed, name);
    }
}
