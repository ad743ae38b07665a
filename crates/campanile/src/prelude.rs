//! What a program that embeds Campanile names most: `use campanile::prelude::*;`.

pub use crate::{
    Backoff, Campanile, Client, Context, Error, Failure, Handler, InMemory, Misfire, Overlap,
    Retry, Run, RunId, StartMode, State, Timestamp,
};
