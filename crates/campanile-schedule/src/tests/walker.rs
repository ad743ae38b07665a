//! An oracle that shares no code with the engine: it walks every minute around a change of the clocks, asks `jiff` what
//! the wall shows, and compares that with the sets that the random expression was printed from. Every pair of rules for
//! gaps and repeats is walked, on changes of the clocks in more than twenty zones from 1975 to 2037.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

/// How many times (each with several expressions, each with every rule) are walked, unless the environment's
/// `CAMPANILE_WALKS` says otherwise.
const WALKS: u32 = 250;
const WALKED_MINUTES: usize = 30 * 60;
/// Walls seen before the walk begins and after it ends: more than any repeat is long.
const MARGIN_MINUTES: usize = 26 * 60;
const MINUTE_MS: i64 = 60_000;
/// Of expressions that fire more often, the way back is asked at some instants only.
const BACKWARDS_MAX: usize = 200;

/// One line of zones for each kind of change: whole hours, other lengths, midnights, whole days, often, and none.
const ZONES: &[&str] = &[
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
    "Australia/Sydney",
    "Pacific/Auckland",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "America/Caracas",
    "Asia/Pyongyang",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Asuncion",
    "Asia/Beirut",
    "Asia/Tehran",
    "America/Santiago",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Gaza",
    "Antarctica/Casey",
    "Asia/Kathmandu",
    "UTC",
];

/// A zone, and a moment (ms) near which its clocks were changed, or any where they never are.
fn edges() -> Vec<(&'static str, i64)> {
    let (first, last) = (at("1975-01-01T00:00:00Z"), at("2038-01-01T00:00:00Z"));
    let mut out = Vec::new();
    for name in ZONES {
        let zone = jiff::tz::TimeZone::get(name).unwrap();
        let start = jiff::Timestamp::from_millisecond(first.as_ms()).unwrap();
        let changes = zone
            .following(start)
            .map(|t| t.timestamp().as_millisecond());
        out.extend(
            changes
                .take_while(|t| *t < last.as_ms())
                .map(|t| (*name, t)),
        );
        out.push((*name, at("2028-02-28T20:00:00Z").as_ms()));
    }
    out
}

/// A field: how it is written, and what it allows.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    set: BTreeSet<i8>,
}

fn field(low: i8, high: i8) -> BoxedStrategy<Field> {
    let star = Just(Field {
        text: "*".to_owned(),
        set: (low..=high).collect(),
    });
    let step = (2..=high).prop_map(move |step| Field {
        text: format!("*/{step}"),
        set: (low..=high).filter(|n| (n - low) % step == 0).collect(),
    });
    let list = prop::collection::btree_set(low..=high, 1..5).prop_map(|set| Field {
        text: set.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
        set,
    });
    let range = (low..=high, low..=high, 1..4_i8).prop_map(|(a, b, step)| {
        let (from, to) = (a.min(b), a.max(b));
        let set = (from..=to).filter(|n| (n - from) % step == 0).collect();
        Field {
            text: format!("{from}-{to}/{step}"),
            set,
        }
    });
    prop_oneof![2 => star, 2 => step, 3 => list, 3 => range].boxed()
}

#[derive(Debug, Clone)]
struct Random {
    minute: Field,
    hour: Field,
    date: Field,
    month: Field,
    weekday: Field,
}

impl Random {
    fn text(&self) -> String {
        let fields = [
            &self.minute,
            &self.hour,
            &self.date,
            &self.month,
            &self.weekday,
        ];
        fields.map(|field| field.text.as_str()).join(" ")
    }

    fn allows(&self, wall: jiff::civil::DateTime) -> bool {
        let date = self.date.set.contains(&wall.day());
        let weekday = self
            .weekday
            .set
            .contains(&wall.weekday().to_sunday_zero_offset());
        let star = self.date.text.starts_with('*') || self.weekday.text.starts_with('*');
        let day = if star {
            date && weekday
        } else {
            date || weekday
        };
        let time = self.minute.set.contains(&wall.minute()) && self.hour.set.contains(&wall.hour());
        day && time && self.month.set.contains(&wall.month())
    }

    fn is_listed(&self) -> bool {
        !self.minute.text.starts_with('*') && !self.hour.text.starts_with('*')
    }
}

fn expressions() -> impl Strategy<Value = Random> {
    let night = prop_oneof![2 => field(0, 23), 3 => field(0, 3), 1 => field(22, 23)].boxed();
    // Half of the months and days are open: otherwise most expressions are silent on the days walked.
    let often = |low, high| {
        let star = Field {
            text: "*".to_owned(),
            set: (low..=high).collect(),
        };
        prop_oneof![1 => field(low, high), 1 => Just(star)]
    };
    let fields = (field(0, 59), night, often(1, 31), often(1, 12), often(0, 6));
    fields.prop_map(|(minute, mut hour, date, month, weekday)| {
        if hour.text.starts_with('*') {
            // The narrow generators' stars begin elsewhere than a real one.
            let step = hour
                .text
                .strip_prefix("*/")
                .and_then(|step| step.parse().ok())
                .unwrap_or(1);
            hour.set = (0..24).filter(|n| n % step == 0).collect();
        }
        Random {
            minute,
            hour,
            date,
            month,
            weekday,
        }
    })
}

/// What the wall showed, minute by minute.
struct Walk {
    /// The first minute of the walk itself; `walls` begin [`MARGIN_MINUTES`] before.
    from_ms: i64,
    walls: Vec<jiff::civil::DateTime>,
    shown_before: Vec<bool>,
    shown_again: Vec<bool>,
    /// Where the wall jumps forward: the minute, and the walls that were left out before it.
    gaps: Vec<(usize, Vec<jiff::civil::DateTime>)>,
}

impl Walk {
    fn new(zone: &jiff::tz::TimeZone, from_ms: i64) -> Self {
        let start_ms = from_ms - i64::try_from(MARGIN_MINUTES).unwrap() * MINUTE_MS;
        let count = i64::try_from(WALKED_MINUTES + 2 * MARGIN_MINUTES).unwrap();
        let walls: Vec<_> = (0..count)
            .map(|n| jiff::Timestamp::from_millisecond(start_ms + n * MINUTE_MS).unwrap())
            .map(|t| zone.to_datetime(t))
            .collect();
        let mut seen = HashSet::new();
        let shown_before = walls.iter().map(|wall| !seen.insert(*wall)).collect();
        seen.clear();
        let mut shown_again: Vec<_> = walls.iter().rev().map(|wall| !seen.insert(*wall)).collect();
        shown_again.reverse();
        let one = jiff::Span::new().minutes(1);
        let mut gaps = Vec::new();
        for (n, pair) in walls.windows(2).enumerate() {
            let after = |wall: &jiff::civil::DateTime| Some(wall.checked_add(one).unwrap());
            let left_out: Vec<_> = std::iter::successors(after(&pair[0]), after)
                .take_while(|wall| *wall < pair[1])
                .collect();
            if !left_out.is_empty() {
                gaps.push((n + 1, left_out));
            }
        }
        Self {
            from_ms,
            walls,
            shown_before,
            shown_again,
            gaps,
        }
    }

    /// Which of the walls, and of those that were left out, an expression allows.
    fn allowed(&self, random: &Random) -> Allowed {
        let left_out = self.gaps.iter();
        Allowed {
            listed: random.is_listed(),
            walls: self.walls.iter().map(|wall| random.allows(*wall)).collect(),
            left_out: left_out
                .map(|(_, walls)| walls.iter().map(|wall| random.allows(*wall)).collect())
                .collect(),
        }
    }

    /// Every fire time of the walk.
    fn fires(&self, allowed: &Allowed, dst: Dst) -> BTreeSet<i64> {
        let listed = allowed.listed;
        let is_over = |n: usize| match dst.repeat {
            Repeat::First => self.shown_before[n],
            Repeat::Both => false,
            Repeat::Last => self.shown_again[n],
        };
        let mut minutes: BTreeSet<usize> = (0..self.walls.len())
            .filter(|n| allowed.walls[*n] && !(listed && is_over(*n)))
            .collect();
        let left_out = self.gaps.iter().zip(&allowed.left_out);
        for ((n, _), left_out) in left_out.filter(|_| listed) {
            for k in (0..left_out.len()).filter(|k| left_out[*k]) {
                match dst.gap {
                    Gap::NextValid => drop(minutes.insert(*n)),
                    Gap::Skip => {}
                    // As many minutes after the gap as the time is after its beginning.
                    Gap::Shift => drop(minutes.insert(n + k)),
                }
            }
        }
        let walked = MARGIN_MINUTES..MARGIN_MINUTES + WALKED_MINUTES;
        let ms = |n: usize| self.from_ms + i64::try_from(n - MARGIN_MINUTES).unwrap() * MINUTE_MS;
        minutes.range(walked).map(|n| ms(*n)).collect()
    }
}

/// What of a walk an expression allows.
struct Allowed {
    listed: bool,
    walls: Vec<bool>,
    left_out: Vec<Vec<bool>>,
}

/// Every pair of rules.
fn rules() -> impl Iterator<Item = Dst> {
    let gaps = [Gap::NextValid, Gap::Skip, Gap::Shift];
    let repeats = [Repeat::First, Repeat::Both, Repeat::Last];
    gaps.into_iter()
        .flat_map(move |gap| repeats.map(|repeat| Dst { gap, repeat }))
}

/// Compares the engine with a walk: forwards, backwards, and from instants that are no fire times.
fn compare(schedule: &Schedule, expected: &BTreeSet<i64>, from_ms: i64, what: &str) {
    let end_ms = from_ms + i64::try_from(WALKED_MINUTES).unwrap() * MINUTE_MS;
    let next = |ms: i64| schedule.next(Timestamp::from_ms(ms)).map(Timestamp::as_ms);
    let previous = |ms: i64| {
        schedule
            .previous(Timestamp::from_ms(ms))
            .map(Timestamp::as_ms)
    };
    let forwards: Vec<_> = std::iter::successors(next(from_ms - 1), |ms| next(*ms))
        .take_while(|ms| *ms < end_ms)
        .collect();
    let expected_list: Vec<_> = expected.iter().copied().collect();
    assert_eq!(forwards, expected_list, "{what}");
    if expected.len() <= BACKWARDS_MAX {
        let mut backwards: Vec<_> = std::iter::successors(previous(end_ms), |ms| previous(*ms))
            .take_while(|ms| *ms >= from_ms)
            .collect();
        backwards.reverse();
        assert_eq!(backwards, expected_list, "{what}, backwards");
    }
    for ms in (from_ms..end_ms).step_by(61 * 60_000) {
        let after = next(ms).filter(|ms| *ms < end_ms);
        assert_eq!(
            after,
            expected.range(ms + 1..).next().copied(),
            "{what} after {ms}"
        );
        let before = previous(ms).filter(|ms| *ms >= from_ms);
        assert_eq!(
            before,
            expected.range(..ms).next_back().copied(),
            "{what} before {ms}"
        );
    }
}

/// Compares one expression, under every rule; where the rules mean nothing to it, under the first and the last.
fn compare_all(random: &Random, name: &str, walk: &Walk) {
    let text = random.text();
    let allowed = walk.allowed(random);
    let step = if random.is_listed() { 1 } else { 8 };
    for dst in rules().step_by(step) {
        let options = Options {
            dialect: Dialect::Unix,
            timezone: TimeZoneName::parse(name).unwrap(),
            dst,
            ..Options::default()
        };
        let expected = walk.fires(&allowed, dst);
        let what = format!("{text} in {name} from {} with {dst:?}", walk.from_ms);
        match Schedule::parse(Some(&text), &options) {
            Ok(schedule) => compare(&schedule, &expected, walk.from_ms, &what),
            Err(error) => assert!(
                error.never_fires() && expected.is_empty(),
                "{what}: {error}"
            ),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a test takes is the caller's choice"
)]
fn walks() -> u32 {
    let set = std::env::var("CAMPANILE_WALKS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(WALKS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(walks()))]

    #[test]
    fn the_engine_fires_when_a_walk_of_every_minute_does(
        randoms in prop::collection::vec(expressions(), 8), (name, edge) in prop::sample::select(edges()), hours in 1_i64..29,
    ) {
        let zone = jiff::tz::TimeZone::get(name).unwrap();
        let from_ms = edge.div_euclid(MINUTE_MS) * MINUTE_MS - hours * 60 * MINUTE_MS;
        let walk = Walk::new(&zone, from_ms);
        for random in &randoms {
            compare_all(random, name, &walk);
        }
    }
}
