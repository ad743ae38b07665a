//! Where a worker finds the values of secrets. A definition names them, and this worker alone says whether a task may have
//! them here; the values go into one attempt and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;

use crate::task::HandlerSpec;

/// Who wants which secrets, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Whose task it is.
    pub owner: Option<&'a str>,
    /// What runs, as the definition says it: where the values go.
    pub handler: &'a HandlerSpec,
    pub names: &'a BTreeSet<String>,
}

/// Values by the names of their secrets. Nothing shows them.
#[derive(Clone, Default)]
pub struct Values(BTreeMap<String, String>);

impl Values {
    #[must_use]
    pub const fn new(values: BTreeMap<String, String>) -> Self {
        Self(values)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A worker's secrets.
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// The values of all that is wanted, or why this worker does not give one of them, with the remedy and without any
    /// value: another worker may have it.
    ///
    /// # Errors
    /// As said.
    async fn values(&self, wanted: Wanted<'_>) -> Result<Values, String>;
}
