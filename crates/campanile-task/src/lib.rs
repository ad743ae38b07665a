//! What a task and a run are, as values: the definition that people write, with its limits, its checks and what was
//! probably meant by a misspelt field; ids, states and reasons; which instants of a schedule run and which are skipped; and
//! what tasks will start. Pure: no runtime, no clock, no store.

pub mod forecast;
pub mod id;
pub mod limits;
pub mod log;
pub mod misread;
pub mod occurrences;
pub mod run;
pub mod scrub;
pub mod task;
