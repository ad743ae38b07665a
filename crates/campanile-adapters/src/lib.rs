//! Campanile's adapters: what the ports of the library are plugged into. One module for each thing in the world, each
//! behind an additive feature; none knows another.

#[cfg(feature = "sql")]
pub mod sql;
