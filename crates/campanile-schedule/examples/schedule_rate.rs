//! How long one question to a schedule takes: `cargo run --profile ci -p campanile-schedule --example schedule_rate`. Prints the
//! mean of many questions, one schedule a line; measures nothing else.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for the buffer that measures time and prints it"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use campanile_schedule::calendar::{Calendar, CalendarSpec};
use campanile_schedule::{OnExcluded, Options, Schedule, TimeZoneName, Timetable};

use campanile_schedule::time::Timestamp;

type Failure = Box<dyn std::error::Error>;

const QUESTIONS: u32 = 1_000;
const START_MS: i64 = 1_790_000_000_000;

fn main() -> Result<(), Failure> {
    calendars()?;
    schedules()?;
    timetables()?;
    Ok(())
}

/// Mean nanoseconds of a question, asked of instants that go on from answer to answer.
fn measure(name: &str, mut next: impl FnMut(Timestamp) -> Option<Timestamp>) {
    let mut after = Timestamp::from_ms(START_MS);
    let began = Instant::now();
    for _ in 0..QUESTIONS {
        after = match black_box(next(after)) {
            Some(at) if at.as_ms() < START_MS * 2 => at,
            _ => Timestamp::from_ms(START_MS),
        };
    }
    let nanos = began.elapsed().as_nanos() / u128::from(QUESTIONS);
    println!("{nanos:>9} ns  {name}");
}

/// Asks about each second hour of years.
fn calendars() -> Result<(), Failure> {
    let zone = TimeZoneName::parse("Europe/Berlin")?;
    let days = |n: i64| {
        format!(
            "{:04}-{:02}-{:02}",
            2000 + n / 336,
            n / 28 % 12 + 1,
            n % 28 + 1
        )
    };
    let spec = CalendarSpec {
        name: "full".to_owned(),
        dates: (0..10_000).filter(|n| n % 2 == 0).map(days).collect(),
        weekdays: vec!["SUN".to_owned()],
        ..CalendarSpec::default()
    };
    let calendar = Calendar::compile(spec, 1)?;
    measure(
        "calendar of 5,000 dates and Sundays, is it excluded?",
        |after| {
            let at = Timestamp::from_ms(after.as_ms() + 7_200_000);
            black_box(calendar.excludes(at, &zone));
            Some(at)
        },
    );
    Ok(())
}

fn schedules() -> Result<(), Failure> {
    let options = Options {
        timezone: TimeZoneName::parse("Europe/Berlin")?,
        anchor: Timestamp::from_ms(1_452_000_000_000),
        ..Options::default()
    };
    for text in [
        "0 9 * * MON-FRI",
        "rrule FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9;BYMINUTE=0",
        "rrule FREQ=DAILY;INTERVAL=3",
        "rrule FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9",
        "rrule FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "rrule FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "rrule FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=MO",
        "rrule FREQ=HOURLY",
        "rrule FREQ=MINUTELY;INTERVAL=7;BYHOUR=9",
        "rrule FREQ=SECONDLY;BYMONTH=1;BYMONTHDAY=1;BYHOUR=0",
    ] {
        let schedule = Schedule::parse(Some(text), &options)?;
        measure(text, |after| schedule.next(after));
    }
    Ok(())
}

fn timetables() -> Result<(), Failure> {
    let zone = TimeZoneName::parse("Europe/Berlin")?;
    let options = Options {
        timezone: zone.clone(),
        ..Options::default()
    };
    let weekends =
        r#"{"name": "weekends", "weekdays": ["SAT", "SUN"], "dates": ["12-25", "12-26", "01-01"]}"#;
    let nights =
        r#"{"name": "nights", "hours": [{"from": "22:00", "to": "06:00"}], "weekdays": ["SUN"]}"#;
    for (expression, calendar) in [
        ("0 9 * * *", weekends),
        ("0 23 * * *", nights),
        ("0 * * * *", weekends),
        ("0 * * * *", nights),
        ("*/15 * * * *", weekends),
        ("*/15 * * * *", nights),
    ] {
        for on_excluded in [OnExcluded::Skip, OnExcluded::Next, OnExcluded::Previous] {
            let schedule = Schedule::parse(Some(expression), &options)?;
            let spec: CalendarSpec = serde_json::from_str(calendar)?;
            let name = format!("`{expression}`, calendar {}, {on_excluded:?}", spec.name);
            let calendars = vec![Arc::new(Calendar::compile(spec, 1)?)];
            let timetable = Timetable::new(schedule, calendars, on_excluded, zone.clone());
            measure(&name, |after| timetable.next(after).map(|e| e.at));
        }
    }
    Ok(())
}
