//! That the judge condemns: one sound history, and each rule that is a scene's own broken in it once. What all scenes share
//! is tried in `judge/tests.rs`.

use campanile_core::run::Origin;

use super::*;
use crate::book::Attempt;
use crate::judge::tests::{asked, effect, end, run, spelled};

const ANCHOR: i64 = 1_000_000;

/// Two tasks, two instants each, all well; one request.
fn sound() -> (Evidence, Own) {
    let (first, second) = (ANCHOR, ANCHOR + 1_000);
    let mut request = run(5, "tick", first + 300);
    request.row.origin = Origin::Request;
    let runs = vec![
        run(1, "tick", first),
        run(2, "tick", second),
        run(3, "once", first),
        run(4, "once", second),
        request,
    ];
    let task = |name, kind| Task::new(name, kind, Some(1), ANCHOR);
    let tasks = vec![task("tick", Kind::Well), task("once", Kind::Once)];
    let pauses = tasks
        .iter()
        .map(|t| (t.name.clone(), asked(ANCHOR + 1_500)));
    let rests = runs
        .iter()
        .take(3)
        .map(|run| (run.row.task.unwrap(), run.task.clone(), ANCHOR + 2_000));
    let evidence = Evidence {
        rule: RULE,
        pauses: pauses.collect(),
        rests: rests.step_by(2).collect(),
        effects: runs.iter().map(|run| effect(run, 1)).collect(),
        tasks,
        runs,
        ..Evidence::default()
    };
    let own = Own {
        ended: [vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]],
        asked: [("key", spelled(5))].into(),
    };
    (evidence, own)
}

fn after(breaking: impl FnOnce(&mut Evidence, &mut Own)) -> Verdict {
    let (mut evidence, mut own) = sound();
    breaking(&mut evidence, &mut own);
    verdict(&evidence, &own)
}

#[test]
fn a_sound_history_is_acquitted() {
    let verdict = after(|_, _| {});
    assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
    assert_eq!((verdict.instants, verdict.lost, verdict.doubled), (4, 0, 0));
}

#[test]
fn what_is_lost_doubled_or_left_is_counted() {
    let lost = after(|e, _| {
        e.runs.remove(0);
        e.effects.remove(0);
    });
    assert_eq!((lost.lost, lost.doubled), (1, 0));
    let twice = after(|e, _| {
        e.runs.push(run(9, "tick", ANCHOR));
        e.effects.push(effect(&run(9, "tick", ANCHOR), 1));
    });
    assert_eq!((twice.lost, twice.doubled), (0, 1));
    let rests = after(|e, _| e.rests[0].2 = ANCHOR);
    assert_eq!(rests.doubled, 2);
    let again = after(|e, _| e.effects.push(e.effects[0].clone()));
    assert_eq!(again.doubled, 1);
    let once = after(|e, _| {
        e.runs[2].row.attempt = 2;
        e.effects.push(effect(&e.runs[2], 2));
    });
    assert!(once.doubled > 0);
    let left = after(|e, _| e.leftovers.push(("permit", 1)));
    assert_eq!(left.wedged, 1);
    let unanswered = after(|e, _| {
        e.runs.pop();
    });
    assert_eq!(unanswered.lost, 1);
    let unasked = after(|_, own| own.asked.clear());
    assert_eq!(unasked.doubled, 1);
}

#[test]
fn a_run_may_be_lost_for_good_only_if_a_living_process_was_taken_for_dead() {
    let lose = |e: &mut Evidence, losses: u32| {
        let run = &mut e.runs[0];
        end(run, State::Failed, Reason::Lost);
        (run.row.attempt, run.row.losses) = (losses, losses);
        for attempt in 1..=i64::from(losses) {
            e.attempts.push(Attempt {
                run: 1,
                attempt,
                worker: 7,
                reason: Reason::Lost,
            });
        }
    };
    let condemned = after(|e, _| lose(e, LOSSES_MAX));
    assert_eq!(condemned.wrong.len(), 1, "{:?}", condemned.wrong);
    let late = |losses| {
        after(|e, _| {
            lose(e, losses);
            e.circumstances.late = true;
        })
    };
    assert!(late(LOSSES_MAX).wrong.is_empty());
    assert!(!late(LOSSES_MAX - 1).wrong.is_empty());
}

#[test]
fn every_other_rule_condemns() {
    type Breaking = fn(&mut Evidence, &mut Own);
    let noted: Breaking = |e, _| {
        e.attempts.push(Attempt {
            run: 1,
            attempt: 1,
            worker: 7,
            reason: Reason::Lost,
        });
    };
    let cases: [(&str, Breaking); 9] = [
        ("did not change", |_, own| own.ended[1].clear()),
        ("early", |e, _| e.effects[0].at_ms = ANCHOR - 1),
        ("no forged start", |e, _| e.effects[0].run = spelled(7)),
        ("no forged start", |e, _| e.effects[0].attempt = 2),
        ("no run wedged", |e, _| e.runs[0].live = true),
        ("ended as it may", |e, _| {
            e.effects.remove(0);
        }),
        ("noted", noted),
        ("noted", |e, _| e.runs[0].row.attempt = 2),
        ("made up", |e, _| {
            e.runs[0].row.due_at = campanile_schedule::time::Timestamp::from_ms(ANCHOR + 7);
        }),
    ];
    for (word, breaking) in cases {
        let wrong = after(breaking).wrong;
        assert!(wrong.iter().any(|w| w.contains(word)), "{word}: {wrong:?}");
    }
}
