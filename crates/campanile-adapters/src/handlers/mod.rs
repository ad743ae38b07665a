//! The handlers that need no code of the user's: HTTP requests and programs. Owns how they are carried out, what they
//! may reach, and that they end when they are told to; never decides whether a run is tried again (it only says
//! whether that may help) and never touches the store.

mod allow;
mod cgroup;
pub mod command;
mod environment;
pub mod http;
mod leash;
mod output;
mod processes;
mod ssrf;
pub mod supervise;
mod user;
pub mod web;

pub use allow::{Allowed, split as split_allowed};
pub use cgroup::Cells;
pub use command::{Command, CommandOptions};
pub use environment::AllowedEnv;
pub use http::{Http, HttpOptions};
pub use ssrf::unsafe_target;
pub use user::RunAs;
pub use web::Web;

use campanile_core::port::handler::Failure;
use campanile_core::task::HandlerSpec;

/// What an attempt that was told to stop ends with. The worker knows why it told so; this text is only what is left
/// when it doesn't.
fn stopped() -> Failure {
    Failure::retry("stopped before it ended")
}

/// An executor was given another's kind: the worker is wired wrongly, and no attempt will mend it.
fn misplaced(expected: &str, handler: &HandlerSpec) -> Failure {
    Failure::fatal(format!(
        "the {expected} executor was given a handler of kind `{}`: register one executor for each kind",
        handler.kind()
    ))
}
