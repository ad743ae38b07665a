//! The container of a CronJob as a command: its own program on a worker that has it, or a runner that starts the image. Owns
//! what of the pod is kept.

use std::collections::BTreeMap;

use campanile_core::task::HandlerSpec;
use serde_json::Value;

use super::super::task::{command, shown};
use super::{Job, Refused};

const POD: &str = "spec.jobTemplate.spec.template.spec";

/// Fields of a pod, and of its container, that say nothing about a command.
const SILENT_OF_POD: [&str; 2] = ["containers", "restartPolicy"];
const KEPT_OF_CONTAINER: [&str; 7] = [
    "name",
    "image",
    "command",
    "args",
    "env",
    "envFrom",
    "workingDir",
];

pub(super) fn handler(job: &mut Job<'_>, run_with: &[String]) -> Result<HandlerSpec, Refused> {
    let containers = format!("{POD}.containers");
    let count = job
        .get(&containers)
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    if count != 1 {
        let reason = format!("has {count} containers, and a run is one program");
        return Err((containers, reason));
    }
    let container = format!("{containers}[0]");
    say_dropped(job, &container);
    let env = environment(job, &container)?;
    let argv = arguments(job, &container, run_with, &env)?;
    let dir = job.text(&format!("{container}.workingDir"));
    // The runner's own folder is not the container's.
    let dir = dir.filter(|_| run_with.is_empty());
    command(&argv, &env, dir).map_err(|e| (container, e))
}

fn say_dropped(job: &mut Job<'_>, container: &str) {
    let fields_of = |job: &Job<'_>, path: &str| -> Vec<String> {
        let fields = job.get(path).and_then(Value::as_object);
        fields.into_iter().flat_map(|f| f.keys().cloned()).collect()
    };
    for field in fields_of(job, POD) {
        if !SILENT_OF_POD.contains(&field.as_str()) {
            let why = "a run is a program on a worker, and that machine has what the pod asks for, or not";
            job.dropped(&format!("{POD}.{field}"), why);
        }
    }
    for field in fields_of(job, container) {
        if !KEPT_OF_CONTAINER.contains(&field.as_str()) {
            let why = "the worker's own unit and machine say such things";
            job.dropped(&format!("{container}.{field}"), why);
        }
    }
    let why = "write the variables into handler.command.env, secrets by their names";
    job.dropped(&format!("{container}.envFrom"), why);
}

fn texts(job: &Job<'_>, field: &str) -> Result<Vec<String>, Refused> {
    let Some(value) = job.get(field) else {
        return Ok(Vec::new());
    };
    let text = |v: &Value| match v {
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    let all = value
        .as_array()
        .and_then(|all| all.iter().map(text).collect());
    all.ok_or_else(|| (field.to_owned(), "is not a list of texts".to_owned()))
}

fn environment(job: &mut Job<'_>, container: &str) -> Result<BTreeMap<String, String>, Refused> {
    let field = format!("{container}.env");
    let list = job.get(&field).and_then(Value::as_array);
    let mut out = BTreeMap::new();
    for (n, entry) in list.into_iter().flatten().enumerate() {
        let field = format!("{field}[{n}]");
        let Some(name) = entry.get("name").and_then(Value::as_str) else {
            return Err((field, "a variable without a name".to_owned()));
        };
        let from = entry.get("valueFrom").and_then(Value::as_object);
        if let Some(kind) = from.and_then(|from| from.keys().next()) {
            let remark = match kind.as_str() {
                "secretKeyRef" => format!(
                    "{} is dropped: it is a secret of Kubernetes; give the workers one, and name it in handler.command.env",
                    shown(name)
                ),
                other => format!(
                    "{} is dropped: it comes from {}, which is known to Kubernetes alone",
                    shown(name),
                    shown(other)
                ),
            };
            job.say(&field, &remark);
            continue;
        }
        let value = match entry.get("value") {
            None | Some(Value::Null) => "",
            Some(Value::String(text)) => text.as_str(),
            Some(_) => return Err((field, format!("the value of {} is no text", shown(name)))),
        };
        if value.contains("$(") {
            let remark = format!(
                "{}: `$(NAME)` is not expanded: write what it stands for",
                shown(name)
            );
            job.say(&field, &remark);
        }
        out.insert(name.to_owned(), value.to_owned());
    }
    Ok(out)
}

fn arguments(
    job: &mut Job<'_>,
    container: &str,
    run_with: &[String],
    env: &BTreeMap<String, String>,
) -> Result<Vec<String>, Refused> {
    let (entry, args) = (format!("{container}.command"), format!("{container}.args"));
    let (entry, args) = (texts(job, &entry)?, texts(job, &args)?);
    if entry.iter().chain(&args).any(|text| text.contains("$(")) {
        let remark = "`$(NAME)` is not expanded: write what it stands for";
        job.say(container, remark);
    }
    let image = job.text(&format!("{container}.image")).unwrap_or_default();
    if !run_with.is_empty() {
        if image.is_empty() {
            return Err((
                container.to_owned(),
                "its container names no image".to_owned(),
            ));
        }
        let mut argv = run_with.to_vec();
        for name in env.keys() {
            argv.extend(["--env".to_owned(), name.clone()]);
        }
        if let Some(dir) = job.text(&format!("{container}.workingDir")) {
            argv.extend(["--workdir".to_owned(), dir.to_owned()]);
        }
        let mut rest = entry.into_iter();
        if let Some(program) = rest.next() {
            argv.extend(["--entrypoint".to_owned(), program]);
        }
        argv.push(image.to_owned());
        argv.extend(rest.chain(args));
        return Ok(argv);
    }
    let Some(program) = entry.first() else {
        let reason = format!(
            "its container names no command: what runs is in the image `{}`; write the command, or import with --run-with \
             \"/usr/bin/podman run --rm\"",
            shown(image)
        );
        return Err((container.to_owned(), reason));
    };
    let remark = format!(
        "the image `{}` is dropped: the worker's machine must have the program",
        shown(image)
    );
    job.say(&format!("{container}.image"), &remark);
    let mut argv = Vec::new();
    if !program.starts_with('/') {
        let remark = format!("`{}` is looked for on the worker's PATH", shown(program));
        job.say(&format!("{container}.command"), &remark);
        argv.push("/usr/bin/env".to_owned());
    }
    argv.extend(entry.into_iter().chain(args));
    Ok(argv)
}
