//! A judge that never condemns proves nothing: sound evidence passes every verdict, and each way to spoil it fails the
//! one verdict that is there for it.

use super::*;

fn task(name: &str, kind: Kind) -> Task {
    Task {
        name: name.to_owned(),
        kind,
        period_ms: 1_000,
        anchor_ms: 10_000,
    }
}

/// An id as it is spelled.
fn spelled(id: i64) -> String {
    let digits: Vec<char> = "0123456789abcdefghjkmnpqrstvwxyz".chars().collect();
    let places = (0..13).rev();
    let spelled = places.map(|place| digits[usize::try_from((id >> (5 * place)) & 31).unwrap()]);
    spelled.collect()
}

fn run(id: i64, task: &str, due_ms: i64) -> Run {
    Run {
        id,
        task: task.to_owned(),
        due_ms,
        state: state::SUCCEEDED,
        reason: reason::NONE,
        attempt: 1,
        failures: 0,
        losses: 0,
        origin: BY_SCHEDULE,
        live: false,
        skipped_last_ms: 0,
        skipped: 0,
        finished_ms: due_ms + 9,
    }
}

fn effect(run: &Run, attempt: u32) -> Effect {
    Effect {
        task: run.task.clone(),
        key: format!("{}:{}", run.task, run.due_ms),
        run: spelled(run.id),
        attempt,
        at_ms: run.due_ms + 3,
        ended_ms: run.due_ms + 8,
        status: 200,
        forged: false,
    }
}

/// Two instants of each task; of the people's, the second was paused together with a third; one request.
fn sound() -> Evidence {
    let tasks = vec![
        task("once", Kind::Once),
        task("skip", Kind::Skip),
        task("people", Kind::People),
        task("order", Kind::Order),
    ];
    let mut runs = vec![
        run(1, "once", 10_000),
        run(2, "once", 11_000),
        run(3, "skip", 10_000),
        run(4, "skip", 11_000),
        run(5, "people", 10_000),
        run(6, "people", 11_000),
        run(7, "order", 10_000),
        run(8, "order", 11_000),
        run(9, "people", 10_500),
    ];
    let mut effects: Vec<Effect> = [0, 2, 3, 4].map(|at| effect(&runs[at], 1)).into();
    (runs[1].state, runs[1].reason, runs[1].losses) = (state::FAILED, reason::LOST, 1);
    (runs[5].state, runs[5].reason) = (state::SKIPPED, reason::PAUSED);
    (runs[5].skipped_last_ms, runs[5].skipped) = (12_000, 2);
    runs[6].reason = reason::HANDED_OVER;
    runs[7].reason = reason::HANDED_OVER;
    runs[8].origin = 2;
    let mut request = effect(&runs[8], 1);
    request.key = format!("people:{}", spelled(9));
    effects.push(request);
    let order = |due: i64| Order {
        key: format!("order:{due}"),
        body: super::super::load::LEGACY_BODY.to_owned(),
        at_ms: due + 5,
    };
    Evidence {
        pauses: tasks
            .iter()
            .map(|task| (task.name.clone(), (11_500, 11_510)))
            .collect(),
        tasks,
        runs,
        attempts: vec![Attempt {
            run: 2,
            attempt: 1,
            reason: reason::LOST,
        }],
        leftovers: vec![("run", 0)],
        effects,
        orders: vec![order(10_000), order(11_000)],
        people: People {
            accepted: vec![spelled(9)],
            rests: vec![("people".to_owned(), 10_900, 11_900)],
        },
        sealed: Sealed {
            below: 2,
            least: [(1, 3)].into(),
        },
        fired: [(1, 3), (2, 4)].into(),
        ..Evidence::default()
    }
}

/// The verdicts that are broken.
fn broken(evidence: &Evidence) -> Vec<&'static str> {
    let checks = judge(evidence).into_iter();
    checks.filter(|c| !c.passed).map(|c| c.name).collect()
}

#[test]
fn sound_evidence_passes() {
    let checks = judge(&sound());
    let wrong: Vec<_> = checks.iter().filter(|check| !check.passed).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn each_way_to_spoil_it_is_condemned() {
    type Spoil = fn(&mut Evidence);
    let cases: [(&str, Spoil); 20] = [
        ("no instant lost", |e| drop(e.runs.remove(5))),
        ("no instant recorded twice", |e| {
            let mut again = e.runs[5].clone();
            (again.id, again.due_ms, again.skipped) = (99, 12_000, 1);
            e.runs.push(again);
        }),
        ("no instant made up", |e| e.runs[5].skipped = 3),
        ("no instant made up", |e| {
            let mut more = run(99, "once", 14_000);
            (more.state, more.reason) = (state::FAILED, reason::LOST);
            e.runs.push(more);
        }),
        ("no attempt started twice", |e| {
            let mut again = e.effects[1].clone();
            again.at_ms += 5;
            e.effects.push(again);
        }),
        ("at-most-once tasks started at most once", |e| {
            e.runs[0].attempt = 2;
            e.effects.push(effect(&e.runs[0], 2));
        }),
        ("none started early", |e| e.effects[0].at_ms = 9_999),
        ("none started early", |e| e.orders[0].at_ms = 9_999),
        ("no forged start", |e| {
            let mut forged = effect(&run(77, "people", 10_000), 1);
            forged.at_ms += 1;
            e.effects.push(forged);
        }),
        ("no forged start", |e| e.effects[0].forged = true),
        ("no forged start", |e| e.orders[1].body.clear()),
        ("exclusive tasks ran one at a time", |e| {
            e.effects[1].ended_ms = 12_000;
        }),
        ("every run ended as it may", |e| e.runs[3].reason = 1),
        ("every run ended as it may", |e| {
            e.runs[2].state = state::CANCELLED;
        }),
        ("every success had its effect", |e| {
            e.effects[0].status = 503;
        }),
        ("no run wedged", |e| e.runs[0].live = true),
        ("nothing left in the store", |e| e.leftovers[0].1 = 1),
        ("a paused task rests", |e| {
            (e.runs[5].state, e.runs[5].reason) = (state::CANCELLED, reason::REQUESTED);
        }),
        ("no request lost", |e| e.people.accepted.push(spelled(500))),
        ("no term wrote after the next began", |e| {
            e.fired.insert(1, 4);
        }),
    ];
    for (name, spoil) in cases {
        let mut evidence = sound();
        spoil(&mut evidence);
        assert!(
            broken(&evidence).contains(&name),
            "{name}: {:?}",
            broken(&evidence)
        );
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
        reason: reason::LOST,
    });
    assert!(broken(&evidence).is_empty());
    // A message that the broker had confirmed went with its disk.
    let mut evidence = sound();
    evidence.orders.remove(0);
    assert_eq!(broken(&evidence), ["the old listener got every message"]);
    evidence.wiped.push(10_500);
    assert!(broken(&evidence).is_empty());
}
