//! Looking ahead over the stored tasks: reads them page by page, has [`campanile_core::forecast`] reckon, and measures how long
//! runs typically take where that matters. Decides nothing about the future itself.

use std::sync::Arc;
use std::time::Duration;

use campanile_access::Right;
use campanile_schedule::TimeZoneName;
use campanile_schedule::fuel::{CancelOnDrop, Fuel};
use campanile_schedule::time::Timestamp;
use tokio::sync::Semaphore;

use crate::access::thing_of;
use crate::{Control, Editor, Error};
use campanile_core::decide::permits::Rules;
use campanile_core::forecast::{Forecast, Forecaster, Outage, Query};
use campanile_core::limits;
use campanile_core::port::ask::{RunFilter, TaskFilter};
use campanile_core::run::State;
use campanile_core::system;
use campanile_core::task::Task;

/// Recent runs whose middle duration stands for a task's.
const SAMPLES: usize = 20;
/// Names that are looked up at once.
const LOOKUP: usize = 100;

/// Forecasts of this process: each takes a core for seconds, so they go one after another.
static TURN: Semaphore = Semaphore::const_new(1);
/// How long one of them may wait.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);

/// What is asked of the stored tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastQuery {
    /// The first instant; `None` = now.
    pub from: Option<Timestamp>,
    /// How many times 24 hours.
    pub days: u16,
    /// A time in which nothing is planned.
    pub outage: Option<Outage>,
    /// How many worst minutes are named, and tasks of other lists.
    pub top: usize,
    /// In whose days the result is shown.
    pub zone: TimeZoneName,
}

impl Editor {
    /// What all tasks will start in the days ahead. Waits while another forecast is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field that is out of range; [`Error::Conflict`] when its turn does not come; the
    /// store's.
    pub async fn forecast(&self, asked: &ForecastQuery) -> Result<Forecast, Error> {
        self.may(Right::See)?;
        let from = match asked.from {
            Some(from) => from,
            None => self.control.now().await?,
        };
        let query = Query {
            from,
            days: asked.days,
            outage: asked.outage,
            top: asked.top,
            zone: asked.zone.clone(),
        };
        // Several pieces of work burn it, and it ends with whoever asked.
        let cancel = self.parts.pool.cancel();
        let _asked = CancelOnDrop(cancel.clone());
        let fuel = Arc::new(Fuel::cancelled_by(limits::FORECAST_FUEL, cancel));
        let mut forecaster = Forecaster::with_fuel(&query, Arc::clone(&fuel))?;
        let Some(_turn) = system::within(TURN_WAIT_MAX, TURN.acquire()).await else {
            let busy =
                "other forecasts are being made: try again in a minute, or ask for fewer days";
            return Err(Error::Conflict(busy.to_owned()));
        };
        let rules = Arc::new(self.parts.store.rules().await?);
        let mut after: Option<String> = None;
        loop {
            let page = limits::PAGE_ROWS_MAX;
            let page = self
                .parts
                .store
                .tasks(&TaskFilter::default(), after.as_deref(), page)
                .await?;
            let mut tasks = page.tasks;
            tasks.retain(|task| self.scope().holds(&thing_of(&task.spec)));
            while !tasks.is_empty() {
                let rest = tasks.split_off(tasks.len().min(limits::LOOKED_AT_ONCE));
                let some = std::mem::replace(&mut tasks, rest);
                let rules = Arc::clone(&rules);
                let add = move |_: &Fuel| add(forecaster, some, &rules);
                forecaster = self.parts.pool.run(add).await?;
                check(&fuel)?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for names in forecaster.candidates().chunks(LOOKUP) {
            for task in self.parts.store.tasks_by_name(names).await? {
                if let Some(typical) = self.typical_duration(&task).await? {
                    forecaster.measure(&task.spec.name, typical);
                }
            }
        }
        let finish = move |_: &Fuel| forecaster.finish();
        let forecast = self.parts.pool.run(finish).await?;
        check(&fuel)?;
        Ok(forecast)
    }
}

impl Control {
    /// The middle one of the durations of a task's recent good runs; `None` when there are none.
    async fn typical_duration(&self, task: &Task) -> Result<Option<Duration>, Error> {
        let filter = RunFilter {
            tasks: vec![task.id],
            state: Some(State::Succeeded),
            ..RunFilter::default()
        };
        let runs = self.parts.store.runs(&filter, None, SAMPLES).await?;
        let lasted = |run: &campanile_core::run::Run| Some(run.finished_at?.since(run.started_at?));
        let mut durations: Vec<Duration> = runs.iter().filter_map(lasted).collect();
        durations.sort_unstable();
        Ok(durations.get(durations.len() / 2).copied())
    }
}

fn add(mut forecaster: Forecaster, tasks: Vec<Task>, rules: &Rules) -> Forecaster {
    let calendar = |name: &str| rules.calendar(name);
    for task in tasks {
        forecaster.read(&task.spec, task.created_at, &calendar);
    }
    forecaster
}

fn check(fuel: &Fuel) -> Result<(), Error> {
    let remedy = "ask for fewer days";
    fuel.check()
        .map_err(|spent| Error::spent("days", spent, remedy))
}
