//! Every decision, as pure functions, by the verbs of a run's life: `(state, event, now) → (state, effects)`. Nothing
//! here reads a clock, awaits, or touches a store; the engine carries the effects out, and the model checker calls the
//! same functions.
//!
//! **States of a run**: `scheduled → queued → running → succeeded | failed(reason) | cancelled`, beside `skipped(reason)`
//! for an occurrence that did not run. `running → scheduled` (attempt + 1) on a retry, a loss or a drain. A terminal
//! row never changes. See [`attempt`]. A worker that can't carry a run out gives it back before the start
//! ([`publish::routing`]).
//!
//! **Terms.** A node that got the lock reads the epoch, verifies that the lock is still its own, and begins a term with
//! a compare-and-set on the leader row; only then it leads, with empty memory. Losing the lock, a guard that matches no
//! row, or an error that leaves a commit in doubt ends the term and drops all that it knew. See [`lead`].
//!
//! Three sentences carry the safety; everything else is liveness:
//! 1. **A due row is consumed in the transaction that inserts its run**, so an occurrence has one run ([`fire`]).
//! 2. **Every leader transaction first writes the leader row under its (epoch, holder)**, so nothing of a deposed
//!    leader commits after its successor's term began ([`lead`]).
//! 3. **An attempt starts only after its claim committed**, a compare-and-set on (run, attempt), and ends only under
//!    that claim ([`attempt`]), so duplicates, late messages and zombies change nothing.
//!
//! What happens when the leader is paused for a minute? Its lock expires, a successor's [`lead`] begins the next
//! epoch (a transaction that the paused leader left open is ended by the store's own timeout), and reads the outbox.
//! When the paused one wakes, its next write matches no row: [`crate::port::Written::Stale`], and its term is dropped.
//! What it still publishes from memory are duplicates, which claims refuse.

pub mod attempt;
pub mod edit;
pub mod fire;
pub mod invariants;
pub mod lead;
pub mod member;
pub mod permits;
pub mod publish;
pub mod ranges;

pub use campanile_task::occurrences;
