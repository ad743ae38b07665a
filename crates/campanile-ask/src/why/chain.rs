//! What can be told of the instants of a schedule that goes on from the ends of its runs: its past ones are its rows, the
//! next one is its due row, and while a run holds the chain nobody knows it.

use campanile_schedule::What;
use campanile_schedule::time::{Timestamp, format_duration};

use super::Verdict;
use super::look::Seen;
use crate::{Control, Error};
use campanile_core::limits;
use campanile_core::port::ask::RunFilter;
use campanile_core::run::Origin;
use campanile_core::task::Task;
use campanile_schedule::instant::show;

impl Control {
    /// What is known of an instant that has no row, and which are around it.
    pub(super) async fn look_at_chain(&self, task: &Task, seen: &mut Seen) -> Result<(), Error> {
        let next = self.parts.store.next_due(task.id).await?;
        let last = self.last_of_chain(task).await?;
        seen.what = next.filter(|at| *at == seen.at).map(|_| What::Due);
        seen.previous = last.filter(|at| *at < seen.at);
        seen.next = next.filter(|at| *at > seen.at);
        Ok(())
    }

    /// The latest instant of its rows.
    async fn last_of_chain(&self, task: &Task) -> Result<Option<Timestamp>, Error> {
        let filter = RunFilter {
            tasks: vec![task.id],
            ..RunFilter::default()
        };
        let runs = self.parts.store.runs(&filter, None, limits::PAGE_ROWS_MAX);
        let runs = runs.await?;
        let mut mine = runs.iter().filter(|run| run.origin == Origin::Schedule);
        Ok(mine.next().map(|run| run.due_at))
    }

    /// Its `last` or its `next` instant.
    pub(super) async fn instant_of_chain(
        &self,
        task: &Task,
        which: &str,
    ) -> Result<Timestamp, Error> {
        let name = &task.spec.name;
        let found = if which == "next" {
            self.parts.store.next_due(task.id).await?
        } else {
            self.last_of_chain(task).await?
        };
        if let Some(at) = found {
            return Ok(at);
        }
        let message = match self.told_by_chain(task).await? {
            Some(told) if which == "next" => format!("`{name}` has no next instant yet: {told}"),
            _ if which == "next" => format!("`{name}` has no instant to come"),
            _ => format!("`{name}` has had no instant yet"),
        };
        Err(Error::invalid("at", message))
    }

    /// From which end it goes on.
    pub(super) async fn told_by_chain(&self, task: &Task) -> Result<Option<String>, Error> {
        let held = self.parts.store.chain_holders(&[task.id]).await?;
        let told = task.spec.after().zip(held.get(&task.id));
        Ok(told.map(|(delay, run)| {
            let delay = format_duration(delay);
            format!("it comes {delay} after the end of run {run}")
        }))
    }

    /// That an instant is none of its.
    pub(super) async fn told_no_instant(
        &self,
        task: &Task,
        (at, next): (Timestamp, Option<Timestamp>),
    ) -> Result<(Verdict, Vec<String>), Error> {
        let (name, zone) = (&task.spec.name, &task.spec.timezone);
        let delay = format_duration(task.spec.after().unwrap_or_default());
        let mut said = vec![format!(
            "{} is none of the instants of `{name}`, which is due {delay} after the end of each of its runs.",
            show(at, zone)
        )];
        let next = next.map(|next| format!("The next one is {}.", show(next, zone)));
        let held = self.told_by_chain(task).await?;
        said.extend(next.or(held.map(|told| format!("The next one is not known yet: {told}."))));
        Ok((Verdict::NotAnInstant, said))
    }
}
