//! Properties over random expressions of every dialect, random zones and random instants.

use proptest::prelude::*;

use super::*;

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Gaza",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Antarctica/Troll",
];

fn numbers(low: u32, high: u32) -> BoxedStrategy<String> {
    let one = (low..=high).prop_map(|n| n.to_string());
    let range = (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let stepped = (range.clone(), 1..8_u32).prop_map(|(range, step)| format!("{range}/{step}"));
    let item = prop_oneof![3 => one, 2 => range, 1 => stepped].boxed();
    let list = prop::collection::vec(item, 1..4).prop_map(|items| items.join(","));
    let stars = (1..=high.min(7)).prop_map(|step| format!("*/{step}"));
    prop_oneof![3 => list, 2 => Just("*".to_owned()), 2 => stars].boxed()
}

fn dates() -> BoxedStrategy<String> {
    let special = prop::sample::select(vec![
        "L", "LW", "L-3", "L-2W", "15W", "1W", "31W", "1,l", "5W,20",
    ]);
    prop_oneof![3 => numbers(1, 31), 1 => special.prop_map(str::to_owned)].boxed()
}

fn weekdays() -> BoxedStrategy<String> {
    let special = prop::sample::select(vec![
        "MON-FRI",
        "sunL",
        "2L",
        "FRI#1",
        "3#5",
        "sat,WED#2",
        "*/2",
    ]);
    prop_oneof![2 => numbers(1, 7), 2 => special.prop_map(str::to_owned), 2 => Just("*".to_owned())]
        .boxed()
}

fn months() -> BoxedStrategy<String> {
    prop_oneof![3 => Just("*".to_owned()), 1 => numbers(1, 12), 1 => Just("mar-NOV".to_owned())]
        .boxed()
}

/// An expression that is well-formed in its dialect (some can never fire).
pub(super) fn expressions() -> BoxedStrategy<(Dialect, String)> {
    let time =
        (numbers(0, 59), numbers(0, 23)).prop_map(|(minute, hour)| format!("{minute} {hour}"));
    let second = prop_oneof![3 => Just("0".to_owned()), 1 => numbers(0, 59)];
    let unix = (time.clone(), dates(), months(), weekdays());
    let unix = unix.prop_map(|(t, d, m, w)| (Dialect::Unix, format!("{t} {d} {m} {w}")));
    let spring = (second.clone(), time.clone(), dates(), months(), weekdays());
    let spring =
        spring.prop_map(|(s, t, d, m, w)| (Dialect::Spring, format!("{s} {t} {d} {m} {w}")));
    let year =
        prop_oneof![3 => Just(""), 1 => Just(" 2020-2035"), 1 => Just(" 2024/3"), 1 => Just(" *")];
    let quartz = (
        second,
        time,
        dates(),
        months(),
        weekdays(),
        year,
        any::<bool>(),
    );
    let quartz = quartz.prop_map(|(s, t, d, m, w, y, by_date)| {
        let (d, w) = if by_date {
            (d.as_str(), "?")
        } else {
            ("?", w.as_str())
        };
        (Dialect::Quartz, format!("{s} {t} {d} {m} {w}{y}"))
    });
    prop_oneof![unix, spring, quartz].boxed()
}

fn zones() -> impl Strategy<Value = TimeZoneName> {
    prop::sample::select(ZONES).prop_map(|name| TimeZoneName::parse(name).unwrap())
}

/// Milliseconds from 2005 to 2040.
fn instants() -> impl Strategy<Value = Timestamp> {
    (1_104_537_600_000_i64..2_208_988_800_000).prop_map(Timestamp::from_ms)
}

fn rules() -> impl Strategy<Value = Dst> {
    let gaps = prop::sample::select(vec![Gap::NextValid, Gap::Skip, Gap::Shift]);
    let repeats = prop::sample::select(vec![Repeat::First, Repeat::Both, Repeat::Last]);
    (gaps, repeats).prop_map(|(gap, repeat)| Dst { gap, repeat })
}

/// A schedule, unless it can never fire.
fn read(dialect: Dialect, text: &str, timezone: TimeZoneName, dst: Dst) -> Option<Schedule> {
    let options = Options {
        dialect,
        timezone,
        dst,
        ..Options::default()
    };
    match Schedule::parse(Some(text), &options) {
        Ok(schedule) => Some(schedule),
        Err(error) if error.never_fires() => None,
        Err(error) => panic!("{text}: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn next_and_previous_are_each_others_inverse(
        (dialect, text) in expressions(), zone in zones(), dst in rules(), from in instants(),
    ) {
        let Some(schedule) = read(dialect, &text, zone, dst) else { return Ok(()) };
        let mut last = from;
        for _ in 0..8 {
            let Some(next) = schedule.next(last) else { break };
            prop_assert!(next > last, "{} went from {} to {}", text, last, next);
            // Nothing lies between: from every instant in between, both directions see the same neighbours.
            let between = Timestamp::from_ms(last.as_ms().midpoint(next.as_ms()));
            prop_assert_eq!(schedule.next(between), Some(next));
            prop_assert_eq!(schedule.next(Timestamp::from_ms(next.as_ms() - 1)), Some(next));
            let after = Timestamp::from_ms(next.as_ms() + 1);
            prop_assert_eq!(schedule.previous(after), Some(next));
            if last != from {
                prop_assert_eq!(schedule.previous(next), Some(last));
                prop_assert_eq!(schedule.previous(Timestamp::from_ms(last.as_ms() + 1)), Some(last));
            } else if let Some(before) = schedule.previous(next) {
                prop_assert!(before <= from);
                prop_assert_eq!(schedule.next(before), Some(next));
            }
            last = next;
        }
    }

    #[test]
    fn printing_and_reading_again_changes_nothing((dialect, text) in expressions(), zone in zones()) {
        let spaced = format!("  {}\t", text.replace(' ', "  "));
        let Some(schedule) = read(dialect, &spaced, zone.clone(), Dst::default()) else { return Ok(()) };
        let printed = schedule.to_string();
        let again = read(dialect, &printed, zone, Dst::default());
        prop_assert_eq!(again.as_ref(), Some(&schedule));
        prop_assert_eq!(again.map(|s| s.to_string()), Some(printed));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-*/0-9A-Za-z#?,@ é()]{0,40}", fields in "([-*/0-9LWH#?,]{1,4} ){4,7}") {
        for dialect in [Dialect::Auto, Dialect::Unix, Dialect::Spring, Dialect::Quartz] {
            let options = Options { dialect, name_for_hash: "task".to_owned(), ..Options::default() };
            for text in [&text, &fields] {
                match Schedule::parse(Some(text), &options) {
                    Ok(schedule) => drop(schedule.next(at("2026-01-01T00:00:00Z"))),
                    Err(error) => prop_assert!(text.is_char_boundary(error.at), "{}", error),
                }
            }
        }
    }

    #[test]
    fn intervals_are_counted_from_their_anchor(anchor in instants(), ms in 100_u64..10_000_000_000, from in instants()) {
        let every = Every::new(std::time::Duration::from_millis(ms), anchor).unwrap();
        let next = every.next(from).unwrap();
        prop_assert!(next > from && next >= anchor);
        prop_assert_eq!((next.as_ms() - anchor.as_ms()) % i64::try_from(ms).unwrap(), 0);
        prop_assert!(next == anchor || next.as_ms() - from.as_ms() <= i64::try_from(ms).unwrap());
        let before = every.previous(next);
        prop_assert_eq!(before.and_then(|t| every.next(t)), (next != anchor).then_some(next));
        prop_assert!(before.is_none_or(|t| t <= from));
    }
}
