//! `why` by what a task really does: with its jitter, where the clocks are changed, under calendars that move, behind
//! others, and without a schedule.

use std::time::Duration;

use campanile_ask::{Verdict, Why};
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::permits::{Blocked, LimitKey, Permit};
use campanile_core::port::fire::Firing;
use campanile_core::task::{Task, TaskSpec};
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use crate::control::{World, at, spec, world};

fn with(name: &str, schedule: &str, more: &Value) -> TaskSpec {
    let mut all = serde_json::to_value(spec(name, schedule)).unwrap();
    let fields = all.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn instant(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn tells(why: &Why, part: &str) {
    let all = why.sentences.join("\n");
    assert!(all.contains(part), "`{part}` is not in {all}");
}

async fn ask(w: &World, name: &str, text: &str) -> Why {
    w.control.why(name, text).await.unwrap()
}

/// Fires the occurrence of one instant, with what else the leader writes of it.
async fn fire(
    w: &World,
    task: &Task,
    due_at: Timestamp,
    keys: Firing,
) -> campanile_core::id::RunId {
    let id = w.mint.runs(due_at, 1)[0];
    w.fire(|term| {
        let mut run = transitions::occurrence(id, task, due_at, term.epoch);
        let mine = |key: &LimitKey| matches!(key, LimitKey::Task(_) | LimitKey::Overlap(_));
        let held = keys.acquired.into_iter().filter(|p| mine(&p.key));
        let acquired: Vec<Permit> = held.map(|p| Permit { run: id, ..p }).collect();
        let blocked = keys.blocked.into_iter();
        let blocked: Vec<Blocked> = blocked.map(|p| Blocked::of(p.key, &run)).collect();
        run.limited = !acquired.is_empty() || !blocked.is_empty();
        Firing {
            runs: vec![run],
            acquired,
            blocked,
            ..Firing::default()
        }
    })
    .await;
    id
}

#[tokio::test]
async fn a_task_with_jitter_is_asked_about_its_instant_or_its_start() {
    let w = world();
    let task = w
        .put(&with("j", "0 * * * *", &json!({"jitter": "50m"})))
        .await;
    let offset = task.spec.jitter_offset();
    assert!(offset > Duration::from_secs(60), "{offset:?}");
    let planned = at("13:00:00");
    let start = planned.plus(offset);
    let whole_s = Timestamp::from_ms(start.as_ms() / 1_000 * 1_000);
    // Before the instant, and between it and the start.
    for advance in [0, 3_600 + 60] {
        w.clock.advance(Duration::from_secs(advance));
        for asked in [planned, start, whole_s] {
            let why = ask(&w, "j", &asked.to_string()).await;
            assert_eq!(
                (why.verdict, why.instant),
                (Verdict::NotDueYet, planned),
                "{asked} {why:?}"
            );
            tells(&why, &start.to_string());
        }
    }
    let off = ask(&w, "j", &start.plus(Duration::from_secs(2)).to_string()).await;
    assert_eq!(off.verdict, Verdict::NotAnInstant);
    // Late, and no leader has come.
    w.clock.advance(Duration::from_secs(3_600));
    let late = ask(&w, "j", &start.to_string()).await;
    assert_eq!(late.verdict, Verdict::NotPlannedYet, "{late:?}");
    fire(&w, &task, planned, Firing::default()).await;
    for asked in [planned, start] {
        let why = ask(&w, "j", &asked.to_string()).await;
        assert_eq!(why.verdict, Verdict::Waiting);
        assert!(why.run.is_some());
    }
}

const GAP: &str = "2027-03-28T02:30";
const FOLD: &str = "2027-10-31T02:30";
const FIRST: &str = "2027-10-31T00:30:00Z";
const LAST: &str = "2027-10-31T01:30:00Z";

/// The rule, what is asked about, and what comes of it.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Verdict,
    &'static str,
    &'static str,
);

const CLOCKS: [Row; 9] = [
    (
        "gap",
        "next-valid",
        GAP,
        Verdict::NotDueYet,
        "2027-03-28T01:00:00Z",
        "`dst.gap = \"next-valid\"` puts it to",
    ),
    (
        "gap",
        "shift",
        GAP,
        Verdict::NotDueYet,
        "2027-03-28T01:30:00Z",
        "`dst.gap = \"shift\"` puts it to",
    ),
    (
        "gap",
        "skip",
        GAP,
        Verdict::NotAnInstant,
        "2027-03-28T01:30:00Z",
        "`dst.gap = \"skip\"` drops it",
    ),
    (
        "gap",
        "next-valid",
        "2027-03-28T02:30:00+01:00",
        Verdict::NotDueYet,
        "2027-03-28T01:00:00Z",
        "leave that time out",
    ),
    (
        "repeat",
        "first",
        FOLD,
        Verdict::NotDueYet,
        FIRST,
        "by `dst.repeat = \"first\"`",
    ),
    (
        "repeat",
        "last",
        FOLD,
        Verdict::NotDueYet,
        LAST,
        "by `dst.repeat = \"last\"`",
    ),
    (
        "repeat",
        "both",
        FOLD,
        Verdict::NotDueYet,
        FIRST,
        "the other one is 2027-10-31T02:30:00+01:00",
    ),
    (
        "repeat",
        "first",
        LAST,
        Verdict::NotAnInstant,
        LAST,
        "a listed time is that of 2027-10-31T02:30:00+02:00",
    ),
    (
        "repeat",
        "last",
        FIRST,
        Verdict::NotAnInstant,
        FIRST,
        "a listed time is that of 2027-10-31T02:30:00+01:00",
    ),
];

#[tokio::test]
async fn a_wall_time_at_a_change_of_the_clocks_goes_by_the_tasks_own_rule() {
    let w = world();
    for (n, (field, rule, asked, verdict, expected, part)) in CLOCKS.into_iter().enumerate() {
        let name = format!("t{n}");
        let more = json!({"timezone": "Europe/Berlin", "dst": {field: rule}});
        w.put(&with(&name, "30 2 * * *", &more)).await;
        let why = ask(&w, &name, asked).await;
        let got = (why.verdict, why.instant);
        assert_eq!(
            got,
            (verdict, instant(expected)),
            "{field} {rule} {asked}: {why:?}"
        );
        tells(&why, part);
    }
}

#[tokio::test]
async fn an_instant_that_a_calendar_moves_is_known_at_both_ends() {
    let w = world();
    let calendar = json!({"name": "rest", "dates": ["2026-11-25"]});
    let calendar: CalendarSpec = serde_json::from_value(calendar).unwrap();
    w.control.put_calendar(&calendar).await.unwrap();
    let more = json!({"calendars": "rest", "on_excluded": "next"});
    w.put(&with("m", "0 9 24,25 11 *", &more)).await;
    let (source, target) = ("2026-11-25T09:00:00Z", "2026-11-26T09:00:00Z");
    let why = ask(&w, "m", source).await;
    assert_eq!(why.verdict, Verdict::NotDueYet);
    tells(
        &why,
        "is moved to 2026-11-26T09:00:00.000Z (`on_excluded = \"next\"`)",
    );
    let why = ask(&w, "m", target).await;
    assert_eq!(
        (why.verdict, why.previous),
        (Verdict::NotDueYet, Some(instant(source)))
    );
    tells(
        &why,
        "It is the schedule's instant 2026-11-25T09:00:00.000Z, which a calendar excludes",
    );
    w.clock.advance(Duration::from_secs(3 * 24 * 3_600));
    assert_eq!(ask(&w, "m", "next").await.instant, instant(target));
}

#[tokio::test]
async fn a_run_that_waits_behind_another_names_it() {
    let w = world();
    for (more, part) in [
        (
            json!({"overlap": "queue"}),
            "of the same task to end (`overlap = \"queue\"`)",
        ),
        (
            json!({"max_running": 1}),
            "`max_running = 1`, and these run: ",
        ),
    ] {
        let name = if more.get("overlap").is_some() {
            "o"
        } else {
            "m"
        };
        let task = w.put(&with(name, "0 * * * *", &more)).await;
        let key = match name {
            "o" => LimitKey::Overlap(task.id),
            _ => LimitKey::Task(task.id),
        };
        let permit = |run| Permit {
            key: key.clone(),
            n: 0,
            run,
        };
        let holds = Firing {
            acquired: vec![permit(w.mint.runs(at("10:00:00"), 1)[0])],
            ..Firing::default()
        };
        let holder = fire(&w, &task, at("10:00:00"), holds).await;
        let dummy = transitions::occurrence(holder, &task, at("11:00:00"), 1);
        let waits = Firing {
            blocked: vec![Blocked::of(key.clone(), &dummy)],
            ..Firing::default()
        };
        let run = fire(&w, &task, at("11:00:00"), waits).await;
        let why = ask(&w, name, "2026-11-22T11:00:00Z").await;
        assert_eq!(why.verdict, Verdict::Waiting);
        for part in [part, &holder.to_string()] {
            tells(&why, part);
        }
        let all = why.sentences.join("\n");
        assert!(!all.contains("for a worker"), "{all}");
        let blocked = w.control.run(run).await.unwrap().blocked.unwrap();
        assert!(blocked.contains(part), "{blocked}");
    }
}

#[tokio::test]
async fn a_task_without_a_schedule_is_said_to_have_runs_only() {
    let w = world();
    let mut task = spec("r", "0 * * * *");
    task.schedule = None;
    w.put(&task).await;
    let why = ask(&w, "r", "13:00").await;
    assert_eq!(why.verdict, Verdict::NotAnInstant);
    tells(&why, "`campanile run list --task r`");
    for word in ["last", "next"] {
        let told = w.control.why("r", word).await.unwrap_err().to_string();
        assert!(
            told.contains("has no schedule") && told.contains("run list --task r"),
            "{told}"
        );
    }
    let empty = with("e", "0 * * * *", &json!({"schedule": []}));
    let told = w.control.put_task(&empty).await.unwrap_err().to_string();
    assert!(
        told.contains("schedule") && told.contains("is an empty list: leave it out"),
        "{told}"
    );
}
