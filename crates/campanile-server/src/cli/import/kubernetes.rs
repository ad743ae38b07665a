//! Kubernetes CronJobs as tasks. Owns what of a CronJob is kept; what is not is named with its line. Documents are read by
//! the reader of task files, within its limits; no file is opened here.

mod container;

use std::collections::HashSet;

use campanile_schedule::limits as schedule_limits;
use campanile_schedule::time::Timestamp;
use serde_json::Value;

use super::task::{Imported, Retry, TIMEOUT, shown, slug, unused, written};
use crate::document::path::{self, Step};
use crate::document::{self, Form};

/// A file of manifests may be as large as this.
pub(super) const MANIFESTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Documents of one file.
const DOCUMENTS_MAX: usize = 1_000;

/// What became of manifests.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// Each as a task file has it.
    pub(super) tasks: Vec<String>,
    /// CronJobs, and documents that can't be read, that were not taken.
    pub(super) refused: usize,
    /// What there is to say, with the line.
    pub(super) remarks: Vec<(usize, String)>,
}

/// Where a CronJob stands, and what is said of it.
struct Job<'a> {
    document: &'a Document<'a>,
    /// The path to it within its document.
    root: Vec<Step>,
    value: &'a Value,
    remarks: Vec<(usize, String)>,
}

/// One document of a file.
struct Document<'a> {
    text: &'a str,
    /// Lines of the file before it.
    before: usize,
}

/// Why a CronJob was not taken, with the path to the field.
type Refused = (String, String);

/// Makes tasks of the CronJobs in a file. `run_with` is a command that starts a container from what is put behind it.
pub(super) fn convert(text: &str, run_with: &[String], now: Timestamp) -> Converted {
    let mut out = Converted::default();
    let mut names = HashSet::new();
    let documents = documents(text);
    if documents.len() > DOCUMENTS_MAX {
        let remark = format!("more than {DOCUMENTS_MAX} documents: make several files of it");
        out.remarks.push((1, remark));
        out.refused = documents.len();
        return out;
    }
    for document in &documents {
        match document::read(Form::Yaml, document.text) {
            Ok(value) => {
                let mut found = Vec::new();
                jobs(&value, Vec::new(), &mut found);
                if found.is_empty() && !value.is_null() {
                    let kind = value.get("kind").and_then(Value::as_str);
                    let kind = shown(kind.unwrap_or("something without a kind"));
                    let remark = format!("passed over: {kind} is no CronJob");
                    out.remarks.push((document.before + 1, remark));
                }
                for (root, value) in found {
                    let job = Job {
                        document,
                        root,
                        value,
                        remarks: Vec::new(),
                    };
                    take(job, run_with, now, &mut names, &mut out);
                }
            }
            Err(wrong) => {
                out.refused += 1;
                let line = document.before + wrong.at.map_or(1, |at| at.line);
                out.remarks
                    .push((line, format!("not taken: {}", wrong.message)));
            }
        }
    }
    out.remarks.sort_by_key(|(line, _)| *line);
    out
}

/// The documents of a stream; what stands between two lines of `---`.
fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut out, mut start, mut at, mut before) = (Vec::new(), 0, 0, 0);
    for (n, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") || bare == "..." {
            let text = text.get(start..at).unwrap_or_default();
            out.push(Document { text, before });
            (start, before) = (at + line.len(), n + 1);
        }
        at += line.len();
    }
    let text = text.get(start..).unwrap_or_default();
    out.push(Document { text, before });
    out
}

/// The CronJobs of a document, also of its lists.
fn jobs<'v>(value: &'v Value, root: Vec<Step>, out: &mut Vec<(Vec<Step>, &'v Value)>) {
    let kind = value
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kind == "CronJob" {
        out.push((root, value));
    } else if kind.ends_with("List") {
        let items = value.get("items").and_then(Value::as_array);
        for (n, item) in items.into_iter().flatten().enumerate() {
            // What is in a CronJobList names no kind of its own.
            let bare = kind == "CronJobList" && item.get("kind").is_none();
            let mut root = root.clone();
            root.extend([Step::Key("items".to_owned()), Step::Index(n)]);
            if bare || item.get("kind").and_then(Value::as_str) == Some("CronJob") {
                out.push((root, item));
            }
        }
    }
}

fn take(
    mut job: Job<'_>,
    run_with: &[String],
    now: Timestamp,
    names: &mut HashSet<String>,
    out: &mut Converted,
) {
    let task = task(&mut job, run_with).and_then(|mut task| {
        task.name = unused(&task.name, names);
        let text = written(&task, now).map_err(|e| (String::new(), e))?;
        names.insert(task.name);
        Ok(text)
    });
    match task {
        Ok(text) => out.tasks.push(text),
        Err((field, reason)) => {
            out.refused += 1;
            job.remarks.clear();
            let name = job.text("metadata.name").unwrap_or("without a name");
            let remark = format!("not taken: CronJob `{}`: {reason}", shown(name));
            job.say(&field, &remark);
        }
    }
    out.remarks.extend(job.remarks);
}

impl<'a> Job<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        let steps = path::parse(field);
        let found = steps.iter().try_fold(self.value, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(n) => value.get(n),
        });
        found.filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.get(field).and_then(Value::as_str)
    }

    /// A whole number that is not negative.
    fn number(&self, field: &str) -> Result<Option<u64>, Refused> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                let reason = format!("{field} is no whole number of 0 or more");
                (field.to_owned(), reason)
            }),
        }
    }

    /// Notes something about a field.
    fn say(&mut self, field: &str, remark: &str) {
        let mut steps = self.root.clone();
        steps.extend(path::parse(field));
        let at = document::place(Form::Yaml, self.document.text, &steps);
        let line = self.document.before + at.map_or(1, |at| at.line);
        self.remarks.push((line, remark.to_owned()));
    }

    /// Names a field that is there as dropped.
    fn dropped(&mut self, field: &str, why: &str) {
        if self.get(field).is_some() {
            let last = field.rsplit('.').next().unwrap_or(field);
            self.say(field, &format!("{last} is dropped: {why}"));
        }
    }
}

/// Fields that a task has nothing for, and why.
const DROPPED: [(&str, &str); 10] = [
    (
        "metadata.annotations",
        "write what people should know into the description",
    ),
    (
        "spec.successfulJobsHistoryLimit",
        "history is kept by time, for all tasks alike (the setting `retention`)",
    ),
    (
        "spec.failedJobsHistoryLimit",
        "history is kept by time, for all tasks alike (the setting `retention`)",
    ),
    (
        "spec.jobTemplate.spec.ttlSecondsAfterFinished",
        "history is kept by time, for all tasks alike (the setting `retention`)",
    ),
    (
        "spec.jobTemplate.spec.podFailurePolicy",
        "name failures in retry.on and retry.never_on",
    ),
    (
        "spec.jobTemplate.spec.backoffLimitPerIndex",
        "a run has no indexes",
    ),
    (
        "spec.jobTemplate.spec.completionMode",
        "a run has no indexes",
    ),
    ("spec.jobTemplate.spec.suspend", "it is the task that rests"),
    (
        "spec.jobTemplate.metadata",
        "runs have the labels of their task",
    ),
    (
        "spec.jobTemplate.spec.template.metadata",
        "runs have the labels of their task",
    ),
];

fn task(job: &mut Job<'_>, run_with: &[String]) -> Result<Imported, Refused> {
    let Some(name) = job.text("metadata.name").and_then(slug) else {
        let reason = "has no name".to_owned();
        return Err(("metadata".to_owned(), reason));
    };
    let (schedule, zone) = schedule(job)?;
    let handler = container::handler(job, run_with)?;
    for (field, why) in DROPPED {
        job.dropped(field, why);
    }
    for field in ["completions", "parallelism"] {
        let field = format!("spec.jobTemplate.spec.{field}");
        if job.number(&field)?.is_some_and(|n| n != 1) {
            job.dropped(&field, "an occurrence is one run");
        }
    }
    let overlap = match job.text("spec.concurrencyPolicy") {
        None | Some("Allow") => "allow",
        Some("Forbid") => "skip",
        Some("Replace") => "replace",
        Some(other) => {
            let reason = format!("concurrencyPolicy `{}` is not known", shown(other));
            return Err(("spec.concurrencyPolicy".to_owned(), reason));
        }
    };
    let deadline = job.number("spec.startingDeadlineSeconds")?;
    let suspended = job.get("spec.suspend") == Some(&Value::Bool(true));
    Ok(Imported {
        name,
        schedule: schedule.into(),
        timezone: Some(zone),
        // The last occurrence that was missed is made up for, within the deadline.
        misfire: Some("last"),
        max_lateness: deadline.filter(|s| *s > 0).map(|s| format!("{s}s")),
        overlap: Some(overlap),
        timeout: Some(timeout(job)?),
        enabled: suspended.then_some(false),
        labels: labels(job),
        retry: Some(retry(job)?),
        handler: Some(handler),
        ..Imported::default()
    })
}

/// The schedule and its zone.
fn schedule(job: &mut Job<'_>) -> Result<(String, String), Refused> {
    const FIELD: &str = "spec.schedule";
    let wrong = |reason: &str| Err((FIELD.to_owned(), reason.to_owned()));
    let Some(text) = job.text(FIELD).map(str::trim) else {
        return wrong("has no schedule");
    };
    if text.len() > schedule_limits::SCHEDULE_BYTES_MAX {
        return wrong("its schedule is too long");
    }
    let mut zone = job.text("spec.timeZone").map(str::to_owned);
    let mut text = text;
    if let Some((named, rest)) = text
        .strip_prefix("CRON_TZ=")
        .or_else(|| text.strip_prefix("TZ="))
        .and_then(|rest| rest.split_once(' '))
    {
        zone.get_or_insert_with(|| named.to_owned());
        text = rest.trim_start();
    }
    if zone.is_none() {
        let remark = "names no timeZone: it is meant in that of the controller, taken for UTC";
        job.say(FIELD, remark);
    }
    let zone = zone.unwrap_or_else(|| "UTC".to_owned());
    if let Some(length) = text.strip_prefix("@every ") {
        return Ok((format!("every {}", length.trim()), zone));
    }
    // Its `?` is a star in every field.
    Ok((text.replace('?', "*"), zone))
}

fn timeout(job: &mut Job<'_>) -> Result<String, Refused> {
    let field = "spec.jobTemplate.spec.activeDeadlineSeconds";
    let Some(seconds) = job.number(field)?.filter(|s| *s > 0) else {
        return Ok(TIMEOUT.to_owned());
    };
    let remark = "activeDeadlineSeconds is the timeout of each attempt here, not of all together";
    job.say(field, remark);
    Ok(format!("{seconds}s"))
}

/// Attempts as a Job makes them: six more by default, ten seconds apart, then twice that, up to six minutes.
fn retry(job: &Job<'_>) -> Result<Retry, Refused> {
    let field = "spec.jobTemplate.spec.backoffLimit";
    let limit = job.number(field)?.unwrap_or(6);
    let Some(max_attempts) = u32::try_from(limit).ok().and_then(|n| n.checked_add(1)) else {
        return Err((
            field.to_owned(),
            format!("backoffLimit {limit} is too large"),
        ));
    };
    Ok(Retry {
        max_attempts,
        backoff: "exponential",
        initial: "10s".to_owned(),
        max: "6m".to_owned(),
    })
}

/// Its labels, and its namespace as one.
fn labels(job: &mut Job<'_>) -> std::collections::BTreeMap<String, String> {
    let mut out = std::collections::BTreeMap::new();
    let labels = job.get("metadata.labels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let room = out.len() + 1 < campanile_core::limits::LABELS_MAX;
        match campanile_core::task::Label::new(key, text) {
            Ok(_) if room && value.is_string() => {
                out.insert(key.clone(), text.to_owned());
            }
            _ => {
                let remark = format!(
                    "the label `{}` is dropped: a task can't have it",
                    shown(key)
                );
                job.say("metadata.labels", &remark);
            }
        }
    }
    if let Some(namespace) = job.text("metadata.namespace") {
        out.entry("namespace".to_owned())
            .or_insert_with(|| namespace.to_owned());
    }
    out
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
