//! What `doctor` says of the clocks: this machine's beside the store's, and the store's beside what it has a record of and
//! what the leader makes of it. Pure.

use std::time::Duration;

use campanile_core::decide::lead::clock_state::ClockState;
use campanile_core::port::lead::LeaderRow;
use campanile_schedule::time::{Timestamp, format_duration};

use super::Finding;

/// How far this machine's clock may be from the store's before it is worth a word.
const SKEW_MAX_MS: i64 = 500;
/// How far the store's clock may be behind its own newest record: nodes write some of them by their estimate of it.
const BEHIND_MAX_MS: i64 = 2_000;

/// This machine's clock, read before and after the store's.
pub(super) fn skew(before: Timestamp, store: Timestamp, after: Timestamp) -> Finding {
    let ahead = before.as_ms() - store.as_ms();
    let behind = store.as_ms() - after.as_ms();
    if ahead.max(behind) > SKEW_MAX_MS {
        Finding::warning(
            "clock",
            format!(
                "this machine's clock is {} ms {} the store's: nodes judge by the store's, but logs will not fit \
                 together; let NTP set both",
                ahead.max(behind),
                if ahead > behind { "ahead of" } else { "behind" }
            ),
        )
    } else {
        Finding::ok("clock", "this machine and the store agree")
    }
}

/// The store's clock: what the leader said of it last, and else what its records show.
pub(super) fn of_store(
    leader: &LeaderRow,
    newest: Option<Timestamp>,
    told: Option<&str>,
) -> Vec<Finding> {
    // What the leader of an earlier term saw is over, or its successor says it again.
    let told = told.and_then(ClockState::read);
    let told = told.filter(|told| told.epoch == leader.epoch);
    let mut out = Vec::new();
    if let Some(by) = told.and_then(|told| told.held_ms) {
        out.push(held(leader, Duration::from_millis(by)));
    }
    let until = told.and_then(|told| told.behind_until_ms);
    let until = until
        .map(Timestamp::from_ms)
        .filter(|until| *until > leader.now);
    out.extend(match until {
        Some(until) => Some(silent(leader, until)),
        None => went_back(leader.now, newest),
    });
    out
}

fn held(leader: &LeaderRow, by: Duration) -> Finding {
    Finding::warning(
        "clock",
        format!(
            "the store's clock, which shows {}, stepped forward by {} as the leader of term {} (`{}`) sees it: that is not \
             followed before three readings over ten seconds agree, and schedules go on by the time as it was until then. \
             Set the clock right if it is wrong, and let NTP keep it",
            leader.now,
            format_duration(by),
            leader.epoch,
            leader.node_name
        ),
    )
}

fn silent(leader: &LeaderRow, until: Timestamp) -> Finding {
    Finding::warning(
        "clock",
        format!(
            "the store's clock went back: it is {}, and it was at {until} as the leader of term {} (`{}`) saw it. Schedules \
             are silent until it is there again, in {}; set the clock right, and let NTP keep it",
            leader.now,
            leader.epoch,
            leader.node_name,
            format_duration(until.since(leader.now))
        ),
    )
}

/// A store's clock that stands behind what the store has a record of.
fn went_back(now: Timestamp, newest: Option<Timestamp>) -> Option<Finding> {
    let newest = newest.filter(|at| at.as_ms() - now.as_ms() > BEHIND_MAX_MS)?;
    let behind = newest.since(now).as_secs();
    Some(Finding::warning(
        "clock",
        format!(
            "the store's clock went back: it is {now}, and the store has records up to {newest}. Schedules wait until it \
             is there again, in {behind} s; set the clock right, and let NTP keep it"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms((1_800_000_000 + s) * 1_000)
    }

    fn leader() -> LeaderRow {
        LeaderRow {
            epoch: 7,
            holder: None,
            node: None,
            node_name: "n1".to_owned(),
            since: Some(at(-100)),
            edits: 0,
            resign_epoch: 0,
            hold: None,
            now: at(0),
        }
    }

    fn told(state: ClockState) -> Vec<String> {
        let found = of_store(&leader(), Some(at(0)), Some(&state.text()));
        found.into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn a_held_step_and_a_silence_are_told_as_the_leader_of_the_term_sees_them() {
        let held = ClockState {
            epoch: 7,
            held_ms: Some(3_600_000),
            ..ClockState::default()
        };
        let said = told(held);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("stepped forward by 1h"), "{said:?}");
        assert!(said[0].contains("term 7 (`n1`)"), "{said:?}");
        assert_eq!(told(ClockState { epoch: 6, ..held }), [""; 0]);
        let behind = ClockState {
            epoch: 7,
            behind_until_ms: Some(at(600).as_ms()),
            ..ClockState::default()
        };
        let said = told(behind);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].contains("silent until it is there again, in 10m"),
            "{said:?}"
        );
        let over = ClockState {
            behind_until_ms: Some(at(0).as_ms()),
            ..behind
        };
        assert_eq!(told(over), [""; 0]);
        assert_eq!(told(ClockState::default()), [""; 0]);
    }

    #[test]
    fn without_a_word_of_the_leader_its_records_tell_that_it_went_back() {
        let text = |newest, told| {
            let found = of_store(&leader(), Some(newest), told);
            found.into_iter().map(|f| f.text).collect::<Vec<_>>()
        };
        assert_eq!(text(at(1), None), [""; 0]);
        let said = text(at(600), None);
        assert!(said[0].contains("in 600 s"), "{said:?}");
        assert_eq!(text(at(600), Some("unreadable")), said);
    }
}
