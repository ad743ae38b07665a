//! Who can carry out what, for people: why nobody takes a run, where a queue has no listener, and what is blocked. What
//! counts as able is decided in [`campanile_core::decide::publish::routing`]; this file asks for the members and chooses the words.

use std::collections::BTreeMap;

use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runs::RunRow;
use crate::strays::Groups;
use crate::{Control, Definitions, Editor, Error};
use campanile_core::decide::permits::{Held, LimitKey};
use campanile_core::decide::publish::routing::{Need, Routes, Trouble};
use campanile_core::port::ask::RunRecord;
use campanile_core::run::{Run, State};
use campanile_core::task::secret;
use campanile_core::task::{HandlerSpec, Overlap, QueueName, Task, TaskSpec};

/// Warnings of one apply.
const WARNINGS_MAX: usize = 20;
/// Runs that are named where another waits for them.
const HOLDERS_SHOWN_MAX: usize = 3;

/// A queue's live runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Queue))]
pub struct QueueRow {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: QueueName,
    /// Scheduled for a later instant.
    pub future: u64,
    /// Due and not yet claimed.
    pub waiting: u64,
    /// Claimed.
    pub running: u64,
    /// Living workers that listen on it.
    pub listeners: u64,
    /// Of the waiting ones: blocked, because no living worker of the queue can carry them out.
    pub blocked: u64,
    /// What keeps its runs from being taken, in words.
    pub warnings: Vec<String>,
}

/// Why runs of a queue are blocked that have this need, as the store spells it.
#[must_use]
pub fn blocked_because(queue: &QueueName, need: &str) -> String {
    match need.parse() {
        Ok(need @ Need::Listener) => Trouble::NobodyCan {
            queue: queue.clone(),
            need,
        }
        .to_string(),
        _ => format!(
            "no living worker of queue `{queue}` can do `{}`",
            Need::shown(need)
        ),
    }
}

impl Editor {
    /// Live runs by queue, with who listens and what is blocked.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn queue_rows(&self) -> Result<Vec<QueueRow>, Error> {
        let (queues, routes) = (self.queues().await?, self.routes().await?);
        let mut blocked: BTreeMap<QueueName, Vec<(String, u64)>> = BTreeMap::new();
        for (key, count) in self.parts.store.blocked().await? {
            if let LimitKey::Ability(queue, need) = key {
                blocked.entry(queue).or_default().push((need, count));
            }
        }
        let rows = queues.into_iter().map(|count| {
            let of_queue = blocked.remove(&count.queue).unwrap_or_default();
            let listeners = routes.listeners(&count.queue);
            let busy = count.future + count.waiting > 0;
            let nobody =
                (listeners == 0 && busy).then(|| routes.nobody_listens(&count.queue).to_string());
            let unable = of_queue.iter().map(|(need, n)| {
                let why = blocked_because(&count.queue, need);
                format!("{why}: {n} runs are blocked")
            });
            QueueRow {
                listeners: u64::try_from(listeners).unwrap_or(u64::MAX),
                blocked: of_queue.iter().map(|(_, n)| n).sum(),
                warnings: nobody.into_iter().chain(unable).collect(),
                future: count.future,
                waiting: count.waiting,
                running: count.running,
                name: count.queue,
            }
        });
        Ok(rows.collect())
    }
}

impl Control {
    /// Who can carry out what.
    pub(super) async fn routes(&self) -> Result<Routes, Error> {
        Ok(Routes::of(&self.parts.store.nodes().await?))
    }

    /// What keeps the runs of a task from being taken now.
    pub(super) fn trouble_of(routes: &Routes, spec: &TaskSpec) -> Option<String> {
        let trouble = routes.trouble_of(&spec.queue, &spec.handler, None)?;
        Some(trouble.to_string())
    }

    /// What the definitions would run into if they were due now: each trouble once. Never an error: the workers may come
    /// later.
    pub(super) async fn troubles(&self, specs: &[TaskSpec]) -> Vec<String> {
        let Ok(routes) = self.routes().await else {
            return Vec::new();
        };
        let mut named: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for spec in specs.iter().filter(|spec| spec.enabled) {
            if let Some(trouble) = Self::trouble_of(&routes, spec) {
                let (_, count) = named.entry(trouble).or_insert((spec.name.clone(), 0));
                *count += 1;
            }
        }
        let told = named
            .into_iter()
            .map(|(trouble, (first, count))| match count {
                1 => format!("task `{first}`: {trouble}"),
                n => format!("task `{first}` and {} more: {trouble}", n - 1),
            });
        told.take(WARNINGS_MAX).collect()
    }

    /// Arguments that look as if they named a secret.
    pub(super) fn unread_references(specs: &[TaskSpec]) -> Vec<String> {
        let some = specs.iter().filter(|spec| secret::in_arguments(spec));
        let told = some.map(|spec| {
            format!(
                "task `{}`: handler.command.argv: `${{secret:…}}` is no reference there but a text, for every user of the \
                 machine can read arguments: put it into `env` or `stdin`",
                spec.name
            )
        });
        told.take(WARNINGS_MAX).collect()
    }

    /// Groups of these tasks that no limit is set for, neither by them nor before, and limits that limit nothing. Never an
    /// error.
    pub(super) async fn strays(&self, wanted: &Definitions) -> Vec<String> {
        let mut groups = Groups::default();
        wanted.tasks.iter().for_each(|spec| groups.note(spec));
        if groups.is_empty() && wanted.limits.is_empty() {
            return Vec::new();
        }
        let Ok(mut rules) = self.parts.store.rules().await else {
            return Vec::new();
        };
        let limits = wanted.limits.iter().cloned();
        rules
            .limits
            .extend(limits.map(|one| (one.limit, one.max_running)));
        let mut told = groups.without_limit(&rules);
        told.extend(self.without_use(wanted, groups).await.unwrap_or_default());
        told.truncate(WARNINGS_MAX);
        told
    }

    /// The limits among these that limit nothing, with these groups of theirs and those of the store's tasks.
    async fn without_use(
        &self,
        wanted: &Definitions,
        mut groups: Groups,
    ) -> Result<Vec<String>, Error> {
        let routes = self.routes().await?;
        let strays = |groups: &Groups| -> Vec<String> {
            let told = wanted.limits.iter().filter_map(|one| {
                let why = groups.without_use(&one.limit, &routes)?;
                Some(format!("limit `{}` limits nothing: {why}", one.limit))
            });
            told.collect()
        };
        let told = strays(&groups);
        if told.is_empty() {
            return Ok(told);
        }
        for task in self.all_tasks(None).await?.values() {
            groups.note(&task.spec);
        }
        Ok(strays(&groups))
    }

    /// Why nobody takes a run that is due; `None` if somebody may, or it isn't due.
    pub(super) async fn blocked_by(
        &self,
        row: &RunRow,
        own: Option<&HandlerSpec>,
        task: Option<&Task>,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let run = &row.run;
        let waits = matches!(run.state, State::Scheduled | State::Queued) && run.ready_at <= now;
        let Some(handler) = own
            .or_else(|| task.map(|t| &t.spec.handler))
            .filter(|_| waits)
        else {
            return Ok(None);
        };
        let task = task.filter(|_| own.is_none());
        let trouble = self.routes().await?.trouble_of(&run.queue, handler, task);
        Ok(trouble.map(|trouble| trouble.to_string()))
    }

    /// Whom a run that is due waits for, because of its task's overlap policy or of a limit: a noun with the remedy's
    /// name. `None` if it has its permits, needs none, or isn't due.
    pub(super) async fn held_back(
        &self,
        run: &Run,
        task: Option<&Task>,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let waits = matches!(run.state, State::Scheduled | State::Queued) && run.ready_at <= now;
        if !waits || !run.limited {
            return Ok(None);
        }
        let rules = self.parts.store.rules().await?;
        let keys = rules.keys(task, &run.queue);
        let names: Vec<LimitKey> = keys.iter().map(|(key, _)| key.clone()).collect();
        let standings = self.parts.store.standings(&names).await?;
        let full = keys.iter().find_map(|(key, most)| {
            let held = &standings.get(key)?.held;
            let others = held.iter().filter(|h| h.run != run.id).count();
            let is_full = others == held.len() && others >= usize::try_from(*most).ok()?;
            is_full.then(|| held_by(key, *most, held, task))
        });
        Ok(full)
    }

    /// The same for a run with all that is known of it.
    pub(super) async fn blocked_story(
        &self,
        row: &RunRow,
        detail: &RunRecord,
    ) -> Result<Option<String>, Error> {
        if row.run.state.is_terminal() || row.run.state == State::Running {
            return Ok(None);
        }
        let now = self.now().await?;
        let task = match row.run.task {
            Some(id) => self.parts.store.tasks_by_id(&[id]).await?.pop(),
            None => None,
        };
        if let Some(held_back) = self.held_back(&row.run, task.as_ref(), now).await? {
            return Ok(Some(format!("it waits for {held_back}")));
        }
        let own = detail.spec.as_ref().and_then(|spec| spec.handler.as_ref());
        self.blocked_by(row, own, task.as_ref(), now).await
    }
}

/// Those who have all permits of a limit, for a run that waits for one.
fn held_by(key: &LimitKey, most: u32, held: &[Held], task: Option<&Task>) -> String {
    let mut named: Vec<String> = held
        .iter()
        .take(HOLDERS_SHOWN_MAX)
        .map(|h| h.run.to_string())
        .collect();
    let more = held.len() - named.len();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let who = named.join(", ");
    match key {
        LimitKey::Overlap(_) => {
            let policy = task.map_or(Overlap::Queue, |t| t.spec.overlap);
            let policy = match policy {
                Overlap::Replace => "replace",
                Overlap::Skip => "skip",
                Overlap::Allow | Overlap::Queue => "queue",
            };
            format!("run {who} of the same task to end (`overlap = \"{policy}\"`)")
        }
        LimitKey::Task(_) => format!(
            "one of the task's running runs to end: `max_running = {most}`, and these run: {who}"
        ),
        _ => {
            format!("one of those to end that have the {most} permits of the limit `{key}`: {who}")
        }
    }
}
