//! Flows that guards need beside the plain one: several workers, and tasks with schedules.

use std::time::Duration;

use campanile_core::decide::edit::place;
use campanile_core::port::edit::Edit;
use campanile_core::task::TaskSpec;

use super::{Flow, actor, compiled, worker};
use crate::site::Site;
use crate::{Error, prepare};

/// The interval of tasks with schedules.
const EVERY: Duration = Duration::from_secs(86_400);

impl Flow {
    /// The same with so many workers.
    ///
    /// # Errors
    /// The store's.
    pub async fn among(mut self, workers: usize) -> Result<Self, Error> {
        let now = self.store.leader().await?.now;
        while self.workers.len() < workers {
            let node = self.mint.node();
            self.store.join(&worker(node, now)).await?;
            self.workers.push(node);
        }
        Ok(self)
    }

    /// Stores tasks that are all due now.
    ///
    /// # Errors
    /// The store's.
    pub async fn recur(&mut self, site: &Site, name: &str, count: usize) -> Result<(), Error> {
        let now = self.store.leader().await?.now;
        let specs: Vec<TaskSpec> = (0..count)
            .map(|n| prepare::spec(&format!("{name}-{n:06}"), Some((EVERY, now))))
            .collect();
        for some in specs.chunks(prepare::BATCH) {
            let put =
                |spec: &TaskSpec| place::create(self.mint.task(now), spec.clone(), Some(now), now);
            let edit = Edit {
                upserts: some.iter().map(put).collect(),
                ..Edit::default()
            };
            if !self.store.edit(&actor(), &edit, now).await?.is_applied() {
                let message = "another node edits this store: stop it first".to_owned();
                return Err(Error::Impossible(message));
            }
            for task in prepare::stored(site, some).await? {
                self.tasks.insert(task.id, compiled(task)?);
            }
        }
        Ok(())
    }
}
