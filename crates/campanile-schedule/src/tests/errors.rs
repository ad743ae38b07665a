//! What is refused: each error names its field, points at the offending text and says what would be right.

use super::*;

fn refused(text: &str, dialect: Dialect) -> Error {
    let options = Options {
        dialect,
        ..Options::default()
    };
    Schedule::parse(Some(text), &options).expect_err(text)
}

/// Dialect | text, as it is between the bars but for one space at each end | field | place | part of the sentence.
const REFUSED: &str = "\
unix | 60 * * * * | minute | 0 | `60` is above 59
unix | 0 24 * * * | hour | 2 | `24` is above 23
unix |   0   1,2,99 * * * | hour | 10 | `99` is above 23
unix | 0 0 0 * * | day-of-month | 4 | `0` is below 1
unix | 0 0 * FOO * | month | 6 | `FOO` is not understood
unix | 0 0 * * 8 | day-of-week | 8 | `8` is above 7
unix | 0 0 * * MON- | day-of-week | 12 | `MON-` is not understood
unix | 0 22-2 * * * | hour | 2 | runs backwards
unix | */0 * * * * | minute | 2 | step of zero
unix | */ * * * * | minute | 2 | no number after `/`
unix | 5/15 * * * * | minute | 0 | write 5-59/15
unix | 1,,2 * * * * | minute | 2 | `` is not understood
unix | 0 0 ? * MON | day-of-month | 4 | write `*`
unix | 0 0 1 * ? | day-of-week | 8 | write `*`
unix | 0 0 * * L | day-of-week | 8 | names no day
unix | -5 * * * * | minute | 0 | not understood
unix | 99999999999999999999 * * * * | minute | 0 | not understood
unix | H * * * * | minute | 0 | task's name
unix | 0 0 é * * | day-of-month | 4 | `é` is not understood
unix | 0 9-99 * * * | hour | 4 | `9-99` is above 23
unix | 0 1x * * * | hour | 3 | `1x` is not understood
unix | 0 0 1-5,7-3x * * | day-of-month | 11 | not understood
unix | 0-30/1y * * * * | minute | 5 | no number after `/`
auto | * * * * | schedule | 0 | `* * * *` has 4 fields
auto | nonsense | schedule | 0 | has 1 field:
auto | * * * * * * * * | schedule | 0 | has 8 fields
unix | 0 0 0 * * * | schedule | 0 | unix cron has 5
spring | 0 0 * * * | schedule | 0 | spring has 6
quartz | 0 0 * * * | schedule | 0 | quartz has 6 or 7
auto |  | schedule | 0 | is empty
auto |     | schedule | 0 | is empty
auto | @reboot | schedule | 0 | start of a machine
quartz | @reboot | schedule | 0 | systemd unit
auto | @fortnightly | schedule | 0 | @weekly
quartz | @daily | schedule | 0 | not in the quartz dialect
spring | 0 0 22-2 * * * | hour | 4 | runs backwards
quartz | 0 0 0 15 * MON | day-of-month | 6 | are both given
quartz | 0 0 0 * * MON | day-of-month | 6 | are both given
quartz | 0 0 0 ? * ? | day-of-month | 6 | `?` and day-of-week `?` are both open
quartz | 0 0 0 ? * 0 | day-of-week | 10 | `0` is below 1
quartz | 0 0 0 W * ? | day-of-month | 6 | `W` is not understood
quartz | 0 0 0 L-31 * ? | day-of-month | 7 | no day before the last
quartz | 0 0 0 Lx * ? | day-of-month | 7 | no day before the last
quartz | 0 0 0 ? * 2#6 | day-of-week | 12 | takes 1 to 5
quartz | 0 0 0 ? * #2 | day-of-week | 10 | not understood
quartz | 0 */60 * * * ? | minute | 2 | steps over
quartz | 0 0 0 1 1 ? 1969 | year | 12 | `1969` is below 1970
quartz | 0 0 0 1 1 ? 2200 | year | 12 | `2200` is above 2199
quartz | 0 0 0 1 1 ? 2030-2020 | year | 12 | runs backwards
auto | every | interval | 5 | is not a duration
auto | every 10 | interval | 6 | is not a duration
auto | every 99ms | interval | 6 | the shortest is 100ms
auto | at noon | at | 3 | RFC 3339
";

#[test]
fn errors_point_at_the_bad_field() {
    for row in REFUSED.lines() {
        let [dialect, text, field, at, says] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let (dialect, at) = (dialect.parse().unwrap(), at.parse().unwrap());
        let error = refused(text, dialect);
        assert_eq!((error.field, error.at), (field, at), "{text}: {error}");
        let sentence = error.to_string();
        assert!(
            sentence.starts_with(field) && sentence.contains(says),
            "{text}: {sentence}"
        );
        assert!(!error.never_fires());
    }
}

#[test]
fn errors_say_what_would_be_right() {
    let sentence =
        "hour `24` is above 23; write 0-23, `*`, a list (8,20), a range (9-17) or a step (*/2)";
    assert_eq!(refused("0 24 * * *", Dialect::Unix).to_string(), sentence);
}

#[test]
fn what_can_never_fire_is_refused() {
    for (text, at) in [
        ("0 0 30 2 *", 4),
        ("0 0 0 31 2,4,6,9,11 *", 6),
        ("0 0 0 30 2 ?", 6),
        ("0 0 0 29 2 ? 2027", 6),
        ("0 0 0 ? APR SAT#5 2035", 6),
        ("0 0 0 L-30 2 ?", 6),
        ("0 0 0 1-7 * MON#2", 6),
    ] {
        let error = refused(text, Dialect::Auto);
        assert_eq!((error.field, error.at), ("day-of-month", at), "{text}");
        assert!(
            error.never_fires() && error.to_string().contains("can never fire"),
            "{error}"
        );
    }
}

#[test]
fn long_texts_are_refused_and_cut() {
    let list = vec!["0"; 2_000].join(",");
    assert!(
        refused(&format!("{list} * * * *"), Dialect::Auto)
            .to_string()
            .contains("longer than")
    );
    let error = refused(&format!("{} * * * *", "é".repeat(300)), Dialect::Auto);
    assert!(error.to_string().chars().count() < 200, "{error}");
}

/// What fuzzing found: these two repeated the whole text.
#[test]
fn errors_of_other_schedules_are_short_and_plain() {
    for word in ["every", "after", "at"] {
        let error = refused(&format!("{word} {}", "9 x".repeat(400)), Dialect::Auto);
        assert!(error.to_string().len() < 300, "{error}");
        assert_eq!((error.field, error.at), ("schedule", word.len() + 1));
    }
    let error = refused("0 0 * \u{1b}[2J *", Dialect::Unix);
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[test]
fn a_delay_after_an_end_is_read_and_stands_alone() {
    let options = Options::default();
    let read = |text: &str| Schedule::parse(Some(text), &options);
    let after = read("after 1h30m").unwrap();
    assert_eq!(after.to_string(), "after 1h30m");
    assert_eq!(read(&after.to_string()), Ok(after.clone()));
    let at = Timestamp::from_ms(5);
    assert_eq!(after.next(at), Some(Timestamp::from_ms(5_400_005)));
    assert_eq!(
        (after.previous(at), after.next(Timestamp::MAX)),
        (None, None)
    );
    for (text, field) in [
        ("after", "delay"),
        ("after soon", "delay"),
        ("after 99ms", "delay"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.field, field, "{text}: {error}");
    }
    let spelled = read("after 5 minutes").unwrap_err().to_string();
    assert!(spelled.contains("write `after 5m`"), "{spelled}");
    let both = ["after 5m".to_owned(), "0 2 * * *".to_owned()];
    let error = Schedule::parse_all(&both, &options).unwrap_err();
    assert!(error.to_string().contains("stands alone"), "{error}");
}

/// As with the first instant of anything else, the bound itself is the first.
#[test]
fn a_delay_after_an_end_begins_at_its_bound() {
    let at = Timestamp::from_ms;
    let after = Schedule::parse(Some("after 1s"), &Options::default()).unwrap();
    let bounded = after.bounded(&Bounds {
        starts_at: Some(at(10_000)),
        ends_at: Some(at(12_000)),
        ..Bounds::default()
    });
    assert_eq!(bounded.next(at(3_000)), Some(at(10_000)));
    assert_eq!(bounded.next(at(10_000)), Some(at(11_000)));
    assert_eq!(bounded.next(at(11_000)), Some(at(12_000)));
    assert_eq!(bounded.next(at(11_001)), None);
}

#[test]
fn unknown_zones_name_the_field() {
    for name in [
        "Mars/Olympus",
        "",
        "+01:00",
        "Europe/Berlin; rm",
        "../etc/passwd",
    ] {
        let error = TimeZoneName::parse(name).expect_err(name);
        assert_eq!(error.field, "timezone");
        assert!(error.to_string().contains("Europe/Berlin"), "{error}");
    }
    assert_eq!(
        TimeZoneName::parse("europe/berlin").unwrap().name(),
        "Europe/Berlin"
    );
    assert_eq!(TimeZoneName::parse("utc").unwrap().name(), "UTC");
    assert_eq!(
        serde_json::to_string(&TimeZoneName::utc()).unwrap(),
        "\"UTC\""
    );
    assert!(serde_json::from_str::<TimeZoneName>("\"Nowhere\"").is_err());
}

#[test]
fn dialects_have_names() {
    for dialect in [
        Dialect::Auto,
        Dialect::Unix,
        Dialect::Spring,
        Dialect::Quartz,
    ] {
        assert_eq!(dialect.to_string().parse::<Dialect>(), Ok(dialect));
        assert_eq!(
            serde_json::to_string(&dialect).unwrap(),
            format!("\"{dialect}\"")
        );
    }
    assert_eq!("cronie".parse::<Dialect>().unwrap_err().field, "dialect");
}
