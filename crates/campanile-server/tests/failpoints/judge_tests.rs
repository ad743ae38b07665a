//! That the judge condemns: one sound history, and each rule broken in it once.

use super::effects::Effect;
use super::facts::{Run, state};
use super::judge::{Evidence, Judged, LOSSES_MAX, LOST, Verdict};
use super::load::{Asked, Kind, Task};

const ANCHOR: i64 = 1_000_000;

fn run(id: i64, task: &str, due_ms: i64) -> Run {
    Run {
        id,
        task: task.to_owned(),
        due_ms,
        scheduled: true,
        state: 4,
        reason: 0,
        attempt: 1,
        failures: 0,
        losses: 0,
        live: false,
        skipped: (0, 0),
        noted: 0,
    }
}

fn effect(run: &str, task: &str, due_ms: i64) -> Effect {
    Effect {
        scene: String::new(),
        task: task.to_owned(),
        key: format!("{task}:{due_ms}"),
        run: run.to_owned(),
        attempt: 1,
        at_ms: due_ms + 5,
    }
}

fn judged(name: &'static str, kind: Kind) -> Judged {
    Judged {
        task: Task::of(name, kind, 1_000, ANCHOR),
        made: Asked {
            asked_ms: 0,
            answered_ms: 1,
        },
        paused: Asked {
            asked_ms: ANCHOR + 1_500,
            answered_ms: ANCHOR + 1_600,
        },
        rests_from: ANCHOR + 2_000,
    }
}

/// Two tasks, two instants each, all well; one request.
fn sound() -> Evidence {
    let (first, second) = (ANCHOR, ANCHOR + 1_000);
    let request = Run {
        scheduled: false,
        ..run(5, "tick", first + 300)
    };
    Evidence {
        tasks: vec![judged("tick", Kind::Well), judged("once", Kind::Once)],
        runs: vec![
            run(1, "tick", first),
            run(2, "tick", second),
            run(3, "once", first),
            run(4, "once", second),
            request,
        ],
        effects: vec![
            effect("1", "tick", first),
            effect("2", "tick", second),
            effect("3", "once", first),
            effect("4", "once", second),
            effect("5", "tick", first + 300),
        ],
        ended: [vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]],
        left: Vec::new(),
        asked: [("key", "5".to_owned())].into(),
        drained: false,
        doubted: false,
        late: false,
    }
}

fn after(breaking: impl FnOnce(&mut Evidence)) -> Verdict {
    let mut evidence = sound();
    breaking(&mut evidence);
    evidence.judge()
}

#[test]
fn a_sound_history_is_acquitted() {
    let verdict = after(|_| {});
    assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
    assert_eq!((verdict.instants, verdict.lost, verdict.doubled), (4, 0, 0));
}

#[test]
fn what_is_lost_doubled_or_left_is_counted() {
    let lost = after(|e| {
        e.runs.remove(0);
        e.effects.remove(0);
    });
    assert_eq!((lost.lost, lost.doubled), (1, 0));
    let twice = after(|e| {
        e.runs.push(run(9, "tick", ANCHOR));
        e.effects.push(effect("9", "tick", ANCHOR));
    });
    assert_eq!((twice.lost, twice.doubled), (0, 1));
    let rests = after(|e| e.tasks[0].rests_from = ANCHOR);
    assert_eq!(rests.doubled, 2);
    let again = after(|e| e.effects.push(effect("1", "tick", ANCHOR)));
    assert_eq!(again.doubled, 1);
    let once = after(|e| {
        e.runs[2].attempt = 2;
        let mut second = effect("3", "once", ANCHOR);
        second.attempt = 2;
        e.effects.push(second);
    });
    assert!(once.doubled > 0);
    let left = after(|e| e.left.push("permits 1".to_owned()));
    assert_eq!(left.wedged, 1);
    let unanswered = after(|e| drop(e.runs.pop()));
    assert_eq!(unanswered.lost, 1);
    let unasked = after(|e| e.asked.clear());
    assert_eq!(unasked.doubled, 1);
}

#[test]
fn a_run_may_be_lost_for_good_only_if_a_living_process_was_taken_for_dead() {
    let lose = |losses| {
        move |e: &mut Evidence| {
            let run = &mut e.runs[0];
            (run.state, run.reason) = (state::FAILED, LOST);
            (run.attempt, run.losses, run.noted) = (losses, losses, losses);
        }
    };
    let condemned = after(lose(LOSSES_MAX));
    assert_eq!(condemned.wrong.len(), 1, "{:?}", condemned.wrong);
    let late = |losses| {
        after(|e| {
            lose(losses)(e);
            e.late = true;
        })
    };
    assert!(late(LOSSES_MAX).wrong.is_empty());
    assert!(!late(LOSSES_MAX - 1).wrong.is_empty());
}

#[test]
fn every_other_rule_condemns() {
    type Breaking = fn(&mut Evidence);
    let cases: [(&str, Breaking); 9] = [
        ("changed", |e| e.ended[1].clear()),
        ("early", |e| e.effects[0].at_ms = ANCHOR - 1),
        ("not in the store", |e| e.effects[0].run = "7".to_owned()),
        ("another run", |e| e.effects[0].attempt = 2),
        ("live", |e| e.runs[0].live = true),
        ("without effect", |e| drop(e.effects.remove(0))),
        ("noted", |e| e.runs[0].noted = 1),
        ("noted", |e| e.runs[0].attempt = 2),
        ("no instant", |e| e.runs[0].due_ms += 7),
    ];
    for (word, breaking) in cases {
        let wrong = after(breaking).wrong;
        assert!(wrong.iter().any(|w| w.contains(word)), "{word}: {wrong:?}");
    }
}
