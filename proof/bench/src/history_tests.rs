//! Histories with a known fault each: the count must find it, from either witness, and must not believe one alone.

use super::*;

const DUE_MS: i64 = 1_000;

fn run(n: i64) -> RunId {
    RunId::from_i64(n)
}

/// `n` runs that were due at one instant, started 3 ms later and ended well.
fn sound(n: i64) -> (Vec<Key>, Vec<Row>, Vec<Start>) {
    let key = |i| Key::Occurrence(0, DUE_MS + i);
    let expected = (0..n).map(key).collect();
    let rows = (0..n).map(|i| Row {
        key: key(i),
        run: run(i),
        attempt: 1,
        losses: 0,
        succeeded: true,
        due_ms: DUE_MS + i,
        started_ms: Some(DUE_MS + i + 2),
    });
    let starts = (0..n).map(|i| Start {
        key: key(i),
        run: run(i),
        attempt: 1,
        due_ms: DUE_MS + i,
        latest_us: (DUE_MS + i + 3) * 1_000,
    });
    (expected, rows.collect(), starts.collect())
}

fn counts(missed: usize, doubled: usize, early: usize, restarted: usize) -> Counts {
    Counts {
        missed,
        doubled,
        early,
        restarted,
    }
}

#[test]
fn a_sound_history_has_nothing_to_count() {
    let (expected, rows, starts) = sound(100);
    assert_eq!(judge(&expected, &rows, &starts), Ok(Counts::default()));
    assert_eq!(judge(&[], &[], &[]), Ok(Counts::default()));
}

#[test]
fn an_occurrence_without_row_or_start_is_missed() {
    let (expected, mut rows, mut starts) = sound(10);
    rows.remove(4);
    starts.remove(4);
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(1, 0, 0, 0)));
}

#[test]
fn a_run_that_was_neither_started_nor_ended_is_missed() {
    let (expected, mut rows, mut starts) = sound(10);
    rows[7].succeeded = false;
    rows[7].started_ms = None;
    starts.remove(7);
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(1, 0, 0, 0)));
}

#[test]
fn a_second_start_of_one_run_is_doubled_whatever_its_attempt() {
    for attempt in [1, 2] {
        let (expected, mut rows, mut starts) = sound(10);
        rows[3].attempt = attempt;
        let again = Start {
            attempt,
            ..starts[3]
        };
        starts.push(again);
        let told = judge(&expected, &rows, &starts);
        if attempt == 2 {
            assert_eq!(told, Ok(counts(0, 1, 0, 0)));
        } else {
            // The same attempt twice leaves no trace in the store: only the record knows, and that must not be hidden.
            let differ = Disagreement::Counts {
                what: "doubled",
                rows: 0,
                starts: 1,
            };
            assert_eq!(told, Err(differ));
        }
    }
}

#[test]
fn a_second_row_of_one_occurrence_is_doubled() {
    let (expected, mut rows, mut starts) = sound(10);
    rows.push(Row {
        run: run(99),
        ..rows[5]
    });
    starts.push(Start {
        run: run(99),
        ..starts[5]
    });
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(0, 1, 0, 0)));
}

#[test]
fn a_start_before_the_instant_is_early() {
    let (expected, mut rows, mut starts) = sound(10);
    rows[2].started_ms = Some(rows[2].due_ms - 1);
    starts[2].latest_us = starts[2].due_ms * 1_000 - 1;
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(0, 0, 1, 0)));
    // One witness alone is not believed.
    rows[2].started_ms = Some(rows[2].due_ms);
    assert!(matches!(
        judge(&expected, &rows, &starts),
        Err(Disagreement::Counts {
            what: "early",
            rows: 0,
            starts: 1
        })
    ));
}

#[test]
fn a_start_that_a_lost_worker_explains_is_no_double() {
    let (expected, mut rows, mut starts) = sound(10);
    rows[6].attempt = 2;
    rows[6].losses = 1;
    let again = Start {
        attempt: 2,
        ..starts[6]
    };
    starts.push(again);
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(0, 0, 0, 1)));
    // The lost attempt may have died before its handler began.
    starts.remove(6);
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(0, 0, 0, 1)));
    // A third start is more than one loss explains.
    starts.push(Start {
        attempt: 1,
        ..again
    });
    starts.push(again);
    rows[6].attempt = 3;
    assert_eq!(judge(&expected, &rows, &starts), Ok(counts(0, 1, 0, 1)));
}

#[test]
fn an_end_that_only_one_witness_saw_is_a_disagreement() {
    let (expected, rows, starts) = sound(10);
    assert_eq!(
        judge(&expected, &rows, &starts[1..]),
        Err(Disagreement::NeverStarted(run(0)))
    );
    assert_eq!(
        judge(&expected, &rows[1..], &starts),
        Err(Disagreement::Unknown(run(0)))
    );
    // Started, and its end was never recorded: the store misses it, the record does not.
    let mut unended = rows.clone();
    unended[1].succeeded = false;
    let differ = Disagreement::Counts {
        what: "missed",
        rows: 1,
        starts: 0,
    };
    assert_eq!(judge(&expected, &unended, &starts), Err(differ));
    let mut elsewhere = rows;
    elsewhere[0].due_ms += 1;
    assert!(matches!(
        judge(&expected, &elsewhere, &starts),
        Err(Disagreement::Due { .. })
    ));
}

#[test]
fn submitted_runs_are_their_own_keys() {
    let row = |n: i64| Row {
        key: Key::Run(run(n)),
        run: run(n),
        attempt: 1,
        losses: 0,
        succeeded: true,
        due_ms: DUE_MS,
        started_ms: Some(DUE_MS),
    };
    let start = |n: i64| Start {
        key: Key::Run(run(n)),
        run: run(n),
        attempt: 1,
        due_ms: DUE_MS,
        latest_us: DUE_MS * 1_000,
    };
    let expected = [Key::Run(run(1)), Key::Run(run(2)), Key::Run(run(3))];
    let told = judge(&expected, &[row(1), row(2)], &[start(1), start(2)]);
    assert_eq!(told, Ok(counts(1, 0, 0, 0)));
}
