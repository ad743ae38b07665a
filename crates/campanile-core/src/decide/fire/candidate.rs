//! A run that the planner looks at, new or waiting.

use std::sync::Arc;

use crate::port::fire::Waiting;
use crate::run::Run;
use crate::task::{HandlerSpec, Task};

use crate::decide::fire::Compiled;

/// A run on its way into the firing.
pub(super) struct Candidate<'t> {
    pub(super) waiting: Waiting,
    pub(super) task: Option<&'t Arc<Compiled>>,
    /// Whether its row exists; else the firing inserts it.
    pub(super) exists: bool,
}

impl Candidate<'_> {
    pub(super) fn run(&self) -> &Run {
        &self.waiting.run
    }

    pub(super) fn spec_task(&self) -> Option<&Task> {
        self.task.map(|c| &*c.task)
    }

    /// What runs: the run's own handler, or its task's.
    pub(super) fn handler(&self) -> Option<&HandlerSpec> {
        let own = self.waiting.spec.as_ref().and_then(|s| s.handler.as_ref());
        own.or_else(|| self.task.map(|c| &c.task.spec.handler))
    }
}
