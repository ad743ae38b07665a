//! What people ask of the store, as a process meets it: slow, unreachable, contended, or committed without an answer.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile::actor::Actor;
use campanile::id::{RunId, TaskId};
use campanile::port::Written;
use campanile::port::store::{Control, Error};
use campanile::protocol::keys::Scope;
use campanile::protocol::work::{
    Backlog, Cancel, Edit, Former, Moved, Named, Node, Quarantined, QueueCount, Released,
    RunDetail, RunFilter, Submission, Submitted, TaskPage,
};
use campanile::run::Run;
use campanile::task::Task;
use campanile_schedule::time::Timestamp;

use super::FaultyStore;

#[async_trait]
impl Control for FaultyStore {
    async fn tasks(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        self.read("tasks", self.inner.tasks(owner, after, limit))
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

    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        self.read("last_successes", self.inner.last_successes(tasks, look))
            .await
    }

    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error> {
        self.read("next_dues", self.inner.next_dues(tasks)).await
    }

    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error> {
        self.read("former_tasks", self.inner.former_tasks(name, limit))
            .await
    }

    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        self.read("tasks_by_name", self.inner.tasks_by_name(names))
            .await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        self.read("check_schema", self.inner.check_schema()).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        self.read("setting", self.inner.setting(name)).await
    }

    async fn edit(&self, actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error> {
        self.write("edit", self.inner.edit(actor, edit, at)).await
    }

    async fn submit(
        &self,
        actor: &Actor,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, Error> {
        self.write("submit", self.inner.submit(actor, submissions))
            .await
    }

    async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        self.read("runs", self.inner.runs(filter, before, limit))
            .await
    }

    async fn run(&self, id: RunId) -> Result<Option<RunDetail>, Error> {
        self.read("run", self.inner.run(id)).await
    }

    async fn occurrence(&self, task: TaskId, at: Timestamp) -> Result<Option<Run>, Error> {
        self.read("occurrence", self.inner.occurrence(task, at))
            .await
    }

    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        self.read("next_due", self.inner.next_due(task)).await
    }

    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error> {
        self.write("move_run", self.inner.move_run(actor, id, to))
            .await
    }

    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error> {
        self.read("runs_of_key", self.inner.runs_of_key(key, limit))
            .await
    }

    async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        self.read("quarantine", self.inner.quarantine(after, limit))
            .await
    }

    async fn release(&self, actor: &Actor, id: i64, at: Timestamp) -> Result<Released, Error> {
        self.write("release", self.inner.release(actor, id, at))
            .await
    }

    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error> {
        self.write("drop_quarantined", self.inner.drop_quarantined(actor, id))
            .await
    }

    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error> {
        self.write("cancel", self.inner.cancel(actor, id, at)).await
    }

    async fn logs(&self, id: RunId) -> Result<Vec<(u32, String)>, Error> {
        self.read("logs", self.inner.logs(id)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.read("nodes", self.inner.nodes()).await
    }

    async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCount>, Error> {
        self.read("queues", self.inner.queues(now)).await
    }

    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        self.write("secret", self.inner.secret(fresh)).await
    }

    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error> {
        self.write("request_resign", self.inner.request_resign(actor, epoch))
            .await
    }
}
