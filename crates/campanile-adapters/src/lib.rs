//! Campanile's adapters: the ports of the library, carried out with real services. One module each, behind one additive
//! feature each.

#[cfg(feature = "stomp")]
pub mod stomp;
