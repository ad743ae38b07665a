//! Looking ahead, from outside: `plan` with a file and with a service, and the route that it asks.

use serde_json::{Value, json};
use xtask::servers::TempDir;

use crate::cli::{done, err, out, run, two_tasks};
use crate::support::start;

/// A crowd at midnight in Berlin, a task inside the gap of 2027, and one that is meant for nobody.
const AHEAD: &str = "\
[[task]]\nname = \"a\"\nschedule = \"0 0 * * *\"\ntimezone = \"Europe/Berlin\"\nhandler = { native = \"x\" }\n\
[[task]]\nname = \"b\"\nschedule = \"0 0 * * *\"\ntimezone = \"Europe/Berlin\"\nhandler = { native = \"x\" }\n\
[[task]]\nname = \"c\"\nschedule = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\nhandler = { native = \"x\" }\n\
[[task]]\nname = \"d\"\nhandler = { native = \"x\" }\n";

#[test]
fn a_plan_of_a_file_needs_no_service() {
    let folder = TempDir::new("plan").unwrap();
    std::fs::write(folder.join("t.toml"), AHEAD).unwrap();
    let args = [
        "plan",
        "--file",
        "t.toml",
        "--from",
        "2027-03-27T12:00",
        "--days",
        "2",
        "--tz",
        "Europe/Berlin",
        "--outage",
        "2027-03-27T23:00/2027-03-28T00:30",
        "--svg",
        "heat.svg",
    ];
    let got = run(&folder, &args);
    assert_eq!(got.status.code(), Some(0), "{}", err(&got));
    let said = out(&got);
    for expected in [
        "4 tasks, 1 only on request, 6 starts, at most 2 in one minute, at 2027-03-28 00:00",
        "2 of `0 0 * * * (Europe/Berlin)`   a, b",
        "02:00 to 03:00 are left out (+01:00 to +02:00)",
        "2027-03-28T03:00:00+02:00",
        "2 runs start then (0 of them late within their limit), 0 are skipped",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(err(&got).contains("the heat map is in heat.svg"));
    let drawn = std::fs::read_to_string(folder.join("heat.svg")).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
    let got = run(&folder, &[&args[..], &["--output", "json"]].concat());
    let plan: Value = serde_json::from_str(&out(&got)).unwrap();
    assert_eq!(
        (
            plan["starts"].as_u64(),
            plan["per_minute"].as_array().unwrap().len()
        ),
        (Some(6), 2 * 1_440)
    );
    assert_eq!(plan["catch_up"]["starts"], 2);
}

#[test]
fn a_plan_that_can_t_be_made_is_refused_with_its_place() {
    let folder = TempDir::new("plan-refused").unwrap();
    std::fs::write(folder.join("t.toml"), AHEAD).unwrap();
    std::fs::write(
        folder.join("bad.toml"),
        AHEAD.replace("30 2 * * *", "30 25 * * *"),
    )
    .unwrap();
    for (args, expected) in [
        (
            &["plan", "--file", "bad.toml"][..],
            "bad.toml line 13: task `c`: schedule: ",
        ),
        (
            &["plan", "--file", "t.toml", "--outage", "02:00"],
            "write FROM/UNTIL",
        ),
        (
            &["plan", "--file", "t.toml", "--outage", "03:00/02:00"],
            "outage_until: ",
        ),
        (
            &["plan", "--file", "t.toml", "--top", "0"],
            "for '--top <N>': write a whole number from 1 to 50",
        ),
        (&["plan", "--tz", "Mars/Base"], "--tz"),
        (
            &["plan", "--from", "soon"],
            "--from: `soon` is not an instant",
        ),
    ] {
        let got = run(&folder, args);
        assert_eq!(got.status.code(), Some(2), "{args:?}");
        assert!(err(&got).contains(expected), "{args:?}: {}", err(&got));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_the_service_shows_overlaps_by_measured_runs() {
    let s = start(&[]).await;
    std::fs::write(s.folder.join("t.toml"), two_tasks(&s)).unwrap();
    done(&s, "apply t.toml").await;
    s.until("/runs?task=check&state=succeeded", |b| {
        !b["items"].as_array().unwrap().is_empty()
    })
    .await;
    let said = done(&s, "plan --days 1").await;
    assert!(said.contains("2 tasks, 1 only on request, 43"), "{said}");
    assert!(
        said.contains("of 1 measured by their recent runs, of 1 that could"),
        "{said}"
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_made_of_the_stored_tasks() {
    let s = start(&[]).await;
    for (name, schedule) in [
        ("a", "0 0 * * *"),
        ("b", "0 0 * * *"),
        ("c", "*/30 * * * *"),
    ] {
        let task = json!({ "schedule": schedule, "handler": { "native": "x" } });
        let put = s.ask("PUT", &format!("/tasks/{name}"), Some(task)).await;
        assert_eq!(put.status, 201);
    }
    let query = "days=1&from=2027-01-01T00:00:30Z&top=1&timezone=europe/berlin";
    let outage = "outage_from=2027-01-01T00:00:00Z&outage_until=2027-01-01T01:10:00Z";
    let got = s.get(&format!("/plan?{query}&{outage}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    let plan = got.body;
    assert_eq!(
        (plan["from"].as_str(), plan["timezone"].as_str()),
        (Some("2027-01-01T00:00:00.000Z"), Some("Europe/Berlin"))
    );
    assert_eq!(
        (
            plan["starts"].as_u64(),
            plan["worst"].as_array().unwrap().len()
        ),
        (Some(50), 1)
    );
    assert_eq!(plan["worst"][0]["schedules"][0]["tasks"], 2);
    assert_eq!(
        (
            plan["catch_up"]["starts"].as_u64(),
            plan["catch_up"]["skipped"].as_u64()
        ),
        (Some(3), Some(2))
    );
    assert_eq!(
        s.get("/plan").await.body["per_minute"]
            .as_array()
            .unwrap()
            .len(),
        7 * 1_440
    );
    for (query, status, field) in [
        ("days=367", 422, "days"),
        ("top=51", 422, "top"),
        ("from=soon", 400, "from"),
        ("timezone=Mars/Base", 400, "timezone"),
        ("outage_from=2027-01-01T00:00:00Z", 400, "outage_until"),
        ("weeks=1", 400, "weeks"),
    ] {
        let got = s.get(&format!("/plan?{query}")).await;
        assert_eq!(
            (got.status, got.body["field"].as_str()),
            (status, Some(field)),
            "{query}: {got:?}"
        );
    }
    s.stop().await;
}
