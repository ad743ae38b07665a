//! A judge that never condemns proves nothing: sound evidence passes every verdict, and each way to spoil it fails the
//! one verdict that is there for it.

use super::*;
use crate::field::programs::read_programs;

const NODE: i64 = 77;

fn task(name: &str, kind: Kind) -> Task {
    Task {
        name: name.to_owned(),
        kind,
        period_ms: 1_000,
        anchor_ms: 10_000,
    }
}

/// The id of the run number `n`, minted in the second second of 2020, as a number and as it is spelled.
fn id(n: i64) -> (i64, String) {
    let id = (1_000 << 22) + n;
    let digits: Vec<char> = "0123456789abcdefghjkmnpqrstvwxyz".chars().collect();
    let spelled = (0..13).rev().map(|place| {
        let digit = (id >> (5 * place)) & 31;
        digits[usize::try_from(digit).unwrap()]
    });
    (id, spelled.collect())
}

fn run(n: i64, task: &str, due_ms: i64) -> Run {
    Run {
        id: id(n).0,
        task: task.to_owned(),
        due_ms,
        state: state::SUCCEEDED,
        reason: reason::NONE,
        attempt: 1,
        failures: 0,
        losses: 0,
        epoch: 1,
        live: false,
        skipped: 0,
    }
}

fn effect(n: i64, task: &str, due_ms: i64, attempt: u32) -> Effect {
    Effect {
        task: task.to_owned(),
        key: format!("{task}:{due_ms}"),
        run: id(n).1,
        attempt,
        at_ms: due_ms + 3,
        ended_ms: due_ms + 4,
        status: 200,
        forged: false,
    }
}

fn term(epoch: i64, since_ms: i64) -> Leader {
    Leader {
        epoch,
        node: "s1".to_owned(),
        since_ms,
    }
}

/// Two instants of each kind; the second quick run was started again after its worker died, and the second
/// at-most-once run was not.
fn sound() -> Evidence {
    let tasks = vec![
        task("quick", Kind::Quick),
        task("once", Kind::Once),
        task("order", Kind::Order),
        task("program", Kind::Program),
    ];
    let mut runs = Vec::new();
    for (at, task) in tasks.iter().enumerate() {
        let n = i64::try_from(at).unwrap() * 2;
        runs.push(run(n, &task.name, 10_000));
        runs.push(run(n + 1, &task.name, 11_000));
    }
    runs[1].attempt = 2;
    runs[1].losses = 1;
    (runs[3].state, runs[3].reason, runs[3].losses) = (state::FAILED, reason::LOST, 1);
    runs[4].reason = reason::HANDED_OVER;
    runs[5].reason = reason::HANDED_OVER;
    let lost = |run: &Run| Attempt {
        run: run.id,
        attempt: 1,
        worker: NODE,
        reason: reason::LOST,
    };
    let order = |due: i64| Order {
        key: format!("order:{due}"),
        body: LEGACY_BODY.to_owned(),
        at_ms: due + 5,
    };
    let line = |start, n, due| ProgramLine {
        start,
        effect: effect(n, "program", due, 1),
    };
    Evidence {
        pauses: tasks
            .iter()
            .map(|t| (t.name.clone(), (11_500, 11_510)))
            .collect(),
        attempts: vec![lost(&runs[1]), lost(&runs[3])],
        effects: vec![
            effect(0, "quick", 10_000, 1),
            effect(1, "quick", 11_000, 1),
            effect(1, "quick", 11_000, 2),
            effect(2, "once", 10_000, 1),
            effect(3, "once", 11_000, 1),
        ],
        programs: vec![
            line(true, 6, 10_000),
            line(false, 6, 10_000),
            line(true, 7, 11_000),
            line(false, 7, 11_000),
        ],
        orders: vec![order(10_000), order(10_000), order(11_000)],
        terms: vec![term(1, 1_577_836_800_500), term(2, 1_577_836_801_500)],
        killed: vec![NODE],
        refused: 1,
        left: Vec::new(),
        tasks,
        runs,
    }
}

fn broken(evidence: &Evidence) -> Vec<&'static str> {
    let checks = evidence.judge();
    checks
        .iter()
        .filter(|c| !c.passed)
        .map(|c| c.name)
        .collect()
}

#[test]
fn sound_evidence_passes() {
    let checks = sound().judge();
    let failed: Vec<_> = checks.iter().filter(|c| !c.passed).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

type Spoil = fn(&mut Evidence);

fn about_instants_and_ends() -> Vec<(&'static str, Spoil)> {
    vec![
        ("no instant lost", |e| {
            e.runs.remove(0);
        }),
        ("no instant lost", |e| {
            e.pauses.clear();
        }),
        ("no instant lost", |e| e.runs[0].due_ms += 1),
        // The look-ahead may reach past the pause, but not past a hole.
        ("no instant lost", |e| e.runs.push(run(20, "quick", 13_000))),
        ("no instant recorded twice", |e| {
            e.runs.push(run(20, "quick", 10_000));
        }),
        ("every run ended as it should", |e| e.runs[0].live = true),
        ("every run ended as it should", |e| {
            e.runs[0].state = state::SKIPPED;
        }),
        ("every run ended as it should", |e| {
            e.runs[4].reason = reason::NONE;
        }),
        ("every run ended as it should", |e| {
            (e.runs[0].state, e.runs[0].reason) = (state::FAILED, reason::LOST);
        }),
    ]
}

fn about_starts_and_terms() -> Vec<(&'static str, Spoil)> {
    vec![
        ("no attempt started twice", |e| {
            e.effects.push(effect(0, "quick", 10_000, 1));
        }),
        ("no attempt started twice", |e| {
            e.effects.push(effect(0, "quick", 10_000, 2));
        }),
        ("no attempt started twice", |e| {
            e.effects.push(effect(99, "quick", 10_000, 1));
        }),
        ("every success had its effect", |e| {
            e.effects.remove(0);
        }),
        ("at-most-once tasks started at most once", |e| {
            e.effects.push(effect(3, "once", 11_000, 2));
        }),
        ("none started early", |e| e.effects[0].at_ms = 9_999),
        ("none started early", |e| e.orders[0].at_ms = 9_999),
        ("second attempts explained by a dead worker", |e| {
            e.attempts[0].worker = 1;
        }),
        ("second attempts explained by a dead worker", |e| {
            e.runs[0].failures = 1;
        }),
        ("second attempts explained by a dead worker", |e| {
            e.runs[0].attempt = 2;
        }),
        ("duplicates were delivered and refused", |e| e.refused = 0),
        ("no term wrote after the next began", |e| e.terms.swap(0, 1)),
        ("no term wrote after the next began", |e| {
            e.terms[1].since_ms = 1_577_836_800_900;
        }),
        ("no term wrote after the next began", |e| {
            e.runs[0].epoch = 9;
        }),
        ("the old listener got every message", |e| {
            e.orders.pop();
        }),
        ("the old listener got every message", |e| {
            e.orders[0].body.push('x');
        }),
        ("programs ran to their ends", |e| {
            e.programs.pop();
        }),
        ("no process left behind", |e| {
            e.left.push("1: sh".to_owned());
        }),
    ]
}

#[test]
fn each_way_to_be_wrong_is_condemned() {
    let cases = about_instants_and_ends().into_iter();
    for (number, (name, spoil)) in cases.chain(about_starts_and_terms()).enumerate() {
        let mut evidence = sound();
        spoil(&mut evidence);
        let broken = broken(&evidence);
        assert!(
            broken.contains(&name),
            "case {number}: {broken:?} lacks {name}"
        );
    }
}

#[test]
fn what_programs_write_is_read() {
    let text = "start 10003 program:10000 r 1 55\nend 14003 program:10000 r 1 55\nstart 100";
    let lines = read_programs(text);
    assert_eq!(lines.len(), 2);
    assert!(lines[0].start && !lines[1].start);
    assert_eq!(lines[1].effect.at_ms, 14_003);
    assert_eq!(lines[0].effect.task, "program");
}
