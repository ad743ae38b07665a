//! A worker's secrets: where their values are, and who may have them here. A value is a file in one folder, or a variable
//! of the worker's environment; a rule says which tasks, of which owners, may send it to which hosts or give it to which
//! programs. Nothing is allowed that no rule names. Never shows a value, not even in its own errors.

mod file;
mod rule;
mod seen;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use campanile_core::limits;
use campanile_core::port::secrets::{Secrets, Values, Wanted};

pub use self::rule::{Rule, Target};
pub use self::seen::Seen;

/// How a secret's variable of the environment begins.
pub const VARIABLE: &str = "CAMPANILE_SECRET_";

/// What a worker has of secrets, and who may use it.
#[derive(Clone, Default)]
pub struct Options {
    /// The folder with one file for each secret.
    pub folder: Option<PathBuf>,
    /// Values from elsewhere, by their names. A file of the same name goes before.
    pub given: BTreeMap<String, String>,
    /// Who may use them.
    pub rules: Vec<Rule>,
    /// Where values that were given out are kept in mind, so that no line of the log shows them.
    pub seen: Seen,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("folder", &self.folder)
            .field("given", &self.given.keys())
            .field("rules", &self.rules)
            .finish()
    }
}

impl Options {
    /// Where the value of a secret is: in words, and without it.
    ///
    /// # Errors
    /// Why there is none that can be used, with the remedy.
    pub fn place(&self, name: &str) -> Result<String, String> {
        self.find(name).map(|(_, place)| place)
    }

    /// Values that no rule names: nobody may use them.
    #[must_use]
    pub fn idle(&self) -> Vec<String> {
        let named = |name: &str| self.rules.iter().any(|rule| rule.name == name);
        let files = self.folder.as_deref().map(file::names).unwrap_or_default();
        let mut idle: Vec<String> = self.given.keys().cloned().chain(files).collect();
        idle.retain(|name| !named(name));
        idle.sort_unstable();
        idle.dedup();
        idle
    }

    /// The value and where it was found.
    fn find(&self, name: &str) -> Result<(String, String), String> {
        let refused =
            |why: String| format!("the secret `{name}` can't be used on this worker: {why}");
        if let Some(folder) = &self.folder
            && let Some(found) = file::read(folder, name).transpose()
        {
            let (value, path) = found.map_err(refused)?;
            check_value(&value).map_err(refused)?;
            return Ok((value, format!("the file {}", path.display())));
        }
        if let Some(value) = self.given.get(name) {
            check_value(value).map_err(refused)?;
            return Ok((value.clone(), format!("{VARIABLE}{name}")));
        }
        let file = match &self.folder {
            Some(folder) => format!("into {}", folder.join(name).display()),
            None => "into a file of that name in the folder of `--secrets-dir`".to_owned(),
        };
        Err(format!(
            "the secret `{name}` is not on this worker: put it {file}, or set {VARIABLE}{name}"
        ))
    }
}

/// Whether something can be a secret's value.
fn check_value(value: &str) -> Result<(), String> {
    let bytes = value.len();
    if bytes < limits::SECRET_BYTES_MIN {
        return Err(format!(
            "it has less than {} bytes, so that it would be found in texts that have nothing to do with it, and guessed: take \
             a longer one",
            limits::SECRET_BYTES_MIN
        ));
    }
    if bytes > limits::SECRET_BYTES_MAX {
        return Err(format!(
            "it has more than {} bytes",
            limits::SECRET_BYTES_MAX
        ));
    }
    if value.contains('\0') {
        return Err("it has a NUL in it: write it as text, in base64 for example".to_owned());
    }
    Ok(())
}

/// The secrets of one worker.
#[derive(Debug)]
pub struct Vault {
    options: std::sync::Arc<Options>,
}

impl Vault {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options: std::sync::Arc::new(options),
        }
    }
}

#[async_trait]
impl Secrets for Vault {
    async fn values(&self, wanted: Wanted<'_>) -> Result<Values, String> {
        let target = Target::of(wanted.handler)?;
        for name in wanted.names {
            rule::check(
                &self.options.rules,
                name,
                wanted.task,
                wanted.owner,
                &target,
            )?;
        }
        let (options, names) = (std::sync::Arc::clone(&self.options), wanted.names.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut values = BTreeMap::new();
            for name in names {
                let (value, _) = options.find(&name)?;
                values.insert(name, value);
            }
            Ok::<_, String>(values)
        });
        let values = match read.await {
            Ok(values) => Values::new(values?),
            Err(_) => return Err("the worker is stopping".to_owned()),
        };
        self.options.seen.note(values.all());
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
