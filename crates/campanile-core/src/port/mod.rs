//! All that the system needs from the world: five traits, each with its error. They speak the domain's words, are
//! held as `Arc<dyn …>`, and name no driver. What an adapter must do is written at each method and proven by the
//! suites in `proof/conformance`.

pub mod access;
pub mod ask;
pub mod attempt;
pub mod broker;
pub mod clock;
pub mod edit;
pub mod fire;
pub mod handler;
pub mod lead;
pub mod lock;
pub(crate) mod log;
pub mod member;
pub mod publish;
pub mod secrets;
pub mod store;

/// Where an adapter's own error goes: boxed, as the cause.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The answer of a compare-and-set. Being too late is an expected outcome, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The row was as expected and is changed.
    Applied,
    /// The row was not (or no longer) as expected; nothing is changed.
    Stale,
}

impl Written {
    /// Whether it was applied.
    #[must_use]
    pub const fn is_applied(self) -> bool {
        matches!(self, Self::Applied)
    }
}
