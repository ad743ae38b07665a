//! What people change, decided: which instants an edit leaves to nobody, what was planned ahead and is taken back, what a
//! deletion does with the runs that wait, and what a second request with the same key means.

pub mod ahead;
pub mod deletion;
pub mod inbox;
pub mod keys;
pub mod moves;
pub mod place;
pub mod request;
