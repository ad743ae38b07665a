//! An oracle that shares no code with the engine: it walks every minute around a change of the clocks, asks `jiff` what
//! the wall shows, and compares that with the sets that the random expression was printed from.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Zones and days on which their clocks were changed (or, in the last lines, not changed).
const EDGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/London", "2027-03-28"),
    ("Europe/London", "2027-10-31"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/St_Johns", "2026-03-08"),
    ("America/St_Johns", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Asia/Gaza", "2022-03-27"),
    ("Asia/Gaza", "2022-10-29"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Antarctica/Troll", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("Asia/Pyongyang", "2018-05-04"),
    ("America/Caracas", "2007-12-09"),
    ("Asia/Kathmandu", "2026-03-01"),
    ("UTC", "2028-02-29"),
];

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

const MINUTE_MS: i64 = 60_000;

/// Every fire time in `minutes` minutes from an instant.
fn walk(random: &Random, zone: &jiff::tz::TimeZone, from: i64, minutes: i64) -> Vec<i64> {
    let wall_at = |ms: i64| zone.to_datetime(jiff::Timestamp::from_millisecond(ms).unwrap());
    let one = jiff::Span::new().minutes(1);
    let mut out = Vec::new();
    // The latest wall time seen so far; a day's head start sees the repeats that began before `from`.
    let mut seen = wall_at(from - 1_441 * MINUTE_MS);
    for n in -1_440..minutes {
        let ms = from + n * MINUTE_MS;
        let wall = wall_at(ms);
        let mut fires = random.allows(wall) && !(random.is_listed() && wall <= seen);
        if random.is_listed() {
            let mut skipped = seen.checked_add(one).unwrap();
            while skipped < wall {
                fires |= random.allows(skipped);
                skipped = skipped.checked_add(one).unwrap();
            }
        }
        seen = seen.max(wall);
        if fires && n >= 0 {
            out.push(ms);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_engine_fires_when_a_walk_of_every_minute_does(
        random in expressions(), (name, day) in prop::sample::select(EDGES), hours in 1_i64..40,
    ) {
        let zone = jiff::tz::TimeZone::get(name).unwrap();
        let from = at(&format!("{day}T00:00:00Z")).as_ms() - hours * 60 * MINUTE_MS;
        let minutes = 48 * 60;
        let expected = walk(&random, &zone, from, minutes);
        let options = Options {
            dialect: Dialect::Unix, timezone: TimeZoneName::parse(name).unwrap(), ..Options::default()
        };
        let schedule = match Schedule::parse(Some(&random.text()), &options) {
            Ok(schedule) => schedule,
            Err(error) => {
                prop_assert!(error.never_fires() && expected.is_empty(), "{}", error);
                return Ok(());
            }
        };
        let end = Timestamp::from_ms(from + minutes * MINUTE_MS);
        let start = Timestamp::from_ms(from - 1);
        let forwards: Vec<_> = std::iter::successors(schedule.next(start), |t| schedule.next(*t))
            .take_while(|t| *t < end).map(Timestamp::as_ms).collect();
        prop_assert_eq!(&forwards, &expected, "{} in {} around {}", random.text(), name, day);
        // And from instants that are no fire times, the repeated hour's among them.
        for n in (0..minutes).step_by(7) {
            let ms = from + n * MINUTE_MS;
            let next = schedule.next(Timestamp::from_ms(ms)).map(Timestamp::as_ms).filter(|t| *t < end.as_ms());
            prop_assert_eq!(next, expected.iter().copied().find(|t| *t > ms), "{} after {}", random.text(), ms);
            let previous = schedule.previous(Timestamp::from_ms(ms)).map(Timestamp::as_ms).filter(|t| *t >= from);
            prop_assert_eq!(previous, expected.iter().copied().rfind(|t| *t < ms), "{} before {}", random.text(), ms);
        }
        let mut backwards: Vec<_> = std::iter::successors(schedule.previous(end), |t| schedule.previous(*t))
            .take_while(|t| *t > start).map(Timestamp::as_ms).collect();
        backwards.reverse();
        prop_assert_eq!(&backwards, &expected, "{} in {} around {}, backwards", random.text(), name, day);
    }
}
