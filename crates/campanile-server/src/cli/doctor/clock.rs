//! What `doctor` says of the clocks: this machine's, the store's and Redis's beside each other, and the store's beside what
//! it has a record of and what the leader makes of it. Pure.

use std::time::Duration;

use campanile_core::decide::lead::clock_state::ClockState;
use campanile_core::port::lead::LeaderRow;
use campanile_schedule::time::{Timestamp, format_duration};

use super::Finding;

/// How far two clocks may be from each other before it is worth a word.
const SKEW_MAX_MS: i64 = 500;
/// How far the store's clock may be behind its own newest record: nodes write some of them by their estimate of it.
const BEHIND_MAX_MS: i64 = 2_000;

/// How far a clock is ahead of another, at least and at most: the question and its answer took time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ahead {
    least_ms: i64,
    most_ms: i64,
}

impl Ahead {
    /// Of a clock that was read between two looks at this machine's.
    const fn of(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Self {
        Self {
            least_ms: theirs.as_ms().saturating_sub(after.as_ms()),
            most_ms: theirs.as_ms().saturating_sub(before.as_ms()),
        }
    }

    /// Of another, when both are ahead of this machine's.
    const fn than(self, other: Self) -> Self {
        Self {
            least_ms: self.least_ms.saturating_sub(other.most_ms),
            most_ms: self.most_ms.saturating_sub(other.least_ms),
        }
    }

    /// In words, if it is worth any.
    fn told(self) -> Option<String> {
        let (ahead, behind) = (self.least_ms, self.most_ms.saturating_neg());
        match ahead.max(behind) > SKEW_MAX_MS {
            false => None,
            true if ahead > behind => Some(format!("{ahead} ms ahead of")),
            true => Some(format!("{behind} ms behind")),
        }
    }
}

/// The clocks that were read so far.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    store: Option<Ahead>,
}

impl Clocks {
    /// The store's, between two looks at this machine's.
    pub(super) fn of_store(
        &mut self,
        before: Timestamp,
        theirs: Timestamp,
        after: Timestamp,
    ) -> Finding {
        let store = Ahead::of(before, theirs, after);
        self.store = Some(store);
        match store.told() {
            None => Finding::ok("clock", "this machine and the store agree"),
            Some(skew) => Finding::warning(
                "clock",
                format!(
                    "the store's clock is {skew} this machine's: nodes judge by the store's, but logs will not fit \
                     together; let NTP set both"
                ),
            ),
        }
    }

    /// Redis's, beside this machine's and the store's.
    pub(super) fn of_redis(
        &self,
        before: Timestamp,
        theirs: Timestamp,
        after: Timestamp,
    ) -> Vec<Finding> {
        let redis = Ahead::of(before, theirs, after);
        let others = [
            ("this machine's", Some(redis)),
            ("the store's", self.store.map(|store| redis.than(store))),
        ];
        let skewed = others
            .into_iter()
            .filter_map(|(whose, ahead)| Some((whose, ahead?.told()?)));
        let mut out: Vec<Finding> = skewed
            .map(|(whose, skew)| {
                Finding::warning(
                    "clock",
                    format!(
                        "Redis's clock is {skew} {whose}: the lock's life is counted by Redis alone, so that does no harm \
                         by itself; but when that clock is set, the lock ends early or late. Let NTP set all of them"
                    ),
                )
            })
            .collect();
        if out.is_empty() {
            let all = if self.store.is_some() {
                "this machine, the store and Redis agree"
            } else {
                "this machine and Redis agree"
            };
            out.push(Finding::ok("clock", all));
        }
        out
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
    fn clocks_are_told_apart_from_each_other_and_by_how_much_at_least() {
        let texts = |found: Vec<Finding>| found.into_iter().map(|f| f.text).collect::<Vec<_>>();
        let mut clocks = Clocks::default();
        assert_eq!(
            texts(clocks.of_redis(at(0), at(0), at(1))),
            ["this machine and Redis agree"]
        );
        // The answer took ten seconds: anything in between agrees.
        assert!(clocks.of_store(at(0), at(5), at(10)).text.contains("agree"));
        assert_eq!(texts(clocks.of_redis(at(0), at(5), at(10))).len(), 1);
        let said = clocks.of_store(at(0), at(-2), at(0)).text;
        assert!(
            said.contains("the store's clock is 2000 ms behind this machine's"),
            "{said}"
        );
        // Redis agrees with this machine, and so not with the store.
        let said = texts(clocks.of_redis(at(0), at(0), at(0)));
        assert_eq!(said.len(), 1);
        assert!(
            said[0].contains("Redis's clock is 2000 ms ahead of the store's"),
            "{said:?}"
        );
        let said = texts(clocks.of_redis(at(0), at(60), at(1)));
        assert!(
            said[0].contains("59000 ms ahead of this machine's"),
            "{said:?}"
        );
        assert!(
            said[1].contains("61000 ms ahead of the store's"),
            "{said:?}"
        );
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
