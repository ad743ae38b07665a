//! Schedules that take long to read, read apart: a planner that met one would stand still, and with it every other task.
//! Such a task's due rows are left alone until its schedule is there, and then it is kept as long as nobody changes it.
//! Owns what is being read and what was; decides nothing about instants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use campanile_schedule::Invalid;
use campanile_schedule::fuel::{Fuel, Spent};

use crate::decide::fire::{Compiled, Lookup};
use crate::decide::permits::Rules;
use crate::engine::lead::duty::Duty;
use crate::id::TaskId;
use crate::limits;
use crate::system;
use crate::task::Task;

/// Tasks that the planner remembers; past this it forgets all and reads again.
pub(super) const CACHE_TASKS_MAX: usize = 20_000;

/// What a task was read from: another version of it, or of its calendars, is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edition {
    version: i64,
    calendars: Vec<i64>,
}

impl Edition {
    fn of(task: &Task, rules: &Rules) -> Self {
        let names = task.spec.calendars.as_slice().iter();
        let version = |name: &String| rules.calendar(name).map_or(0, |c| c.version);
        Self {
            version: task.version,
            calendars: names.map(version).collect(),
        }
    }
}

/// A schedule that takes long to read.
struct Book {
    edition: Edition,
    /// Nothing while it is being read.
    read: Option<Lookup>,
}

#[derive(Default)]
struct Books {
    all: HashMap<TaskId, Book>,
    arrived: Vec<TaskId>,
}

/// The schedules of one term that take long to read.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Books>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the tasks whose schedules have been read since the last call.
    pub(super) fn arrived(&self, mut each: impl FnMut(TaskId)) {
        let arrived = std::mem::take(&mut self.lock().arrived);
        arrived.into_iter().for_each(&mut each);
    }

    /// What is known of a task: at once where its schedule is quickly read or was read before; else its due rows are left
    /// alone for the moment, and the planner is woken when it has been read.
    pub(super) fn lookup(self: &Arc<Self>, duty: &Duty, task: Task, rules: &Arc<Rules>) -> Lookup {
        let edition = Edition::of(&task, rules);
        if let Some(book) = self.lock().all.get(&task.id)
            && book.edition == edition
        {
            return book.read.clone().unwrap_or(Lookup::Unreadable);
        }
        let fuel = Fuel::of(limits::LEADER_TASK_FUEL);
        let task = Arc::new(task);
        let read = read(&task, rules, &fuel);
        if fuel.check().is_ok() {
            return read.unwrap_or_else(|error| refused(&task, &error));
        }
        self.read_apart(duty, task, rules, edition);
        Lookup::Unreadable
    }

    fn read_apart(
        self: &Arc<Self>,
        duty: &Duty,
        task: Arc<Task>,
        rules: &Arc<Rules>,
        edition: Edition,
    ) {
        let mut books = self.lock();
        if books.all.len() >= CACHE_TASKS_MAX {
            books.all.clear();
        }
        let book = Book {
            edition: edition.clone(),
            read: None,
        };
        books.all.insert(task.id, book);
        drop(books);
        let (shelf, pool) = (Arc::clone(self), duty.shared.pool.clone());
        let (wake, rules) = (Arc::clone(&duty.shared.wake), Arc::clone(rules));
        let over = duty.leadership.over.clone();
        system::spawn(async move {
            let id = task.id;
            let reading = pool.run_first(limits::TASK_FUEL, move |fuel| {
                let read = read(&task, &rules, fuel);
                match fuel.check() {
                    Err(Spent::Cancelled) => None,
                    _ => Some(read.unwrap_or_else(|error| refused(&task, &error))),
                }
            });
            let read = tokio::select! {
                biased;
                () = over.cancelled() => return,
                read = reading => read,
            };
            shelf.put(id, &edition, read.ok().flatten());
            wake.notify_one();
        });
    }

    /// Keeps what was read, unless the task was changed meanwhile; what was not read is forgotten, to be read again.
    fn put(&self, id: TaskId, edition: &Edition, read: Option<Lookup>) {
        let mut books = self.lock();
        let Some(book) = books.all.get_mut(&id).filter(|b| b.edition == *edition) else {
            return;
        };
        match read {
            Some(read) => book.read = Some(read),
            None => drop(books.all.remove(&id)),
        }
        books.arrived.push(id);
    }
}

fn read(task: &Arc<Task>, rules: &Rules, fuel: &Fuel) -> Result<Lookup, Invalid> {
    let find = |name: &str| rules.calendar(name);
    let timetable = task.spec.timetable_by(task.created_at, &find, fuel)?;
    Ok(Lookup::Here(Arc::new(Compiled {
        task: Arc::clone(task),
        timetable,
    })))
}

/// The definition was valid when it was stored: a newer version's dialect, or another zone database.
fn refused(task: &Task, error: &Invalid) -> Lookup {
    tracing::error!(task = %task.spec.name, %error, "task `{}` can't be scheduled here: {error}", task.spec.name);
    Lookup::Unreadable
}
