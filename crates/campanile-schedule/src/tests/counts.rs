//! Counts: the last instant of `max_count`, by arithmetic and one by one, and the fuel that a count takes.

use proptest::prelude::*;

use super::*;
use crate::fuel::{Fuel, Spent};

const CREATED: &str = "2026-11-26T12:00:00Z";

fn schedule(texts: &[&str]) -> Schedule {
    let options = Options {
        anchor: at(CREATED),
        ..Options::default()
    };
    let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
    Schedule::parse_all(&texts, &options).unwrap()
}

fn counted(count: u32) -> Bounds {
    Bounds {
        max_count: Some(count),
        counted_from: at(CREATED),
        ..Bounds::default()
    }
}

/// All instants after the creation, twenty at most.
fn all(schedule: &Schedule) -> Vec<i64> {
    let next = |t: &Timestamp| schedule.next(*t);
    let after = std::iter::successors(schedule.next(at(CREATED)), next).take(20);
    after
        .map(|t| t.since(at(CREATED)).as_secs().try_into().unwrap())
        .collect()
}

#[test]
fn a_count_is_of_instants_that_can_be_due() {
    for (texts, count, expected) in [
        (&["every 2s"][..], 3, &[2, 4, 6][..]),
        (&["every 2s"], 1, &[2]),
        (&["every 2s", "every 3s"], 4, &[2, 3, 4, 6]),
        (&["every 2s", "every 4s"], 2, &[2, 4]),
        (&["* * * * *"], 2, &[60, 120]),
        (&["* * * * *", "every 30s"], 3, &[30, 60, 90]),
        (&["rrule FREQ=MINUTELY"], 2, &[60, 120]),
        (&["at 2026-11-26T12:00:07Z", "every 5s"], 2, &[5, 7]),
    ] {
        let bounded = schedule(texts).bounded(&counted(count));
        assert_eq!(all(&bounded), expected, "{texts:?} {count}");
    }
    // A written start is the first itself.
    let from = Bounds {
        starts_at: Some(at("2026-11-26T12:00:04Z")),
        ..counted(2)
    };
    assert_eq!(all(&schedule(&["every 2s"]).bounded(&from)), [4, 6]);
    assert_eq!(all(&schedule(&["every 3s"]).bounded(&from)), [6, 9]);
    // One that lies before the creation, or at it, takes none away: what was due by then can't be due any more.
    for start in ["2020-01-01T00:00:00Z", "2026-11-26T11:59:57Z", CREATED] {
        let from = Bounds {
            starts_at: Some(at(start)),
            ..counted(3)
        };
        let counted = schedule(&["every 2s"]).bounded(&from);
        assert_eq!(all(&counted), [2, 4, 6], "{start}");
    }
}

#[test]
fn the_last_of_intervals_is_arithmetic_whatever_the_number() {
    let years = 4_294_967_295_i64;
    for texts in [
        &["every 1s"][..],
        &["every 1s", "every 2s", "every 90m"],
        &["every 7s", "every 1s", "every 11s"],
    ] {
        let fuel = Fuel::of(200);
        let bounded = schedule(texts).bounded_by(&counted(u32::MAX), &fuel);
        assert_eq!(fuel.check(), Ok(()), "{texts:?} burnt more than 200 units");
        let last = bounded.previous(Timestamp::MAX).unwrap();
        assert_eq!(
            last.as_ms() - at(CREATED).as_ms(),
            years * 1_000,
            "{texts:?}"
        );
    }
    // Twenty that share no divisor: more, but far from a count.
    let texts: Vec<String> = [
        101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191,
        193, 197,
    ]
    .iter()
    .map(|ms| format!("every {ms}ms"))
    .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let fuel = Fuel::of(u64::MAX);
    let bounded = schedule(&texts).bounded_by(&counted(1_000_000), &fuel);
    assert!(bounded.previous(Timestamp::MAX).is_some());
    assert!(fuel.burnt() < 3_000_000, "{}", fuel.burnt());
    // Beyond the last instant there is.
    let far = schedule(&["every 365d"]).bounded(&counted(u32::MAX));
    assert!(far.next(at("9990-01-01T00:00:00Z")).is_some());
}

#[test]
fn a_count_of_several_costs_what_its_instants_cost() {
    let hours: Vec<String> = (0..20).map(|m| format!("{m} * * * *")).collect();
    let hours: Vec<&str> = hours.iter().map(String::as_str).collect();
    let (one, twenty) = (Fuel::of(u64::MAX), Fuel::of(u64::MAX));
    let _ = schedule(&["* * * * *"]).bounded_by(&counted(10_000), &one);
    let _ = schedule(&hours).bounded_by(&counted(10_000), &twenty);
    assert!(
        twenty.burnt() < one.burnt() * 2,
        "{} against {}",
        twenty.burnt(),
        one.burnt()
    );
    assert!(one.burnt() > 10_000, "{}", one.burnt());
}

#[test]
fn what_has_no_fuel_says_so() {
    let fuel = Fuel::of(1_000);
    let _ = schedule(&["* * * * *"]).bounded_by(&counted(10_000), &fuel);
    assert_eq!(fuel.check(), Err(Spent::Empty { units: 1_000 }));
    // A rule that hardly ever fires takes long to be counted.
    let sparse = "DTSTART:20260101T000000 RRULE:FREQ=SECONDLY;INTERVAL=86399;BYHOUR=0;BYMINUTE=0;BYSECOND=0;COUNT=10000";
    let options = Options::default();
    let error = Schedule::parse_by(Some(sparse), &options, &Fuel::of(100_000)).unwrap_err();
    assert!(
        error.to_string().contains("more than 100000 steps"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn arithmetic_counts_as_counting_does(
        steps in prop::collection::vec(1_u64..40, 1..6),
        count in 1_u32..60,
        after in -20_000_i64..200_000,
    ) {
        let all: Vec<Every> = steps
            .iter()
            .map(|s| Every::new(std::time::Duration::from_millis(s * 100), at(CREATED)).unwrap())
            .collect();
        let union = Schedule::Union(all.into_iter().map(Schedule::Every).collect());
        let after = Timestamp::from_ms(at(CREATED).as_ms() + after);
        let bounds = Bounds { max_count: Some(count), counted_from: after, ..Bounds::default() };
        let fuel = Fuel::endless();
        let expected = union.steps(after, &fuel).take(usize::try_from(count).unwrap()).last();
        let bounded = union.bounded(&bounds);
        prop_assert_eq!(bounded.previous(Timestamp::MAX), expected);
    }
}
