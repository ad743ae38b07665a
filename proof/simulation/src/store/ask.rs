//! Ask, as a process meets it: slow, unreachable, contended, or committed without an answer.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile_core::decide::edit::inbox::Settled;
use campanile_core::decide::edit::keys::Scope;
use campanile_core::id::{NodeId, RunId, TaskId};
use campanile_core::port::ask::{
    AskCluster, AskRuns, AskTasks, Backlog, Former, Named, Quarantined, QueueCount, RunFilter,
    RunRecord, TaskFilter, TaskPage,
};
use campanile_core::port::attempt::Chunk;
use campanile_core::port::member::Node;
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_core::task::{Pause, Task};
use campanile_schedule::time::Timestamp;

use super::FaultyStore;

#[async_trait]
impl AskTasks for FaultyStore {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        self.read("tasks", self.inner.tasks(filter, after, limit))
            .await
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        self.read("tasks_by_id", self.inner.tasks_by_id(ids)).await
    }

    async fn pauses(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Pause>, Error> {
        self.read("pauses", self.inner.pauses(ids)).await
    }

    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        self.read("tasks_by_name", self.inner.tasks_by_name(names))
            .await
    }

    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error> {
        self.read("former_tasks", self.inner.former_tasks(name, limit))
            .await
    }

    async fn namesakes(&self, name: &str, limit: usize) -> Result<Vec<TaskId>, Error> {
        self.read("namesakes", self.inner.namesakes(name, limit))
            .await
    }

    async fn task_names(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error> {
        self.read("task_names", self.inner.task_names(ids)).await
    }

    async fn backlogs(&self, tasks: &[TaskId], overdue: Timestamp) -> Result<Vec<Backlog>, Error> {
        self.read("backlogs", self.inner.backlogs(tasks, overdue))
            .await
    }

    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        self.read("next_due", self.inner.next_due(task)).await
    }

    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error> {
        self.read("next_dues", self.inner.next_dues(tasks)).await
    }

    async fn chain_holders(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, RunId>, Error> {
        self.read("chain_holders", self.inner.chain_holders(tasks))
            .await
    }

    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        self.read("last_successes", self.inner.last_successes(tasks, look))
            .await
    }
}

#[async_trait]
impl AskRuns for FaultyStore {
    async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        self.read("runs", self.inner.runs(filter, before, limit))
            .await
    }

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, Error> {
        self.read("run", self.inner.run(id)).await
    }

    async fn submitters(&self, ids: &[RunId]) -> Result<HashMap<RunId, String>, Error> {
        self.read("submitters", self.inner.submitters(ids)).await
    }

    async fn occurrence(&self, task: TaskId, at: Timestamp) -> Result<Option<Run>, Error> {
        self.read("occurrence", self.inner.occurrence(task, at))
            .await
    }

    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error> {
        self.read("runs_of_key", self.inner.runs_of_key(key, limit))
            .await
    }

    async fn log(
        &self,
        id: RunId,
        attempt: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u32, Chunk)>, Error> {
        self.read("log", self.inner.log(id, attempt, from, limit))
            .await
    }

    async fn node_names(&self, ids: &[NodeId]) -> Result<HashMap<NodeId, String>, Error> {
        self.read("node_names", self.inner.node_names(ids)).await
    }
}

#[async_trait]
impl AskCluster for FaultyStore {
    async fn check_schema(&self) -> Result<(), Error> {
        self.read("check_schema", self.inner.check_schema()).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        self.read("setting", self.inner.setting(name)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.read("nodes", self.inner.nodes()).await
    }

    async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCount>, Error> {
        self.read("queues", self.inner.queues(now)).await
    }

    async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        self.read("quarantine", self.inner.quarantine(after, limit))
            .await
    }

    async fn settled(&self, id: i64) -> Result<Option<Settled>, Error> {
        self.read("settled", self.inner.settled(id)).await
    }

    async fn unfulfilled(&self, before: Option<i64>, limit: usize) -> Result<Vec<Settled>, Error> {
        self.read("unfulfilled", self.inner.unfulfilled(before, limit))
            .await
    }
}
