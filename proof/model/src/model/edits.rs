//! Edits of the task, in the model: somebody looks, decides by [`place`], and writes later, so that scans, firings and
//! changes of leaders come in between. The store takes an edit as the real ones do: all of it or nothing, and nothing if
//! what it rests on has moved. Beside that it remembers which instants the definitions asked for, for the judge.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::edit::ahead::{self, DueChange, Unplan};
use campanile_core::decide::edit::place::{self, Course, Future, Left, Near, Sight};
use campanile_core::decide::occurrences::Skip;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::fire::{DueKey, Owner};
use campanile_core::port::lead::Term;
use campanile_core::run::Run;
use campanile_core::task::Task;
use campanile_schedule::Timetable;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;

use super::bounds::{Guards, TASK};
use super::store::{Row, Store};
use super::world::Scene;

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The fields that the scene says.
    Edit,
    Pause,
    Resume,
    Delete,
}

/// The definition in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Definition {
    pub edited: bool,
    pub paused: bool,
    pub deleted: bool,
}

impl Definition {
    const fn after(self, change: Change) -> Self {
        match change {
            Change::Edit => Self {
                edited: true,
                ..self
            },
            Change::Pause | Change::Resume => Self {
                paused: matches!(change, Change::Pause),
                ..self
            },
            Change::Delete => Self {
                deleted: true,
                ..self
            },
        }
    }
}

/// What the definitions have asked for so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Asked {
    /// Instants of definitions that are no more, from their time.
    pub before: BTreeSet<Timestamp>,
    /// Those that came while a deletion was decided and not written: they may have a run.
    pub meanwhile: BTreeSet<Timestamp>,
    /// Since when the present one has its instants; nothing: always.
    pub since: Option<Timestamp>,
}

/// An edit that is decided and not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub change: Change,
    /// When it was decided: from then on the new definition has its instants.
    at: Timestamp,
    /// Where the due row goes; nothing: the task is deleted.
    due: Option<DueChange>,
    /// Where the due row stood, if the edit rests on that.
    seen: Option<Option<Timestamp>>,
    paused_from: Option<Timestamp>,
    left: Option<Skip>,
    unplan: Option<Unplan>,
    answered: Vec<Timestamp>,
    /// Whether a run held the chain then.
    held: bool,
    /// For a leader's: its term, and the edit counter that it rests on.
    pub of_leader: Option<(Arc<Term>, i64)>,
}

impl Hash for Draft {
    fn hash<H: Hasher>(&self, to: &mut H) {
        (self.change, self.at, &self.due, self.seen, self.paused_from).hash(to);
        (self.left.as_ref().map(|left| (left.first, left.last))).hash(to);
        (&self.unplan, &self.answered, self.held, &self.of_leader).hash(to);
    }
}

impl Draft {
    /// Somebody looks at the store, and decides.
    pub fn propose(change: Change, scene: &Scene, store: &Store, now: Timestamp) -> Self {
        let old = store.task(scene);
        let due_row = store.due_row();
        if change == Change::Delete {
            let (delete, left) = place::delete(&old, due_row, now);
            return Self {
                change,
                at: now,
                due: None,
                seen: Some(delete.seen),
                paused_from: None,
                left: store.left(&old, left, &scene.guards),
                unplan: None,
                answered: Vec::new(),
                held: false,
                of_leader: None,
            };
        }
        let new = scene.definition(store.definition.after(change));
        let course = Course::of(&old.spec, &new.task.spec);
        let future = match course {
            Course::Anew => store.future(&old, &new.timetable, now, &scene.guards),
            _ => Future::default(),
        };
        let placed = place::place(&Sight {
            old: &old,
            spec: &new.task.spec,
            due_row: due_row.filter(|_| course.asks_for_due_row()),
            future: &future,
            now,
        });
        let seen = match placed.due {
            DueChange::Replace { seen, .. } => Some(seen),
            DueChange::Keep | DueChange::Pause { .. } => None,
        };
        Self {
            change,
            at: now,
            due: Some(placed.due),
            seen,
            paused_from: placed.paused_from,
            left: store.left(&old, placed.left, &scene.guards),
            unplan: placed.unplan,
            answered: placed.answered.into_iter().map(|(_, at)| at).collect(),
            held: store.holder.is_some(),
            of_leader: None,
        }
    }

    /// Whether the due row stands where it was seen.
    pub fn stands(&self, store: &Store) -> bool {
        self.seen.is_none_or(|seen| seen == store.due_row())
    }
}

impl Store {
    /// The task as it is.
    fn task(&self, scene: &Scene) -> Task {
        Task {
            paused_from: self.paused_from,
            ..Task::clone(&scene.task(self).task)
        }
    }

    pub fn due_row(&self) -> Option<Timestamp> {
        let of_task = |key: &&DueKey| matches!(key.owner, Owner::Task(_));
        self.due.iter().find(of_task).map(|key| key.at)
    }

    fn ahead(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Run>> {
        let none = std::time::Duration::ZERO;
        let runs = self.runs.iter().map(|row| &row.0);
        runs.filter(move |run| ahead::is_ahead(run, none, now))
    }

    fn future(&self, old: &Task, new: &Timetable, now: Timestamp, guards: &Guards) -> Future {
        let first = new.next_by(now, &Fuel::endless()).map(|event| event.at);
        let near = Near::of(new, first, now).unwrap();
        let row = |at: &Timestamp| {
            let stands_for = |run: &Run| {
                let last = run.skipped.map_or(run.due_at, |(last, _)| last);
                run.due_at <= *at && *at <= last
            };
            let row = self.runs.iter().find(|row| stands_for(&row.0));
            row.filter(|_| guards.edits_look_ahead)
                .map(|row| (*at, row.0.id))
        };
        let rows = near.instants.iter().filter_map(row).collect();
        let may_be = guards.changes_take_back && place::may_be_ahead(old, self.due_row(), now);
        let waiting = self.runs.iter().map(|row| &*row.0);
        let unplan = may_be.then(|| place::taken_back(old.id, waiting, now));
        Future { near, rows, unplan }
    }

    /// An edit is written: all of it, or nothing if what it rests on has moved.
    pub fn edit(&mut self, draft: &Draft, scene: &Scene, now: Timestamp) -> Written {
        let guards = &scene.guards;
        let ids = self.ahead(now).map(|run| run.id);
        let as_seen = |unplan: &Unplan| ahead::is_as_seen(unplan, ids);
        let is_as_seen = draft.unplan.as_ref().is_none_or(as_seen);
        if (guards.edits_carry_seen && !draft.stands(self)) || !is_as_seen {
            return Written::Stale;
        }
        let old = self.task(scene);
        let rests = matches!(draft.due, Some(DueChange::Pause { .. }));
        let taken = self.take_back(rests, draft, now, guards);
        if let Some(range) = draft.left.as_ref().filter(|_| guards.edits_leave_rows) {
            let id = RunId::from_i64(1_000 + self.edits);
            self.write(transitions::skip(id, &old, range, 0, now));
        }
        self.edits += 1;
        let definition = self.definition.after(draft.change);
        let new = &scene.definition(definition).task.spec;
        if definition.deleted || !place::same_instants(&old.spec, new) {
            let come = scene.instants(self.definition).iter().copied();
            let since = self.asked.since;
            let come = come.filter(|at| *at <= now && since.is_none_or(|s| *at > s));
            let (before, meanwhile): (Vec<_>, Vec<_>) = come.partition(|at| *at <= draft.at);
            self.asked.before.extend(before);
            self.asked
                .meanwhile
                .extend(meanwhile.iter().filter(|_| definition.deleted));
            self.asked.since = Some(draft.at);
        }
        self.definition = definition;
        self.edit_chain(scene, definition);
        let stood = self.due_row();
        let of_task = |key: &DueKey| matches!(key.owner, Owner::Task(_));
        match &draft.due {
            Some(DueChange::Keep) => {}
            Some(DueChange::Pause { .. }) => {
                self.due.retain(|key| !of_task(key));
                let from = ahead::paused_from(now, now, stood, taken.into_iter());
                self.paused_from = Some(from);
                return Written::Applied;
            }
            Some(DueChange::Replace { next, .. }) => {
                self.due.retain(|key| !of_task(key));
                let held = match guards.edit_asks_the_chain {
                    true => self.holder.is_some(),
                    false => draft.held,
                };
                let free = !held || !guards.edit_leaves_chain;
                self.due.extend(next.clone().filter(|_| free));
            }
            None => self.due.retain(|key| !of_task(key)),
        }
        self.paused_from = draft.paused_from;
        self.answered.extend(&draft.answered);
        Written::Applied
    }

    /// The row of the instants that nobody will run, behind those that have one.
    fn left(&self, old: &Task, left: Option<Left>, guards: &Guards) -> Option<Skip> {
        let mut left = left?;
        loop {
            let range = left.row(&old.spec, old.created_at, &Fuel::endless())?;
            let has_row = self.runs.iter().any(|row| row.0.due_at == range.first);
            if !has_row || !guards.edits_look_ahead {
                return Some(range);
            }
            left = left.behind_instant(range.first)?;
        }
    }

    /// Removes what was planned ahead and is taken back. Answers its instants.
    fn take_back(
        &mut self,
        rests: bool,
        draft: &Draft,
        now: Timestamp,
        guards: &Guards,
    ) -> Vec<Timestamp> {
        if !(rests && guards.pause_takes_back) && draft.unplan.is_none() {
            return Vec::new();
        }
        let none = std::time::Duration::ZERO;
        let is_gone = |row: &Row| ahead::is_ahead(&row.0, none, now);
        let (gone, stay): (Vec<Row>, Vec<Row>) = std::mem::take(&mut self.runs)
            .into_iter()
            .partition(is_gone);
        self.runs = stay;
        for row in &gone {
            self.release(row.0.id, true, guards);
            self.due.retain(|key| key.owner != Owner::Run(row.0.id));
            self.holder = self.holder.filter(|holder| *holder != row.0.id);
        }
        gone.iter().map(|row| row.0.due_at).collect()
    }

    /// What ends the runs that wait for the task, which is deleted. Answers whether there were any.
    pub fn end_orphans(&mut self, at: Timestamp, guards: &Guards) -> bool {
        let live = self.runs.iter().map(|row| &row.0);
        let ends = live.filter_map(|run| transitions::orphan(run, run.attempt, at));
        let ends: Vec<Run> = ends.collect();
        for run in &ends {
            self.due.retain(|key| key.owner != Owner::Run(run.id));
            self.settle(run.clone(), guards);
        }
        !ends.is_empty()
    }

    /// The instants that must have a row by now: those of former definitions, and of the present one those before its
    /// next.
    pub fn passed(&self, scene: &Scene) -> BTreeSet<Timestamp> {
        let next = self.due_row().into_iter().chain(self.paused_from).min();
        let mut all = self.asked.before.clone();
        let present = self.present(scene);
        all.extend(present.filter(|at| next.is_none_or(|next| *at < next)));
        all
    }

    /// Whether some definition asked for an instant in its time.
    pub fn is_asked_for(&self, at: Timestamp, scene: &Scene) -> bool {
        let asked = &self.asked;
        let former = asked.before.contains(&at) || asked.meanwhile.contains(&at);
        let chained = scene.task(self).task.spec.after().is_some();
        chained || former || self.present(scene).any(|instant| instant == at)
    }

    fn present(&self, scene: &Scene) -> impl Iterator<Item = Timestamp> {
        let since = self.asked.since;
        let all = scene.instants(self.definition).iter().copied();
        all.filter(move |at| since.is_none_or(|since| *at > since))
    }

    /// Whether its task is deleted, as invariants are told.
    pub fn deleted(&self) -> Vec<(TaskId, bool)> {
        let is = self.definition.deleted;
        is.then(|| (TaskId::from_i64(TASK), true))
            .into_iter()
            .collect()
    }
}
