//! The one test binary of the adapters: a module for each adapter, because every binary is linked apart.

#[cfg(feature = "handlers")]
mod handlers;
