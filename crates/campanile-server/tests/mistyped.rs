//! What is mistyped for a client command: the word, flag or address that the person wrote is named, with what is right.

use xtask::servers::TempDir;

use crate::cli::{campanile, client, err};
use crate::security::make_certificate;
use crate::support::{TOKEN, start};

/// What is typed, the exit status, and part of what is said.
const MISTYPED: &[(&str, i32, &str)] = &[
    (
        "quarantine drop x",
        2,
        "`x` is no number of the quarantine: `campanile quarantine list`",
    ),
    (
        "quarantine release 1.5",
        2,
        "`1.5` is no number of the quarantine",
    ),
    (
        "run submit --task t --run-at 02:30",
        2,
        "--run-at: `02:30` is a wall time: say whose with --tz ZONE",
    ),
    (
        "run submit --task t --run-at soon",
        2,
        "--run-at: `soon` is not an instant",
    ),
    (
        "run submit --task t --run-at 9999-12-31T23:59:59Z",
        2,
        "is out of range: write an instant from 0001",
    ),
    (
        "run submit --task t --run-at 0001-01-01T00:00:00Z",
        1,
        "--run-at: 0001-01-01T00:00:00.000Z is before 1970",
    ),
    (
        "run submit --task t --priority 12",
        2,
        "invalid value '12' for '--priority <PRIORITY>': write a whole number from 0 to 9",
    ),
    (
        "plan --days 7d",
        2,
        "invalid value '7d' for '--days <DAYS>': write a whole number from 1 to 366",
    ),
    (
        "run list --since 2026-01-01",
        2,
        "--since: `2026-01-01` is a wall time: say whose with --tz ZONE",
    ),
    (
        "run list --until later",
        2,
        "--until: `later` is not an instant",
    ),
    ("run list --state over", 1, "--state: "),
    (
        "run move 00m3c9v7q8e01 --to 1969-01-01T00:00:00Z",
        1,
        "--to: 1969-01-01T00:00:00.000Z is before 1970",
    ),
    (
        "task backfill t --from 01:00 --until 02:00",
        2,
        "--from: `01:00` is a wall time",
    ),
    ("why t soon", 1, "INSTANT: `soon` is not an instant"),
    (
        "why t soon --tz Asia/Tokyo",
        2,
        "INSTANT: `soon` is not an instant",
    ),
    (
        "limit set group:\u{e4} 4",
        1,
        "limit: `\u{e4}` can't be a name",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mistyped_is_named_as_it_was_typed() {
    let s = start(&[]).await;
    let task = serde_json::json!({ "schedule": "0 2 * * *", "timezone": "Europe/Berlin", "handler": { "native": "x" } });
    s.ask("PUT", "/tasks/t", Some(task)).await;
    for (words, status, expected) in MISTYPED {
        let args: Vec<&str> = words.split(' ').collect();
        let got = client(&s, &args).await;
        let said = err(&got);
        assert!(said.contains(expected), "{words}: {said}");
        assert_eq!(got.status.code(), Some(*status), "{words}: {said}");
    }
    let address = s.app.address.to_string();
    let taken = client(
        &s,
        &["serve", "--store", "sqlite:z.db", "--listen", &address],
    )
    .await;
    let said = err(&taken);
    assert_eq!(said.matches("Address already in use").count(), 1, "{said}");
    // A wall time is of the zone that is named, and `why` asks about that instant.
    let why = ["why", "t", "2027-01-10T02:00", "--tz", "Asia/Tokyo"];
    let told = crate::cli::out(&client(&s, &why).await);
    assert!(told.contains("2027-01-09T18:00:00+01:00"), "{told}");
    let backfill = "task backfill t --from 2026-11-01T00:00 --until 2026-11-03T00:00 --tz Europe/Berlin --dry-run --output json";
    let told = crate::cli::done(&s, backfill).await;
    assert!(told.contains("\"timezone\": \"Europe/Berlin\""), "{told}");
    let backfill =
        "task backfill t --from 2026-11-01T00:00:00Z --until 2026-11-03T00:00:00Z --dry-run";
    let told = crate::cli::done(&s, backfill).await;
    assert!(
        told.contains("2026-11-01T02:00:00.000+01:00 (2026-11-01T01:00:00.000Z)"),
        "{told}"
    );
    s.stop().await;
}

/// A calendar or a limit of a task file, what is said of it and where.
const SHARED: &[(&str, &str)] = &[
    (
        "[[calendar]]\nname = \"a\"\ndates = [\"2026-12-25\"]\n[[calendar]]\nname = \"b\"\ndates = [\"2026-12-25\",\n  \"someday\"]\n",
        "t.toml line 7: calendar `b`: dates[1]: ",
    ),
    (
        "[[limit]]\nlimit = \"group:a\"\nmax_running = 0\n",
        "t.toml line 3: limit `group:a`: max_running: 0 is out of range",
    ),
    (
        "[[limit]]\nlimit = \"group:a b\"\nmax_running = 1\n",
        "t.toml line 2: limit `group:a b`: limit: `a b` can't be a name",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn calendars_and_limits_of_a_file_are_refused_like_its_tasks_and_are_in_its_summary() {
    let s = start(&[]).await;
    let file = s.folder.join("t.toml");
    for (text, expected) in SHARED {
        std::fs::write(&file, text).unwrap();
        let serve = [
            "serve",
            "--store",
            "sqlite:z.db",
            "--listen",
            "127.0.0.1:0",
            "--tasks",
            "t.toml",
        ];
        for args in [&["apply", "t.toml"][..], &serve] {
            let got = client(&s, args).await;
            assert!(err(&got).contains(expected), "{args:?}: {}", err(&got));
            assert_eq!(got.status.code(), Some(2), "{args:?}: {}", err(&got));
        }
    }
    std::fs::write(&file, "[[calendar]]\nname = \"a\"\ndates = [\"2026-12-25\"]\n[[limit]]\nlimit = \"group:a\"\nmax_running = 2\n").unwrap();
    let got = client(&s, &["apply", "t.toml"]).await;
    let told = format!("{}{}", crate::cli::out(&got), err(&got));
    for said in [
        "0 unchanged, 1 calendars to put, 1 limits to put: done",
        "limit `group:a` limits nothing: no task is of group `a`",
    ] {
        assert!(told.contains(said), "{told}");
    }
    let told = crate::cli::done(&s, "apply t.toml").await;
    assert!(told.contains("0 unchanged: done"), "{told}");
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_speaks_otherwise_is_not_taken_for_one_that_is_down() {
    if !xtask::servers::on_path("openssl") {
        return xtask::skip("openssl makes the certificate: apt-get install openssl");
    }
    let folder = TempDir::new("mistyped").unwrap();
    let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
    make_certificate(&cert, &key);
    let empty = folder.join("empty.pem");
    std::fs::write(&empty, "x\n").unwrap();
    let broken = folder.join("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let [cert, empty, broken] = [&cert, &empty, &broken].map(|p| p.to_str().unwrap().to_owned());
    let plain = start(&[]).await;
    let tls = start(&[("tls_cert", &cert), ("tls_key", key.to_str().unwrap())]).await;
    let (http, https) = (plain.app.address.port(), tls.app.address.port());
    for (url, ca, expected) in [
        (
            format!("http://localhost:{https}"),
            None,
            "is it TLS? then name it with https://",
        ),
        (
            format!("https://localhost:{http}"),
            None,
            "is it plain http? then name it with http://",
        ),
        (
            format!("https://localhost:{https}"),
            None,
            "its certificate is not accepted",
        ),
        (
            format!("https://127.0.0.2:{https}"),
            Some(&cert),
            "does not answer",
        ),
        (
            format!("https://localhost:{https}"),
            Some(&empty),
            "--ca: can't use the certificate",
        ),
        (
            format!("https://localhost:{https}"),
            Some(&empty),
            "it holds no certificate in PEM",
        ),
        (
            format!("https://localhost:{https}"),
            Some(&broken),
            "BadEncoding",
        ),
    ] {
        let mut args = vec!["task", "list", "--url", &url];
        args.extend(ca.iter().flat_map(|ca| ["--ca", ca.as_str()]));
        let said = err(&client(&plain, &args).await);
        assert!(said.contains(expected), "{url} {ca:?}: {said}");
        let is_down = said.contains("start a node");
        assert_eq!(
            is_down,
            expected == "does not answer",
            "{url} {ca:?}: {said}"
        );
    }
    plain.stop().await;
    tls.stop().await;
}

#[test]
fn config_check_names_all_that_is_wrong_as_serve_would() {
    let folder = TempDir::new("wrongs").unwrap();
    std::fs::write(
        folder.join("c.toml"),
        "slots = 0\nlease = \"soon\"\nlog = \"xml\"\nbroker = \"stomp://\"\n",
    )
    .unwrap();
    let args = [
        "config",
        "check",
        "--config",
        "c.toml",
        "--store",
        "postgres://h:0x/d",
        "--lock",
        "redis://h:99999",
    ];
    let got = crate::cli::run(&folder, &args);
    let said = err(&got);
    for setting in ["slots", "lease", "log", "broker", "store", "lock"] {
        assert!(
            said.contains(&format!("error: setting `{setting}` (")),
            "{setting}: {said}"
        );
    }
    assert_eq!(got.status.code(), Some(2), "{said}");
}

#[test]
fn an_import_names_its_shells_and_writes_over_nothing() {
    let folder = TempDir::new("import").unwrap();
    std::fs::write(
        folder.join("tab"),
        "SHELL=/bin/bash\n0 2 * * * x\n@every 5m y\n",
    )
    .unwrap();
    let import = ["import", "crontab", "tab", "-o", "t.toml"];
    let got = crate::cli::run(&folder, &import);
    assert!(err(&got).contains("write `every 5m`"), "{}", err(&got));
    let text = std::fs::read_to_string(folder.join("t.toml")).unwrap();
    assert!(
        text.lines().next().unwrap().ends_with("(/bin/bash)."),
        "{text}"
    );
    let got = crate::cli::run(&folder, &import);
    assert_eq!(got.status.code(), Some(2));
    assert!(
        err(&got).contains("t.toml is there already"),
        "{}",
        err(&got)
    );
    let got = crate::cli::run(&folder, &[&import[..], &["--force"]].concat());
    assert_eq!(got.status.code(), Some(0), "{}", err(&got));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_a_limit_and_a_limit_without_a_task_are_said() {
    let s = start(&[]).await;
    let task = "[[task]]\nname = \"t\"\nhandler = { native = \"x\" }\ngroup = \"databse\"\n";
    std::fs::write(s.folder.join("t.toml"), task).unwrap();
    let said = err(&client(&s, &["apply", "t.toml"]).await);
    let expected = "task `t`: no limit `group:databse` is set, so runs of it are not limited";
    assert!(said.contains(expected), "{said}");
    for (limit, expected) in [
        (
            "group:database",
            "group:database: no task is of group `database`; did you mean `databse`?",
        ),
        (
            "queue:nobodys",
            "queue:nobodys: nobody listens on queue `nobodys`",
        ),
        ("group:databse", ""),
    ] {
        let got = client(&s, &["limit", "set", limit, "2"]).await;
        let said = err(&got);
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{said}"
        );
    }
    crate::cli::done(&s, "limit lift group:databse").await;
    let said = err(&client(&s, &["apply", "t.toml"]).await);
    assert!(said.contains("did you mean `database`?"), "{said}");
    let store = format!("sqlite:{}", s.folder.join("c.db").display());
    let doctor = client(
        &s,
        &["doctor", "--store", &store, "--listen", "127.0.0.1:0"],
    )
    .await;
    let said = crate::cli::out(&doctor);
    for part in [
        "no limit `group:databse` is set",
        "limit `queue:nobodys`: nobody listens",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_no_header_can_carry_is_refused() {
    let s = start(&[]).await;
    let mut command = campanile(&s.folder);
    command
        .args(["task", "list", "--url", &s.url])
        .env("CAMPANILE_TOKEN", format!("{TOKEN}\nx"));
    let got = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(
        err(&got).contains("CAMPANILE_TOKEN: the token has characters that no token has"),
        "{}",
        err(&got)
    );
    s.stop().await;
}
