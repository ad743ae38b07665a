//! Campanile's adapters to the world, one module and one additive feature each. They own drivers and wire formats;
//! they decide nothing that the protocol decides.

#[cfg(feature = "redis")]
pub mod redis;
