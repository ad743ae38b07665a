//! Deleting tasks, one by its name or many by `apply --prune`: what would go, the confirmation of exactly that, and the
//! batches in which it goes. What has to be confirmed is decided in [`campanile_core::decide::edit::deletion`]; the runs that wait
//! for a deleted task are ended by the leader ([`campanile_core::engine`]), and none of them starts any more.

use std::collections::HashMap;
use std::time::Duration;

use campanile_access::Right;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::apply::{Diff, edited_meanwhile};
use crate::audit::Was;
use crate::{EDIT_TRIES_MAX, Editor, Error};
use campanile_core::decide::edit::deletion::{Doomed, OVERDUE, Token, must_be_confirmed, waiting};
use campanile_core::decide::edit::place::lacks_due_row;
use campanile_core::failpoint::{self, Failpoint};
use campanile_core::limits;
use campanile_core::port::edit::Edit;
use campanile_core::run::State;
use campanile_core::task::Task;

/// Names that a refusal shows.
const NAMES_SHOWN: usize = 5;
/// The shortest and the longest breath between two batches: as long as the batch took, so that the leader gets in.
const BREATH: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What deleting a task takes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DeletionView))]
pub struct Deletion {
    /// The task.
    pub name: String,
    /// Whether it was done.
    pub deleted: bool,
    /// Its runs that wait: they are cancelled.
    pub waiting_runs: u64,
    /// Its runs that run: they go on. Counted up to 1000.
    pub running_runs: usize,
    /// The token that confirms the deletion; null = none is wanted.
    pub confirm: Option<String>,
}

/// Tasks that are to go, by their names, each with what waits for it.
#[derive(Debug, Default)]
pub(super) struct Gone {
    tasks: Vec<(Task, Doomed)>,
    asked: bool,
}

impl Gone {
    fn doomed(&self) -> Vec<Doomed> {
        self.tasks.iter().map(|(_, doomed)| *doomed).collect()
    }

    fn token(&self) -> String {
        Token::of(&self.doomed()).to_string()
    }

    /// Says what would go.
    pub(super) fn show(&self, diff: &mut Diff) {
        let names = self.tasks.iter().map(|(task, _)| task.spec.name.clone());
        diff.deleted = names.collect();
        diff.waiting_runs = waiting(&self.doomed());
        diff.confirm = self.asked.then(|| self.token());
    }

    /// Refuses what has to be confirmed and is not, and a confirmation of something else.
    pub(super) fn check(&self, confirm: Option<&str>) -> Result<(), Error> {
        let doomed = self.doomed();
        let Some(text) = confirm.filter(|_| !doomed.is_empty()) else {
            return if self.asked {
                Err(self.refusal("this has to be confirmed"))
            } else {
                Ok(())
            };
        };
        let token: Token =
            text.parse()
                .map_err(|e: campanile_core::decide::edit::deletion::Malformed| {
                    Error::invalid("confirm", e.to_string())
                })?;
        if token.covers(&doomed) {
            return Ok(());
        }
        Err(self.refusal("this is not what the token was given for: it has changed since"))
    }

    fn refusal(&self, why: &str) -> Error {
        let names = self
            .tasks
            .iter()
            .map(|(task, _)| format!("`{}`", task.spec.name));
        let mut shown: Vec<String> = names.take(NAMES_SHOWN).collect();
        if self.tasks.len() > NAMES_SHOWN {
            shown.push(format!("{} others", self.tasks.len() - NAMES_SHOWN));
        }
        let noun = if self.tasks.len() == 1 {
            "task"
        } else {
            "tasks"
        };
        let runs = match waiting(&self.doomed()) {
            0 => String::new(),
            1 => " and cancel the run that waits for it".to_owned(),
            n => format!(" and cancel {n} waiting runs"),
        };
        Error::Conflict(format!(
            "{why}: it would delete {} {noun}{runs} ({}); nothing was changed. Ask with a dry run (`--dry-run`, \
             `dry_run=true`), look at what it shows, and pass its token (`--confirm TOKEN`, `confirm=TOKEN`)",
            self.tasks.len(),
            shown.join(", "),
        ))
    }
}

impl Editor {
    /// What deleting a task would take along.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn deletion(&self, name: &str) -> Result<Deletion, Error> {
        self.may(Right::Define)?;
        let now = self.now().await?;
        let task = self.find_task(name).await?;
        self.may_task(Right::Define, &task.spec)?;
        let gone = self.doom(vec![task], usize::MAX, false, now).await?;
        self.told(name, &gone).await
    }

    /// Deletes a task. None of its runs that wait starts any more; the leader cancels them, `cancelled(task-deleted)`,
    /// and those that run go on. Its instants that are overdue and that nobody has planned become a row,
    /// `skipped(task-deleted)`. Its history stays under its name until it is pruned.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when runs wait for it and `confirm` is not the token of
    /// [`Editor::deletion`].
    pub async fn delete_task(&self, name: &str, confirm: Option<&str>) -> Result<Deletion, Error> {
        self.may(Right::Define)?;
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let task = self.find_task(name).await?;
            self.may_task(Right::Define, &task.spec)?;
            let gone = self.doom(vec![task], usize::MAX, false, now).await?;
            gone.check(confirm)?;
            let told = self.told(name, &gone).await?;
            let tasks: Vec<&Task> = gone.tasks.iter().map(|(task, _)| task).collect();
            if self.delete_batch(&tasks, now).await? {
                return Ok(Deletion {
                    deleted: true,
                    confirm: None,
                    ..told
                });
            }
        }
        Err(edited_meanwhile())
    }

    async fn told(&self, name: &str, gone: &Gone) -> Result<Deletion, Error> {
        let filter = campanile_core::port::ask::RunFilter {
            tasks: gone.tasks.iter().map(|(task, _)| task.id).collect(),
            state: Some(State::Running),
            ..Default::default()
        };
        let page = limits::PAGE_ROWS_MAX;
        let running = self.parts.store.runs(&filter, None, page).await?;
        Ok(Deletion {
            name: name.to_owned(),
            deleted: false,
            waiting_runs: waiting(&gone.doomed()),
            running_runs: running.len(),
            confirm: gone.asked.then(|| gone.token()),
        })
    }

    /// Looks at what waits for tasks that are to go, of an owner who has `owned`.
    pub(super) async fn doom(
        &self,
        mut tasks: Vec<Task>,
        owned: usize,
        nothing_stays: bool,
        now: Timestamp,
    ) -> Result<Gone, Error> {
        if tasks.is_empty() {
            return Ok(Gone::default());
        }
        tasks.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        for task in &tasks {
            self.may_task(Right::Define, &task.spec)?;
        }
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        let backlogs = self.parts.store.backlogs(&ids, now.minus(OVERDUE)).await?;
        let backlogs: HashMap<_, _> = backlogs.into_iter().map(|b| (b.task, b)).collect();
        let doomed = |task: &Task| Doomed {
            task: task.id,
            version: task.version,
            backlog: backlogs.get(&task.id).copied(),
        };
        let tasks: Vec<(Task, Doomed)> = tasks
            .into_iter()
            .map(|task| {
                let doomed = doomed(&task);
                (task, doomed)
            })
            .collect();
        let all: Vec<Doomed> = tasks.iter().map(|(_, doomed)| *doomed).collect();
        Ok(Gone {
            asked: nothing_stays || must_be_confirmed(&all, owned),
            tasks,
        })
    }

    /// Deletes tasks batch by batch, and says in the difference what is done and what remains. Each batch stands by
    /// itself: who stops in between has deleted what was done, and asks for the rest.
    pub(super) async fn delete_all(
        &self,
        mut gone: Gone,
        patience: Duration,
        diff: &mut Diff,
    ) -> Result<(), Error> {
        diff.waiting_runs = waiting(&gone.doomed());
        let began = self.parts.clock.monotonic();
        while !gone.tasks.is_empty() {
            let batch = gone.tasks.len().min(limits::DELETE_ROWS_MAX);
            let batch_began = self.parts.clock.monotonic();
            let tasks: Vec<Task> = gone.tasks[..batch].iter().map(|(t, _)| t.clone()).collect();
            match self.delete_some(tasks, diff.deleted.len()).await {
                Ok(names) => diff.deleted.extend(names),
                // What is done is done, and told; who asks for the rest hears of the store.
                Err(Error::Unavailable(_)) if !diff.deleted.is_empty() => break,
                Err(error) => return Err(error),
            }
            gone.tasks.drain(..batch);
            let now = self.parts.clock.monotonic();
            if gone.tasks.is_empty() || now.since(began) >= patience {
                break;
            }
            let breath = now.since(batch_began).clamp(BREATH.0, BREATH.1);
            self.parts.clock.sleep(breath).await;
        }
        diff.remaining = gone.tasks.len();
        diff.confirm = (diff.remaining > 0).then(|| gone.token());
        Ok(())
    }

    /// Deletes one batch, as it was looked at. Whoever was deleted meanwhile is gone as well; whoever was changed is not
    /// what was confirmed.
    async fn delete_some(&self, tasks: Vec<Task>, done: usize) -> Result<Vec<String>, Error> {
        let names: Vec<String> = tasks.iter().map(|t| t.spec.name.clone()).collect();
        let mut left = tasks;
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let batch: Vec<&Task> = left.iter().collect();
            if batch.is_empty() || self.delete_batch(&batch, now).await? {
                return Ok(names);
            }
            let present = self.parts.store.tasks_by_name(&names).await?;
            let present: HashMap<_, _> = present.into_iter().map(|t| (t.id, t.version)).collect();
            let changed = |t: &&Task| present.get(&t.id).is_some_and(|v| *v != t.version);
            if let Some(changed) = left.iter().find(changed) {
                return Err(Error::Conflict(format!(
                    "{done} tasks were deleted; then task `{}` was found changed by somebody else: look again with a dry run",
                    changed.spec.name
                )));
            }
            left.retain(|t| present.contains_key(&t.id));
        }
        Err(edited_meanwhile())
    }

    /// One edit that deletes these tasks. Answers whether they were as they were looked at.
    async fn delete_batch(&self, tasks: &[&Task], now: Timestamp) -> Result<bool, Error> {
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        let mut dues = self.parts.store.next_dues(&ids).await?;
        let lacks_due = |task: &&&Task| lacks_due_row(task, dues.get(&task.id).copied());
        let lacking: Vec<_> = tasks.iter().filter(lacks_due).map(|task| task.id).collect();
        if !lacking.is_empty() && self.put_back(&lacking, now).await? > 0 {
            dues = self.parts.store.next_dues(&ids).await?;
        }
        let mut edit = Edit::default();
        for task in tasks {
            let (delete, skipped) = self
                .plan_delete(task, dues.get(&task.id).copied(), now)
                .await?;
            edit.deletes.push(delete);
            edit.skipped.extend(skipped);
        }
        let deed = match tasks {
            [task] => self.deed_on_task("task.delete", Some(&task.spec), None),
            many => {
                let tasks = many.iter().map(|task| (task.id, task.spec.clone()));
                let was = Was {
                    tasks: tasks.collect(),
                    ..Was::default()
                };
                self.deed_on_many("tasks.delete", None, &edit, &was)
            }
        };
        let done = self.edit(&edit, now, deed).await?.is_applied();
        if done {
            failpoint::reach(Failpoint::DeleteBatched);
        }
        Ok(done)
    }
}
