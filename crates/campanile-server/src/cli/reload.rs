//! What a running node takes again when it is asked to (SIGHUP): certificate and key, tokens, the level of its log. Says in
//! one line what it took, and which other settings want a restart; what can't be used leaves the old in force.

use std::collections::BTreeMap;

use tracing_subscriber::EnvFilter;

use super::args::Settings as Args;
use super::serve::gather;
use crate::compose::App;
use crate::config::{Environment, Written};
use campanile_core::causes;

/// Sets the filter of the log.
pub(super) type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The settings that are taken again.
const RELOADED: [&str; 4] = ["log_level", "tls_cert", "tls_key", "token_file"];

/// What it takes to read the settings again.
pub(super) struct Reload {
    args: Args,
    environment: Environment,
    set_filter: SetFilter,
    /// The settings at the start, as they were written.
    shown: BTreeMap<&'static str, String>,
}

impl Reload {
    pub(super) fn new(
        args: Args,
        environment: Environment,
        written: &Written,
        set_filter: SetFilter,
    ) -> Self {
        Self {
            args,
            environment,
            set_filter,
            shown: shown(written),
        }
    }

    /// Takes again what can be.
    pub(super) fn now(&self, app: &App) {
        let read = gather(self.args.clone(), &self.environment);
        let read = read.and_then(|written| Ok((written.settings()?, written)));
        let mut taken = Vec::new();
        match read {
            Err(error) => tracing::error!(
                error = %causes(&error),
                "the settings can't be taken again, and those that are in force stay: {error}"
            ),
            Ok((settings, written)) => {
                let filter = settings.log.filter;
                let set = super::serve::filter(&filter).map_err(|e| e.to_string());
                match set.and_then(|new| (self.set_filter)(new)) {
                    Ok(()) => taken.push(format!("log level `{filter}`")),
                    Err(error) => tracing::error!(error, "the log level stays: {error}"),
                }
                self.name_the_rest(&written);
            }
        }
        match app.tokens.reload() {
            Ok(read) if read.tokens > 0 => taken.push(format!("tokens ({})", read.tokens)),
            Ok(_) => {}
            Err(error) => tracing::error!(
                error = %causes(&error),
                "the tokens stay the old ones: {error}"
            ),
        }
        if let Some(certificate) = app.serving.certificate() {
            match certificate.reload() {
                Ok(()) => taken.push("certificate and key".to_owned()),
                Err(error) => tracing::error!(
                    error = %causes(&error),
                    "the certificate stays the old one: {error}"
                ),
            }
        }
        let what = match taken.len() {
            0 => "nothing".to_owned(),
            _ => taken.join(", "),
        };
        tracing::warn!(what, "asked to (SIGHUP), this node has taken again: {what}");
    }

    fn name_the_rest(&self, written: &Written) {
        let now = shown(written);
        let others: Vec<&str> = now
            .iter()
            .filter(|(name, value)| {
                !RELOADED.contains(*name) && self.shown.get(*name) != Some(*value)
            })
            .map(|(name, _)| *name)
            .collect();
        if !others.is_empty() {
            let others = others.join(", ");
            tracing::warn!(
                settings = others,
                "changed, and in force after a restart: {others}"
            );
        }
    }
}

fn shown(written: &Written) -> BTreeMap<&'static str, String> {
    let all = written.shown().into_iter();
    all.map(|(name, value, _)| (name, value)).collect()
}
