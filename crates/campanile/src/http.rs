//! Tasks whose handler is an HTTP request, in a program that embeds Campanile: how a builder is told to run them.

use std::sync::Arc;

use campanile_adapters::handlers::{Http, HttpOptions};

use crate::builder::Builder;
use crate::error::Error;

impl<Place> Builder<Place> {
    /// Runs tasks whose handler is an HTTP request, too.
    ///
    /// # Errors
    /// The machine's certificates can't be used.
    pub fn http(mut self, options: HttpOptions) -> Result<Self, Error> {
        let http = Http::new(options).map_err(|e| Error::Setting {
            what: "http",
            message: e.to_string(),
        })?;
        self.handlers = self.handlers.http(Arc::new(http));
        self.runs_something = true;
        Ok(self)
    }
}
