//! Who may do what, and the record of who did, as values: rights and the roles that are sets of them, scopes, actors,
//! tokens; what is written down of acts, and the chain that it forms.
//! Pure: no runtime, no clock, no store. What a function needs is asked of an actor where the function is
//! (`campanile-ask`); where an actor comes from is decided where a request comes in.

pub mod actor;
pub mod audit;
pub mod right;
pub mod scope;
pub mod token;

pub use actor::{Actor, Kind};
pub use right::{Denied, Right, Rights, Role};
pub use scope::{Scope, Thing};
