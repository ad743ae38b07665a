//! A judge that never condemns proves nothing: sound evidence passes every verdict, and each way to spoil it fails the
//! one verdict that is there for it.

use campanile_core::run::Origin;
use campanile_core::task::QueueName;

use super::*;

/// An id as it is spelled.
pub fn spelled(id: i64) -> String {
    let digits: Vec<char> = "0123456789abcdefghjkmnpqrstvwxyz".chars().collect();
    let places = (0..13).rev();
    let spelled = places.map(|place| digits[usize::try_from((id >> (5 * place)) & 31).unwrap()]);
    spelled.collect()
}

/// A run of a schedule that succeeded; its task's id is made of the name.
pub fn run(id: i64, task: &str, due_ms: i64) -> Run {
    let due_at = Timestamp::from_ms(due_ms);
    let number = task.bytes().map(i64::from).sum();
    Run {
        row: run::Run {
            task: Some(TaskId::from_i64(number)),
            origin: Origin::Schedule,
            state: State::Succeeded,
            epoch: 1,
            started_at: Some(due_at),
            finished_at: Some(Timestamp::from_ms(due_ms + 9)),
            ..run::Run::untouched(RunId::from_i64(id), QueueName::default(), 4, due_at)
        },
        task: task.to_owned(),
        live: false,
    }
}

/// A start of this run that ended well.
pub fn effect(run: &Run, attempt: u32) -> Effect {
    Effect {
        task: run.task.clone(),
        key: starts::key_of(run),
        run: spelled(run.id()),
        attempt,
        at_ms: run.due_ms() + 3,
        ended_ms: run.due_ms() + 8,
        status: 200,
        forged: false,
    }
}

/// Turns a run's end into another.
pub fn end(run: &mut Run, state: State, reason: Reason) {
    (run.row.state, run.row.reason) = (state, reason);
}

/// Somebody's question that was answered at once.
pub const fn asked(asked_ms: i64) -> Asked {
    Asked {
        asked_ms,
        answered_ms: asked_ms + 10,
    }
}

fn may_end(case: &Case<'_>, task: &Task, run: &Run) -> bool {
    match run.end() {
        (State::Succeeded, Reason::HandedOver) => task.kind == Kind::Order,
        (State::Succeeded, Reason::None) => case.was_begun(run),
        (State::Failed, Reason::Lost) => task.kind == Kind::Once,
        (State::Skipped, Reason::Paused) => task.kind == Kind::People,
        _ => false,
    }
}

/// Two instants of each task; of the people's, the second was paused together with a third; one request; a program.
fn sound() -> Evidence {
    let task = |name: &str, kind| Task::new(name, kind, Some(1), 10_000);
    let tasks = vec![
        task("once", Kind::Once),
        task("skip", Kind::Skip),
        task("people", Kind::People),
        task("order", Kind::Order),
        task("program", Kind::Program),
    ];
    let mut runs: Vec<Run> = Vec::new();
    for (name, first) in [
        ("once", 1),
        ("skip", 3),
        ("people", 5),
        ("order", 7),
        ("program", 10),
    ] {
        runs.push(run(first, name, 10_000));
        runs.push(run(first + 1, name, 11_000));
    }
    let mut request = run(9, "people", 10_500);
    request.row.origin = Origin::Request;
    runs.push(request);
    let effects: Vec<Effect> = [0, 2, 3, 4, 10]
        .map(|at: usize| effect(&runs[at], 1))
        .into();
    end(&mut runs[1], State::Failed, Reason::Lost);
    runs[1].row.losses = 1;
    end(&mut runs[5], State::Skipped, Reason::Paused);
    (runs[5].row.skipped, runs[5].row.started_at) = (Some((Timestamp::from_ms(12_000), 2)), None);
    end(&mut runs[6], State::Succeeded, Reason::HandedOver);
    end(&mut runs[7], State::Succeeded, Reason::HandedOver);
    let line = |start, run: &Run| ProgramLine {
        start,
        effect: effect(run, 1),
    };
    let order = |due: i64| Order {
        key: format!("order:{due}"),
        body: crate::load::LEGACY_BODY.to_owned(),
        at_ms: due + 5,
    };
    let pauses = tasks.iter().map(|t| (t.name.clone(), asked(11_500)));
    Evidence {
        rule: Rule {
            may_end,
            overdue_ms: 0,
        },
        pauses: pauses.collect(),
        rests: vec![(TaskId::from_i64(1), "once".to_owned(), 12_000)],
        attempts: vec![Attempt {
            run: 2,
            attempt: 1,
            worker: 7,
            reason: Reason::Lost,
        }],
        leftovers: vec![("run", 0)],
        effects,
        programs: [(true, 8), (false, 8), (true, 9), (false, 9)]
            .map(|(start, at): (bool, usize)| line(start, &runs[at]))
            .into(),
        orders: Some(vec![order(10_000), order(11_000)]),
        people: People {
            accepted: vec![spelled(9)],
            rests: vec![("people".to_owned(), 10_900, 11_900)],
        },
        tasks,
        runs,
        ..Evidence::default()
    }
}

/// The verdicts that are broken.
fn broken(evidence: &Evidence) -> Vec<&'static str> {
    let case = Case::of(evidence);
    let own = [case.rests_kept(), case.requests_kept()];
    let checks = judge(&case).into_iter().chain(own);
    checks.filter(|c| !c.passed).map(|c| c.name).collect()
}

type Spoil = fn(&mut Evidence);

#[test]
fn sound_evidence_passes() {
    let evidence = sound();
    let checks = judge(&Case::of(&evidence));
    let wrong: Vec<_> = checks.iter().filter(|check| !check.passed).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(broken(&evidence), [""; 0]);
    assert_eq!(evidence.instants(), 10);
}

fn about_instants() -> Vec<(&'static str, Spoil)> {
    vec![
        ("no instant lost", |e| drop(e.runs.remove(5))),
        ("no instant lost", |e| e.pauses.clear()),
        ("no instant lost", |e| {
            e.runs[0].row.due_at = Timestamp::from_ms(10_001);
        }),
        // The look-ahead may reach past the pause, but not past a hole.
        ("no instant lost", |e| {
            e.pauses.insert(
                "skip".to_owned(),
                Asked {
                    asked_ms: 11_500,
                    answered_ms: 13_500,
                },
            );
            e.runs.push(run(20, "skip", 13_000));
        }),
        ("no instant recorded twice", |e| {
            e.runs.push(run(20, "once", 10_000));
        }),
        ("no instant recorded twice", |e| {
            e.runs.push(run(99, "people", 12_000));
        }),
        ("no instant made up", |e| {
            e.runs[5].row.skipped = Some((Timestamp::from_ms(12_000), 3));
        }),
        ("no instant made up", |e| {
            e.runs.push(run(99, "once", 14_000));
        }),
        ("no instant made up", |e| {
            e.made.insert("once".to_owned(), asked(10_500));
        }),
        ("the core's invariants hold", |e| e.runs[0].row.losses = 1),
        ("the core's invariants hold", |e| {
            e.runs[2].row.started_at = Some(Timestamp::from_ms(9_999));
        }),
        ("the core's invariants hold", |e| {
            let id = e.runs[2].row.task.unwrap();
            e.rests.push((id, "skip".to_owned(), 11_000));
        }),
        ("the core's invariants hold", |e| {
            (e.runs[1].row.attempt, e.runs[1].row.failures) = (3, 1);
        }),
        ("no run wedged", |e| e.runs[0].live = true),
        ("nothing left in the store", |e| e.leftovers[0].1 = 1),
        ("a paused task stays paused", |e| {
            end(&mut e.runs[5], State::Cancelled, Reason::Requested);
        }),
        ("no request lost", |e| e.people.accepted.push(spelled(500))),
    ]
}

fn about_starts_and_ends() -> Vec<(&'static str, Spoil)> {
    vec![
        ("no attempt started twice", |e| {
            e.effects.push(e.effects[1].clone());
        }),
        ("at-most-once tasks started at most once", |e| {
            e.runs[0].row.attempt = 2;
            e.effects.push(effect(&e.runs[0], 2));
        }),
        ("none started early", |e| e.effects[0].at_ms = 9_999),
        ("none started early", |e| {
            e.orders.as_mut().unwrap()[0].at_ms = 9_999;
        }),
        ("no forged start", |e| {
            e.effects.push(effect(&run(77, "people", 10_000), 1));
        }),
        ("no forged start", |e| e.effects[0].attempt = 2),
        ("no forged start", |e| e.effects[0].forged = true),
        ("no forged start", |e| {
            e.orders.as_mut().unwrap()[1].body.clear();
        }),
        ("exclusive tasks ran one at a time", |e| {
            e.effects[1].ended_ms = 12_000;
        }),
        ("every run ended as it may", |e| {
            end(&mut e.runs[3], State::Failed, Reason::Error);
        }),
        ("every run ended as it may", |e| {
            end(&mut e.runs[2], State::Skipped, Reason::Misfire);
        }),
        ("every run ended as it may", |e| drop(e.effects.remove(1))),
        ("every success had its effect", |e| {
            drop(e.effects.remove(0));
        }),
        ("every success had its effect", |e| {
            e.effects[0].status = 503;
        }),
        // Its program never came to its end.
        ("every success had its effect", |e| drop(e.programs.pop())),
        ("the old listener got every message", |e| {
            e.orders.as_mut().unwrap().pop();
        }),
        ("no process left behind", |e| {
            e.left.push("1: sh".to_owned());
        }),
    ]
}

#[test]
fn each_way_to_spoil_it_is_condemned() {
    let cases = about_instants().into_iter().chain(about_starts_and_ends());
    for (number, (name, spoil)) in cases.enumerate() {
        let mut evidence = sound();
        spoil(&mut evidence);
        let broken = broken(&evidence);
        assert!(broken.contains(&name), "case {number}, {name}: {broken:?}");
    }
}

#[test]
fn what_is_explained_is_not_condemned() {
    // A zombie's effect lies in the next one.
    let mut evidence = sound();
    evidence.effects[1].ended_ms = 12_000;
    evidence.attempts.push(Attempt {
        run: 3,
        attempt: 1,
        worker: 7,
        reason: Reason::Lost,
    });
    assert!(broken(&evidence).is_empty());
    // A message that the broker had confirmed went with its disk.
    let mut evidence = sound();
    evidence.orders.as_mut().unwrap().remove(0);
    assert_eq!(broken(&evidence), ["the old listener got every message"]);
    evidence.wiped.push(10_500);
    assert!(broken(&evidence).is_empty());
    // What was overdue when its task was paused belongs to the rest, where the scene allows that.
    let mut evidence = sound();
    evidence.rests[0].2 = 11_000;
    evidence.runs.remove(1);
    assert_eq!(broken(&evidence), ["no instant lost"]);
    evidence.rule.overdue_ms = 500;
    assert!(broken(&evidence).is_empty());
}
