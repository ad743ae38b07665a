//! `campanile import` on files that are odd: what is asked, what is refused, and how it ends.

use serde_json::{Value, json};
use xtask::servers::TempDir;

use crate::cli::{client, err, out, run};
use crate::support::{Service, start};

#[test]
fn a_crontab_of_the_other_form_is_asked_about_and_what_is_no_text_is_named() {
    let folder = TempDir::new("crontab-form").unwrap();
    let import = |text: &[u8], more: &[&str]| {
        std::fs::write(folder.join("table"), text).unwrap();
        let args = [
            &["import", "crontab", "table", "--force", "-o", "t.toml"],
            more,
        ]
        .concat();
        let got = run(&folder, &args);
        (got.status.code(), err(&got))
    };
    let system = b"0 1 * * * www-data /usr/bin/x\n5 1 * * * www-data cd /srv && ./y\n";
    let (code, said) = import(system, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("table line 1: `www-data` may be the user") && said.contains("--system"),
        "{said}"
    );
    let (code, said) = import(system, &["--system"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("runs as the worker's own user, not as `www-data`"),
        "{said}"
    );
    assert_eq!(import(system, &["--user"]).0, Some(0));
    let (code, said) = import(
        b"\xef\xbb\xbf0 1 * * * /opt/a\r\n0 2 * * * /opt/gr\xfc\xdfe\r\n",
        &[],
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("table line 2: not taken: the byte 0xFC is not UTF-8")
            && said.contains("1 taken, 1 refused"),
        "{said}"
    );
    std::fs::create_dir(folder.join("cron.d")).unwrap();
    std::fs::write(folder.join("cron.d/mine"), "0 1 * * * /usr/bin/x -a\n").unwrap();
    let got = run(&folder, &["import", "crontab", "cron.d/mine"]);
    assert_eq!(got.status.code(), Some(2), "{}", err(&got));
    assert!(
        err(&got).contains("`/usr/bin/x` can't be a user"),
        "{}",
        err(&got)
    );
}

#[test]
fn a_calendar_file_of_which_nothing_is_taken_is_a_failure() {
    let folder = TempDir::new("ics").unwrap();
    let event = |lines: &str| {
        format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n")
    };
    let import = |text: String| {
        std::fs::write(folder.join("c.ics"), text).unwrap();
        let got = run(
            &folder,
            &["import", "ics", "c.ics", "--name", "c", "-o", "c.toml"],
        );
        (got.status.code(), err(&got))
    };
    let (code, said) = import(event("DTSTART:20260101T100000Z\nDTEND:20260101T110000Z"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no event could be taken") && !folder.join("c.toml").exists(),
        "{said}"
    );
    let (code, said) = import(event("RRULE:\nDTSTART;VALUE=DATE:20260101"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 taken, 0 refused"), "{said}");
}

/// What an import wrote is applied as it is.
async fn applied(s: &Service, args: &[&str]) -> Vec<Value> {
    let imported = client(s, args).await;
    assert!(imported.status.success(), "{}", err(&imported));
    let applied = client(s, &["apply", "t.toml"]).await;
    assert!(applied.status.success(), "{}", err(&applied));
    let answer = s.get("/tasks?limit=1000").await;
    answer.body["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_applied_as_they_were_imported() {
    let s = start(&[("roles", "api")]).await;
    let units = s.folder.join("units");
    std::fs::create_dir_all(units.join("a.timer.d")).unwrap();
    let files = [
        ("a.timer", "[Timer]\nOnCalendar=hourly\nPersistent=yes\n"),
        (
            "a.timer.d/more.conf",
            "[Timer]\nOnCalendar=Sun *-*~07/1 04:00:30\n",
        ),
        ("a.service", "[Service]\nExecStart=/usr/bin/a --b\nNice=5\n"),
        ("b.timer", "[Timer]\nOnUnitActiveSec=2w\n"),
        ("b.service", "[Service]\nExecStart=/usr/bin/b\n"),
        ("c.timer", "[Timer]\nOnBootSec=1min\n"),
        ("c.service", "[Service]\nExecStart=/usr/bin/c\n"),
    ];
    for (name, text) in files {
        std::fs::write(units.join(name), text).unwrap();
    }
    let args = [
        "import",
        "systemd",
        "units",
        "--timezone",
        "Europe/Berlin",
        "-o",
        "t.toml",
    ];
    let told = client(&s, &args).await;
    for expected in [
        "units/a.service line 3: Nice= is dropped",
        "units/c.timer: not taken",
        "2 taken, 1 refused; next: campanile apply --dry-run t.toml",
    ] {
        assert!(err(&told).contains(expected), "{}", err(&told));
    }
    let again = [&args[..], &["--force"]].concat();
    let tasks = applied(&s, &again).await;
    assert_eq!(tasks.len(), 2);
    assert_eq!(
        tasks[0]["schedule"],
        json!(["0 * * * *", "30 0 4 L-6,L-5,L-4,L-3,L-2,L-1,L * SUN"])
    );
    assert_eq!(tasks[1]["schedule"], "every 14d");
    // The service of a timer that is named alone stands beside it; without any, nothing can be taken.
    let alone = client(&s, &["import", "systemd", "units/b.timer"]).await;
    assert!(
        out(&alone).contains("argv = [\"/usr/bin/b\"]"),
        "{}",
        out(&alone)
    );
    let none = client(&s, &["import", "systemd", "units/c.timer"]).await;
    assert_eq!(none.status.code(), Some(1), "{}", err(&none));
    assert!(err(&none).contains("no timer could be taken"));
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cron_jobs_are_applied_as_they_were_imported() {
    let s = start(&[("roles", "api")]).await;
    let jobs = "kind: CronJob\nmetadata: {name: k}\nspec:\n  schedule: \"*/5 * * * *\"\n  timeZone: UTC\n  jobTemplate: {spec: \
                {template: {spec: {containers: [{image: \"x:1\"}]}}}}\n";
    std::fs::write(s.folder.join("jobs.yaml"), jobs).unwrap();
    let none = client(&s, &["import", "kubernetes", "jobs.yaml"]).await;
    assert_eq!(none.status.code(), Some(1), "{}", err(&none));
    assert!(
        err(&none).contains("jobs.yaml line 6: not taken"),
        "{}",
        err(&none)
    );
    let runner = "/usr/bin/podman run --rm";
    let args = [
        "import",
        "kubernetes",
        "jobs.yaml",
        "--run-with",
        runner,
        "--force",
        "-o",
        "t.toml",
    ];
    let tasks = applied(&s, &args).await;
    let argv = &tasks[0]["handler"]["command"]["argv"];
    assert_eq!(*argv, json!(["/usr/bin/podman", "run", "--rm", "x:1"]));
    s.stop().await;
}
