//! The adapters in memory and the system's clock pass the same suites as all others.

mod memory;
mod system;
