//! When tasks last succeeded, in memory: the latest end among each task's newest rows. It only reads; whose they are,
//! and how far to look, is decided by whoever asks.

use std::cmp::Reverse;
use std::collections::HashMap;

use campanile_schedule::time::Timestamp;

use super::Tables;
use crate::id::TaskId;
use crate::run::{Run, State};

impl Tables {
    pub(super) fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> HashMap<TaskId, Timestamp> {
        let of = |task: &TaskId| {
            let mine = self.history.values().filter(|run| run.task == Some(*task));
            let mut mine: Vec<&Run> = mine.collect();
            mine.sort_by_key(|run| Reverse(run.id));
            let newest = mine.into_iter().take(look);
            let well = newest.filter(|run| run.state == State::Succeeded);
            Some((*task, well.filter_map(|run| run.finished_at).max()?))
        };
        tasks.iter().filter_map(of).collect()
    }
}
