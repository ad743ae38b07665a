//! The engine: async shells around [`crate::protocol`]. They read the world through the ports, hand what they saw to
//! the pure functions, and carry out the effects; they decide nothing themselves.

pub mod database_time;
