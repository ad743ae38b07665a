//! Tasks whose handler is a program, in a program that embeds Campanile: how a builder is told to run them.

use std::sync::Arc;

use campanile_adapters::handlers::{Command, CommandOptions};

use crate::builder::Builder;

impl<Place> Builder<Place> {
    /// Runs tasks whose handler is one of the programs that these options allow, too, each under the supervisor that they
    /// name.
    pub fn command(mut self, options: CommandOptions) -> Self {
        self.handlers = self.handlers.command(Arc::new(Command::new(options)));
        self.runs_something = true;
        self
    }
}
