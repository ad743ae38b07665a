//! The protocol, as pure functions: `(state, event, now) → (state, effects)`. Nothing here reads a clock, awaits, or
//! touches a store; the engine carries the effects out, and the model checker calls the same functions.
//!
//! **States of a run**: `scheduled → queued → running → succeeded | failed(reason) | cancelled`, beside `skipped(reason)`
//! for an occurrence that did not run. `running → scheduled` (attempt + 1) on a retry, a loss or a drain. A terminal
//! row never changes. See [`run`]. A worker that can't carry a run out gives it back before the start ([`routing`]).
//!
//! **Terms.** A node that got the lock reads the epoch, verifies that the lock is still its own, and begins a term with
//! a compare-and-set on the leader row; only then it leads, with empty memory. Losing the lock, a guard that matches no
//! row, or an error that leaves a commit in doubt ends the term and drops all that it knew. See [`election`].
//!
//! Three sentences carry the safety; everything else is liveness:
//! 1. **A due row is consumed in the transaction that inserts its run**, so an occurrence has one run ([`plan`]).
//! 2. **Every leader transaction first writes the leader row under its (epoch, holder)**, so nothing of a deposed
//!    leader commits after its successor's term began ([`election`]).
//! 3. **An attempt starts only after its claim committed**, a compare-and-set on (run, attempt), and ends only under
//!    that claim ([`run`]), so duplicates, late messages and zombies change nothing.
//!
//! What happens when the leader is paused for a minute? Its lock expires, a successor's [`election`] begins the next
//! epoch (a transaction that the paused leader left open is ended by the store's own timeout), and reads the outbox.
//! When the paused one wakes, its next write matches no row: [`crate::port::Written::Stale`], and its term is dropped.
//! What it still publishes from memory are duplicates, which claims refuse.

pub mod ahead;
pub mod clock;
pub mod clock_state;
pub mod deletion;
pub mod dispatch;
pub mod election;
pub mod invariants;
pub mod jump;
pub mod keys;
pub mod limits;
pub mod lost;
pub mod message;
pub mod occurrences;
pub mod permits;
pub mod plan;
pub mod refusal;
pub mod routing;
pub mod run;
pub mod work;
pub mod zones;
