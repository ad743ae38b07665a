//! When the tasks that somebody looks at last succeeded, as the store has it, and the labels that are shown with them: so
//! a process that has just started says the same as all others. What was found is kept, for a scrape must not cost a walk over the history; each look is bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::{Control, Error};
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::metrics::matches;
use campanile_core::port::ask::TaskFilter;
use campanile_core::time::Monotonic;

/// What was found is good for so long.
const KEPT: Duration = Duration::from_secs(30);
/// And which tasks there are for so long.
const NAMES_KEPT: Duration = Duration::from_secs(300);

/// The tasks of some patterns, and when they last succeeded.
#[derive(Debug, Default)]
pub struct Successes {
    patterns: Vec<String>,
    /// Keys of the labels that are shown.
    labels: Vec<String>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    named_at: Option<Monotonic>,
    looked_at: Option<Monotonic>,
    tasks: BTreeMap<String, OfTask>,
    labels: BTreeMap<String, Vec<(String, String)>>,
}

#[derive(Debug, Clone, Copy)]
struct OfTask {
    id: TaskId,
    /// Whether its history was looked at as deeply as it is the first time.
    is_known: bool,
    last: Option<Timestamp>,
}

impl Kept {
    /// The names again: what is known of tasks that are still there stays.
    fn name(&mut self, tasks: BTreeMap<String, TaskId>) {
        let mut before = std::mem::take(&mut self.tasks);
        let of = |(name, id): (String, TaskId)| {
            let known = before.remove(&name).filter(|of| of.id == id);
            let fresh = OfTask {
                id,
                is_known: false,
                last: None,
            };
            (name, known.unwrap_or(fresh))
        };
        self.tasks = tasks.into_iter().map(of).collect();
    }
}

fn is_old(at: Option<Monotonic>, now: Monotonic, kept: Duration) -> bool {
    at.is_none_or(|at| now.since(at) >= kept)
}

impl Successes {
    /// Of the tasks of these names, in which `*` stands for anything; the first thousand of them.
    #[must_use]
    pub fn of(patterns: &[String]) -> Self {
        Self {
            patterns: patterns.to_vec(),
            labels: Vec::new(),
            kept: Mutex::default(),
        }
    }

    /// With these labels of each.
    #[must_use]
    pub fn showing(mut self, labels: &[String]) -> Self {
        self.labels = labels.to_vec();
        self
    }

    /// The labels that are shown with tasks, by the tasks' names, in the order in which they were asked for.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, Vec<(String, String)>> {
        self.kept().labels.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it was last found, by name.
    #[must_use]
    pub fn known(&self) -> BTreeMap<String, Timestamp> {
        let kept = self.kept();
        let known = kept.tasks.iter();
        known
            .filter_map(|(name, of)| Some((name.clone(), of.last?)))
            .collect()
    }

    /// Looks again, if the last look is some time ago. Nobody else does meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; what was known stays, and the next look is made later.
    pub async fn refresh(&self, control: &Control) -> Result<(), Error> {
        if self.patterns.is_empty() {
            return Ok(());
        }
        let now = control.parts.clock.monotonic();
        let names_are_old = {
            let mut kept = self.kept();
            if !is_old(kept.looked_at, now, KEPT) {
                return Ok(());
            }
            kept.looked_at = Some(now);
            is_old(kept.named_at, now, NAMES_KEPT)
        };
        if names_are_old {
            let tasks = self.named(control).await?;
            let labels = self.labels_of(control, &tasks).await?;
            let mut kept = self.kept();
            kept.name(tasks);
            kept.labels = labels;
            kept.named_at = Some(now);
        }
        self.look(control).await
    }

    async fn look(&self, control: &Control) -> Result<(), Error> {
        let (known, fresh): (Vec<OfTask>, Vec<OfTask>) =
            self.kept().tasks.values().partition(|of| of.is_known);
        let store = &control.parts.store;
        for (tasks, look) in [
            (known, limits::SUCCESS_LOOK_AGAIN),
            (fresh, limits::SUCCESS_LOOK_FIRST),
        ] {
            if tasks.is_empty() {
                continue;
            }
            let ids: Vec<TaskId> = tasks.iter().map(|of| of.id).collect();
            let found = store.last_successes(&ids, look).await?;
            let mut kept = self.kept();
            for of in kept.tasks.values_mut().filter(|of| ids.contains(&of.id)) {
                of.is_known = true;
                of.last = of.last.max(found.get(&of.id).copied());
            }
        }
        Ok(())
    }

    async fn labels_of(
        &self,
        control: &Control,
        tasks: &BTreeMap<String, TaskId>,
    ) -> Result<BTreeMap<String, Vec<(String, String)>>, Error> {
        let mut found = BTreeMap::new();
        if self.labels.is_empty() {
            return Ok(found);
        }
        let ids: Vec<TaskId> = tasks.values().copied().collect();
        for chunk in ids.chunks(limits::PAGE_ROWS_MAX) {
            for task in control.parts.store.tasks_by_id(chunk).await? {
                let asked = self.labels.iter();
                let has = asked.filter_map(|key| task.spec.labels.get_key_value(key));
                let has: Vec<(String, String)> = has
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if !has.is_empty() {
                    found.insert(task.spec.name, has);
                }
            }
        }
        Ok(found)
    }

    /// The tasks of the patterns, each pattern's from its fixed beginning on.
    async fn named(&self, control: &Control) -> Result<BTreeMap<String, TaskId>, Error> {
        let store = &control.parts.store;
        let starts = self.patterns.iter().map(|p| p.split('*').next());
        let starts: Vec<String> = starts.flatten().map(str::to_owned).collect();
        let exact: Vec<String> = starts.iter().filter(|s| !s.is_empty()).cloned().collect();
        let mut found = BTreeMap::new();
        for task in store.tasks_by_name(&exact).await? {
            self.add(&mut found, task.spec.name, task.id);
        }
        for (pattern, start) in self.patterns.iter().zip(starts) {
            if !pattern.contains('*') {
                continue;
            }
            let mut after = Some(start.clone()).filter(|start| !start.is_empty());
            for _ in 0..limits::SUCCESS_NAMES_MAX / limits::PAGE_ROWS_MAX {
                let page = store
                    .tasks(
                        &TaskFilter::default(),
                        after.as_deref(),
                        limits::PAGE_ROWS_MAX,
                    )
                    .await?;
                let is_behind = page
                    .tasks
                    .last()
                    .is_none_or(|task| !task.spec.name.starts_with(&start));
                for task in page.tasks {
                    self.add(&mut found, task.spec.name, task.id);
                }
                after = page.next;
                if is_behind || after.is_none() || found.len() >= limits::METRIC_SERIES_MAX {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn add(&self, found: &mut BTreeMap<String, TaskId>, name: String, id: TaskId) {
        let fits = self.patterns.iter().any(|pattern| matches(pattern, &name));
        if fits && (found.len() < limits::METRIC_SERIES_MAX || found.contains_key(&name)) {
            found.insert(name, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_looked_at_deeply_once_and_found_by_its_pattern() {
        let successes = Successes::of(&["bill-*".to_owned(), "tax".to_owned()]);
        let mut found = BTreeMap::new();
        for (n, name) in (1..).zip(["bill-", "bill-a", "billing", "tax", "taxi"]) {
            successes.add(&mut found, name.to_owned(), TaskId::from_i64(n));
        }
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["bill-", "bill-a", "tax"]);
        let mut kept = Kept::default();
        kept.name(found.clone());
        assert!(kept.tasks.values().all(|of| !of.is_known));
        for of in kept.tasks.values_mut() {
            of.is_known = true;
            of.last = Some(Timestamp::from_ms(7));
        }
        // Another task under an old name is looked at again, one that is gone is forgotten.
        found.insert("tax".to_owned(), TaskId::from_i64(99));
        found.remove("bill-");
        kept.name(found);
        let known = |name: &str| kept.tasks.get(name).map(|of| (of.is_known, of.last));
        assert_eq!(known("bill-"), None);
        assert_eq!(known("bill-a"), Some((true, Some(Timestamp::from_ms(7)))));
        assert_eq!(known("tax"), Some((false, None)));
        let many = Successes::of(&["*".to_owned()]);
        let mut found = BTreeMap::new();
        for n in 0..=limits::METRIC_SERIES_MAX {
            many.add(&mut found, format!("t{n}"), TaskId::from_i64(1));
        }
        assert_eq!(found.len(), limits::METRIC_SERIES_MAX);
    }
}
