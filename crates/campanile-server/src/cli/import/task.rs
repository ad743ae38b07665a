//! A task as an import writes it: its fields in the order in which people read them, and only if `apply` would take it. Owns
//! that form and the names; what a task is made of is each import's own.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use campanile_core::task::{HandlerSpec, Texts};
use campanile_schedule::time::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::taskfile::TaskFile;

/// What another system does not bound; a task must have it.
pub(super) const TIMEOUT: &str = "1d";

/// A task; what is absent has its default.
#[derive(Debug, Clone, Serialize, Default)]
pub(super) struct Imported {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Texts::is_empty")]
    pub(super) schedule: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dialect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timezone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jitter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) misfire: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_lateness: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) overlap: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry: Option<Retry>,
    pub(super) handler: Option<HandlerSpec>,
}

/// What happens after a failure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Retry {
    pub(super) max_attempts: u32,
    pub(super) backoff: &'static str,
    pub(super) initial: String,
    pub(super) max: String,
}

/// The root of a task file.
#[derive(Debug, Serialize)]
struct Document<'a, T> {
    task: [&'a T; 1],
}

/// A task as text, if `apply` would take it.
///
/// # Errors
/// What `apply` would say.
pub(super) fn written<T: Serialize>(task: &T, now: Timestamp) -> Result<String, String> {
    let document = Document { task: [task] };
    let text = toml::to_string(&document).map_err(|e| format!("it can't be written ({e})"))?;
    let file = TaskFile::parse(&text, Path::new("task.toml")).map_err(|e| e.message)?;
    for spec in &file.definitions.tasks {
        spec.validate(now).map_err(|e| e.to_string())?;
        let schedule = spec.compile(now).map_err(|e| e.to_string())?;
        if schedule.next(now).is_none() {
            return Err("its schedule can never fire".to_owned());
        }
    }
    Ok(text)
}

/// A command with what the other system gives it.
///
/// # Errors
/// What such a handler can't be.
pub(super) fn command(
    argv: &[String],
    env: &BTreeMap<String, String>,
    dir: Option<&str>,
) -> Result<HandlerSpec, String> {
    let command = match dir {
        Some(dir) => json!({"argv": argv, "env": env, "dir": dir}),
        None => json!({"argv": argv, "env": env}),
    };
    serde_json::from_value(json!({ "command": command })).map_err(|e| e.to_string())
}

/// A name that is not taken yet: a name that is gets a number, the first that is free.
pub(super) fn unused(base: &str, taken: &HashSet<String>) -> String {
    if !taken.contains(base) {
        return base.to_owned();
    }
    // `backup-2` that is taken is followed by `backup-3`, not by `backup-2-2`.
    let (stem, first) = match base.rsplit_once('-') {
        Some((stem, digits)) if !stem.is_empty() && digits.len() < 6 => {
            match digits.parse::<usize>() {
                Ok(n) => (stem, n + 1),
                Err(_) => (base, 2),
            }
        }
        _ => (base, 2),
    };
    let mut names = (first.max(2)..).map(|n| format!("{stem}-{n}"));
    names
        .find(|name| !taken.contains(name))
        .unwrap_or(base.to_owned())
}

/// A text as far as a task's name can hold it.
pub(super) fn slug(text: &str) -> Option<String> {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '-'
        }
    };
    let slug: String = text.chars().map(plain).take(60).collect();
    let slug = slug.trim_matches(|c| c == '-' || c == '.');
    (!slug.is_empty()).then(|| slug.to_owned())
}

/// A text of a file within a remark.
pub(super) fn shown(text: &str) -> String {
    let head: String = text.chars().take(200).filter(|c| !c.is_control()).collect();
    if text.chars().count() > 200 {
        format!("{head}…")
    } else {
        head
    }
}
