//! Tests of calendars: what each entry lists, edges of days, hours and zones, refusals, and a walker that asks the
//! definition itself.

use proptest::prelude::*;

use super::*;

fn read(json: serde_json::Value) -> CalendarSpec {
    let mut json = json;
    json["name"] = "c".into();
    serde_json::from_value(json).unwrap()
}

fn calendar(json: serde_json::Value) -> Calendar {
    Calendar::compile(read(json), 1).unwrap()
}

fn zone(name: &str) -> TimeZoneName {
    TimeZoneName::parse(name).unwrap()
}

/// Asserts which instants of a list are excluded, in UTC.
fn check(json: serde_json::Value, excluded: &[&str], open: &[&str]) {
    let calendar = calendar(json);
    let excludes = |t: &&str| calendar.excludes(Timestamp::parse(t).unwrap(), &zone("UTC"));
    for t in excluded {
        assert!(excludes(t), "{t} is open");
    }
    for t in open {
        assert!(!excludes(t), "{t} is excluded");
    }
}

#[test]
fn dates_are_whole_days_of_one_year_or_of_every_year() {
    check(
        serde_json::json!({"dates": ["2026-12-25", "02-29", "01-01"]}),
        &[
            "2026-12-25T00:00:00Z",
            "2026-12-25T23:59:59.999Z",
            "2028-02-29T12:00:00Z",
            "1999-01-01T00:00:00Z",
        ],
        &[
            "2026-12-24T23:59:59.999Z",
            "2026-12-26T00:00:00Z",
            "2027-12-25T00:00:00Z",
            "2027-03-01T00:00:00Z",
            "2027-02-28T00:00:00Z",
        ],
    );
}

#[test]
fn ranges_include_both_ends_and_may_go_over_the_new_year() {
    check(
        serde_json::json!({"ranges": [
            {"from": "2026-07-01", "to": "2026-07-10"}, {"from": "2026-07-11", "to": "2026-07-12"},
            {"from": "12-24", "to": "01-06"},
        ]}),
        &[
            "2026-07-01T00:00:00Z",
            "2026-07-12T23:59:59Z",
            "2030-12-24T00:00:00Z",
            "2030-12-31T00:00:00Z",
            "2031-01-06T23:00:00Z",
        ],
        &[
            "2026-06-30T23:59:59Z",
            "2026-07-13T00:00:00Z",
            "2031-01-07T00:00:00Z",
            "2030-12-23T23:00:00Z",
        ],
    );
    check(
        serde_json::json!({"ranges": [{"from": "02-28", "to": "03-01"}]}),
        &[
            "2027-02-28T00:00:00Z",
            "2027-03-01T00:00:00Z",
            "2028-02-29T00:00:00Z",
        ],
        &["2027-02-27T00:00:00Z", "2027-03-02T00:00:00Z"],
    );
}

#[test]
fn weekdays_and_hours_come_every_week() {
    // 2026-11-28 is a Saturday.
    check(
        serde_json::json!({"weekdays": ["sat-SUN"], "hours": [{"days": ["FRI"], "from": "22:00", "to": "06:00"},
            {"from": "12:00", "to": "12:30"}]}),
        &[
            "2026-11-28T00:00:00Z",
            "2026-11-29T23:59:59Z",
            "2026-11-27T22:00:00Z",
            "2026-11-25T12:00:00Z",
            "2026-11-25T12:29:59.999Z",
        ],
        &[
            "2026-11-30T00:00:00Z",
            "2026-11-27T21:59:59.999Z",
            "2026-11-25T12:30:00Z",
            "2026-11-26T22:00:00Z",
        ],
    );
    // Saturday night runs into the next week.
    check(
        serde_json::json!({"hours": [{"days": ["SAT"], "from": "22:00", "to": "06:00"}]}),
        &["2026-11-28T22:00:00Z", "2026-11-29T05:59:59Z"],
        &["2026-11-28T21:59:59Z", "2026-11-29T06:00:00Z"],
    );
}

#[test]
fn include_means_that_all_else_rests() {
    check(
        serde_json::json!({"mode": "include", "hours": [{"days": ["MON-FRI"], "from": "08:00", "to": "24:00"}]}),
        &[
            "2026-11-28T12:00:00Z",
            "2026-11-27T07:59:59Z",
            "2026-11-28T00:00:00Z",
        ],
        &["2026-11-27T08:00:00Z", "2026-11-27T23:59:59Z"],
    );
}

#[test]
fn days_are_those_of_the_calendars_zone_and_else_of_the_tasks() {
    let own = calendar(serde_json::json!({"dates": ["2026-12-25"], "timezone": "Europe/Berlin"}));
    let none = calendar(serde_json::json!({"dates": ["2026-12-25"]}));
    let t = Timestamp::parse("2026-12-24T23:30:00Z").unwrap();
    assert!(own.excludes(t, &zone("America/New_York")));
    assert!(!none.excludes(t, &zone("America/New_York")));
    assert!(none.excludes(t, &zone("Europe/Berlin")));
}

fn refused(json: serde_json::Value, field: &str, remedy: &str) {
    let error = read(json).validate().unwrap_err();
    assert_eq!(error.field, field, "{error}");
    assert!(error.message.contains(remedy), "{error}");
}

#[test]
fn refusals_name_the_entry_and_the_remedy() {
    for (json, field, remedy) in [
        (
            serde_json::json!({"dates": ["12-25", "2026-02-29"]}),
            "dates[1]",
            "write a date",
        ),
        (
            serde_json::json!({"dates": ["2026-1-1"]}),
            "dates[0]",
            "write a date",
        ),
        (
            serde_json::json!({"dates": ["13-01"]}),
            "dates[0]",
            "write a date",
        ),
        (
            serde_json::json!({"ranges": [{"from": "2026-02-02", "to": "2026-02-01"}]}),
            "ranges[0].to",
            "write a later day",
        ),
        (
            serde_json::json!({"ranges": [{"from": "2026-02-02", "to": "02-05"}]}),
            "ranges[0].to",
            "write two dates",
        ),
        (
            serde_json::json!({"ranges": [{"from": "x", "to": "02-05"}]}),
            "ranges[0].from",
            "write a date",
        ),
    ] {
        refused(json, field, remedy);
    }
}

#[test]
fn refusals_of_weekdays_hours_and_the_whole_do_so_too() {
    for (json, field, remedy) in [
        (
            serde_json::json!({"weekdays": ["MON", "SATURDAY"]}),
            "weekdays[1]",
            "MON-FRI",
        ),
        (
            serde_json::json!({"hours": [{"from": "8:00", "to": "10:00"}]}),
            "hours[0].from",
            "08:30",
        ),
        (
            serde_json::json!({"hours": [{"from": "08:00", "to": "08:00"}]}),
            "hours[0].to",
            "weekdays",
        ),
        (
            serde_json::json!({"hours": [{"from": "08:00", "to": "24:01"}]}),
            "hours[0].to",
            "24:00",
        ),
        (
            serde_json::json!({"hours": [{"days": ["MO"], "from": "08:00", "to": "09:00"}]}),
            "hours[0].days[0]",
            "MON-FRI",
        ),
        (
            serde_json::json!({"timezone": "Mars/Base"}),
            "timezone",
            "IANA",
        ),
        (serde_json::json!({"mode": "include"}), "mode", "weekdays"),
        (
            serde_json::json!({"dates": vec!["01-01"; ENTRIES_MAX + 1]}),
            "dates",
            "limit",
        ),
    ] {
        refused(json, field, remedy);
    }
    let unknown = serde_json::json!({"name": "c", "date": []});
    assert!(serde_json::from_value::<CalendarSpec>(unknown).is_err());
    let no_name = CalendarSpec::default();
    assert_eq!(no_name.validate().unwrap_err().field, "name");
}

#[test]
fn what_is_stored_reads_back_the_same_and_holds_no_defaults() {
    let spec =
        read(serde_json::json!({"dates": ["12-25"], "hours": [{"from": "22:00", "to": "06:00"}]}));
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(
        json,
        r#"{"name":"c","dates":["12-25"],"hours":[{"from":"22:00","to":"06:00"}]}"#
    );
    assert_eq!(serde_json::from_str::<CalendarSpec>(&json).unwrap(), spec);
}

/// Random entries and what they list, asked one by one.
fn entries() -> impl Strategy<Value = CalendarSpec> {
    let date = (2024..2028_i32, 1..=12_u32, 1..=28_u32);
    let dates = prop::collection::vec((date, any::<bool>()), 0..6);
    let range = (0..12_u32, 1..=28_u32, 0..60_i64);
    let ranges = prop::collection::vec(range, 0..4);
    let hours = prop::collection::vec((0..7_usize, 0..24_u32, 1..24_u32), 0..4);
    let weekdays = prop::collection::vec(0..7_usize, 0..3);
    (dates, ranges, hours, weekdays, any::<bool>()).prop_map(
        |(dates, ranges, hours, weekdays, include)| {
            const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
            let text = |((y, m, d), yearly): ((i32, u32, u32), bool)| match yearly {
                true => format!("{m:02}-{d:02}"),
                false => format!("{y}-{m:02}-{d:02}"),
            };
            let range = |(month, day, length): (u32, u32, i64)| {
                let from = jiff::civil::date(
                    2026,
                    i8::try_from(month).unwrap() % 12 + 1,
                    i8::try_from(day).unwrap(),
                );
                let to = from.checked_add(jiff::Span::new().days(length)).unwrap();
                DayRange {
                    from: from.to_string(),
                    to: to.to_string(),
                }
            };
            let stretch = |(day, from, length): (usize, u32, u32)| Hours {
                days: vec![NAMES[day].to_owned()],
                from: format!("{from:02}:00"),
                to: format!("{:02}:00", (from + length) % 24),
            };
            CalendarSpec {
                name: "c".to_owned(),
                mode: if include {
                    Mode::Include
                } else {
                    Mode::Exclude
                },
                dates: dates.into_iter().map(text).collect(),
                ranges: ranges.into_iter().map(range).collect(),
                hours: hours.into_iter().map(stretch).collect(),
                weekdays: weekdays.into_iter().map(|w| NAMES[w].to_owned()).collect(),
                ..CalendarSpec::default()
            }
        },
    )
}

/// The definition, word by word, with an independent calendar.
fn listed_by_definition(spec: &CalendarSpec, at: &jiff::civil::DateTime) -> bool {
    let (day, name) = (
        at.date().to_string(),
        at.strftime("%a").to_string().to_uppercase(),
    );
    let yesterday = at
        .yesterday()
        .unwrap()
        .strftime("%a")
        .to_string()
        .to_uppercase();
    let time = at.strftime("%H:%M").to_string();
    spec.dates.iter().any(|d| *d == day || *d == day[5..])
        || spec.ranges.iter().any(|r| r.from <= day && day <= r.to)
        || spec.weekdays.contains(&name)
        || spec.hours.iter().any(|h| match h.from < h.to {
            true => h.days[0] == name && h.from <= time && time < h.to,
            false => {
                (h.days[0] == name && h.from <= time) || (h.days[0] == yesterday && time < h.to)
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn fast_answers_are_the_definitions(spec in entries(), start in 1_704_067_200_i64..1_830_297_600) {
        let Ok(calendar) = Calendar::compile(spec.clone(), 1) else { return Ok(()) };
        let utc = TimeZoneName::utc();
        let mut any = false;
        for hour in 0..400 {
            let at = jiff::Timestamp::from_second(start + hour * 3_600).unwrap();
            let listed = listed_by_definition(&spec, &jiff::tz::Offset::UTC.to_datetime(at));
            let excluded = listed == (spec.mode == Mode::Exclude);
            prop_assert_eq!(calendar.excludes(Timestamp::from_ms(at.as_millisecond()), &utc), excluded, "{}", at);
            any |= excluded;
        }
        let from = Timestamp::from_ms(start * 1_000);
        let until = Timestamp::from_ms((start + 400 * 3_600) * 1_000);
        prop_assert!(!any || calendar.rests_within(from, until, &utc));
    }
}
