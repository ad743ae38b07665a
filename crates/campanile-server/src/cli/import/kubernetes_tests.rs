//! CronJobs as tasks: what they say is kept or named, and what is written is taken.

use std::path::Path;

use campanile_core::task::{CommandSpec, HandlerSpec, Overlap, TaskSpec};
use proptest::prelude::*;

use super::*;
use crate::taskfile::TaskFile;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-29T12:00:00Z").unwrap()
}

fn import(text: &str, run_with: &[&str]) -> (Vec<TaskSpec>, Converted) {
    let runner: Vec<String> = run_with.iter().map(|w| (*w).to_owned()).collect();
    let converted = convert(text, &runner, now());
    let file = TaskFile::parse(&converted.tasks.join("\n"), Path::new("t.toml")).unwrap();
    (file.definitions.tasks, converted)
}

fn command(task: &TaskSpec) -> &CommandSpec {
    match &task.handler {
        HandlerSpec::Command(command) => command,
        other => panic!("{other:?}"),
    }
}

fn said(converted: &Converted) -> String {
    let lines = converted.remarks.iter();
    lines.map(|(at, text)| format!("{at}: {text}\n")).collect()
}

const WHOLE: &str = r#"apiVersion: batch/v1
kind: CronJob
metadata:
  name: report
  namespace: billing
  labels:
    app.kubernetes.io/name: report
    team: billing
  annotations: {owner: x}
spec:
  schedule: "30 2 * * 1-5"
  timeZone: Europe/Berlin
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 600
  suspend: true
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 1
  jobTemplate:
    spec:
      backoffLimit: 2
      activeDeadlineSeconds: 900
      template:
        spec:
          restartPolicy: OnFailure
          serviceAccountName: reporter
          containers:
            - name: main
              image: registry.example/report:1
              command: ["/usr/bin/report", "--daily"]
              args: ["all"]
              workingDir: /srv
              resources: {limits: {cpu: "1"}}
              env:
                - {name: MODE, value: "full"}
                - name: PASSWORD
                  valueFrom: {secretKeyRef: {name: db, key: password}}
              envFrom:
                - configMapRef: {name: settings}
"#;

#[test]
fn a_cron_job_becomes_a_task_and_each_thing_that_is_dropped_is_said() {
    let (tasks, converted) = import(WHOLE, &[]);
    let [task] = tasks.as_slice() else {
        panic!("{}", said(&converted))
    };
    assert_eq!((task.name.as_str(), task.enabled), ("report", false));
    assert_eq!(task.schedule.as_ref().unwrap().to_string(), "30 2 * * 1-5");
    assert_eq!(task.timezone, "Europe/Berlin");
    assert_eq!(task.overlap, Overlap::Skip);
    assert_eq!(task.max_lateness.map(|d| d.as_secs()), Some(600));
    assert_eq!((task.timeout.as_secs(), task.retry.max_attempts), (900, 3));
    let labels: Vec<_> = task
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        labels,
        [
            "app.kubernetes.io/name=report",
            "namespace=billing",
            "team=billing"
        ]
    );
    let command = command(task);
    assert_eq!(command.argv, ["/usr/bin/report", "--daily", "all"]);
    assert_eq!(command.dir.as_deref(), Some("/srv"));
    assert_eq!(command.env.keys().collect::<Vec<_>>(), ["MODE"]);
    let said = said(&converted);
    for expected in [
        "9: annotations is dropped",
        "16: successfulJobsHistoryLimit is dropped",
        "17: failedJobsHistoryLimit is dropped",
        "21: activeDeadlineSeconds is the timeout of each attempt",
        "25: serviceAccountName is dropped",
        "28: the image `registry.example/report:1` is dropped",
        "32: resources is dropped",
        "35: PASSWORD is dropped: it is a secret of Kubernetes",
        "37: envFrom is dropped",
    ] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    assert_eq!(converted.remarks.len(), 9, "{said}");
}

fn job(name: &str, spec: &str, container: &str) -> String {
    format!(
        "kind: CronJob\nmetadata: {{name: {name}}}\nspec:\n  schedule: \"@daily\"\n  timeZone: UTC\n{spec}  jobTemplate: {{spec: \
         {{template: {{spec: {{containers: [{container}]}}}}}}}}\n"
    )
}

const PLAIN: &str = "{command: [/bin/true]}";

#[test]
fn documents_and_lists_hold_many() {
    let list = "kind: List\nitems:\n- kind: CronJob\n  metadata: {name: b}\n  spec: {schedule: \"@every 1h30m\", jobTemplate: \
                {spec: {template: {spec: {containers: [{command: [/bin/b]}]}}}}}\n- kind: Service\n";
    let text = format!(
        "# head\n---\n{}---\nkind: Deployment\n---\n{list}---\n{}",
        job("a", "", PLAIN),
        job("a", "", PLAIN)
    );
    let (tasks, converted) = import(&text, &[]);
    let shown: Vec<_> = tasks
        .iter()
        .map(|t| (t.name.as_str(), t.schedule.as_ref().unwrap().to_string()))
        .collect();
    let texts = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    let shown: Vec<(String, String)> = shown.into_iter().map(|(a, b)| (a.to_owned(), b)).collect();
    assert_eq!(
        shown,
        texts(&[("a", "@daily"), ("b", "every 1h30m"), ("a-2", "@daily")])
    );
    let said = said(&converted);
    assert!(
        said.contains("10: passed over: Deployment is no CronJob"),
        "{said}"
    );
    assert!(said.contains("names no timeZone"), "{said}");
}

#[test]
fn an_image_runs_by_a_runner() {
    let container =
        "{image: \"x:1\", args: [--all], env: [{name: A, value: \"1\"}], workingDir: /w}";
    let (tasks, _) = import(
        &job("a", "", container),
        &["/usr/bin/podman", "run", "--rm"],
    );
    assert_eq!(
        command(&tasks[0]).argv,
        [
            "/usr/bin/podman",
            "run",
            "--rm",
            "--env",
            "A",
            "--workdir",
            "/w",
            "x:1",
            "--all"
        ]
    );
    let container = "{image: \"x:1\", command: [sh, -c], args: [date]}";
    let (tasks, _) = import(&job("a", "", container), &["/usr/bin/podman", "run"]);
    assert_eq!(
        command(&tasks[0]).argv,
        [
            "/usr/bin/podman",
            "run",
            "--entrypoint",
            "sh",
            "x:1",
            "-c",
            "date"
        ]
    );
    let (tasks, _) = import(&job("a", "", container), &[]);
    assert_eq!(
        command(&tasks[0]).argv,
        ["/usr/bin/env", "sh", "-c", "date"]
    );
}

#[test]
fn what_can_not_be_taken_says_why() {
    for (text, part) in [
        (
            job("a", "", "{image: x}"),
            "names no command: what runs is in the image `x`",
        ),
        (
            job("a", "", &format!("{PLAIN}, {PLAIN}")),
            "has 2 containers",
        ),
        (
            job("a", "  concurrencyPolicy: Maybe\n", PLAIN),
            "`Maybe` is not known",
        ),
        (
            job("a", "  startingDeadlineSeconds: -1\n", PLAIN),
            "no whole number",
        ),
        (
            job("a", "", PLAIN).replace("@daily", "61 * * * *"),
            "schedule: minute",
        ),
        (
            job("a", "", PLAIN).replace("UTC", "Mars/Base"),
            "`Mars/Base` is not known",
        ),
        (
            "kind: CronJob\nspec: {}\n".to_owned(),
            "CronJob `without a name`: has no name",
        ),
        ("kind: CronJob\n  spec: [\n".to_owned(), "not taken: "),
        ("a: ".to_owned() + &"[".repeat(5_000), "not taken: "),
    ] {
        let (tasks, converted) = import(&text, &[]);
        assert!(tasks.is_empty(), "{text}");
        assert_eq!(converted.refused, 1, "{text}");
        let said = said(&converted);
        assert!(said.contains(part), "{part} in {said}");
    }
    let many = "---\n".repeat(DOCUMENTS_MAX + 1);
    let (_, converted) = import(&many, &[]);
    assert!(said(&converted).contains("make several files"));
}

proptest! {
    /// Whatever a file holds: nothing panics, and what is written is taken.
    #[test]
    fn any_manifest_is_taken_or_refused(
        schedule in "[@*/0-9a-zA-Z ,?=-]{0,12}",
        policy in "(Allow|Forbid|Replace|[a-z]{0,4})",
        container in "(\\{command: \\[[/a-z\\$()]{1,8}\\]\\}|\\{image: [a-z]{0,4}\\}|[a-z\\[\\]{}: ]{0,12})",
        tail in "[ -~\n]{0,40}",
    ) {
        let text = job("a", &format!("  concurrencyPolicy: {policy}\n"), &container).replace("@daily", &schedule);
        import(&format!("{text}{tail}"), &[]);
    }
}
