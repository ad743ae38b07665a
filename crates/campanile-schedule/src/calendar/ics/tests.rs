//! Tests of the import: what becomes of each kind of event, and that nothing is left out in silence.

use proptest::prelude::*;

use super::*;

fn file(events: &str) -> String {
    let events = events
        .trim()
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("\r\n");
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-WR-CALNAME:Holidays\\, all\r\n{events}\r\nEND:VCALENDAR\r\n"
    )
}

/// Events by their lines, each in its component.
fn import(events: &[&str]) -> Imported {
    let all: Vec<String> = events
        .iter()
        .map(|e| format!("BEGIN:VEVENT\n{e}\nEND:VEVENT"))
        .collect();
    parse(&file(&all.join("\n")), "holidays", 2030).unwrap()
}

fn ranges(spec: &CalendarSpec) -> Vec<(&str, &str)> {
    spec.ranges
        .iter()
        .map(|r| (r.from.as_str(), r.to.as_str()))
        .collect()
}

#[test]
fn whole_days_become_dates_and_ranges() {
    let imported = import(&[
        "SUMMARY:Christmas\nDTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261226",
        "SUMMARY:No end\nDTSTART;VALUE=DATE:20270101",
        "SUMMARY:Same day twice\nDTSTART;VALUE=DATE:20270106\nDTEND;VALUE=DATE:20270106",
        "SUMMARY:Works holidays\nDTSTART;VALUE=DATE:20260801\nDTEND;VALUE=DATE:20260815\nTRANSP:TRANSPARENT",
        "SUMMARY:By length\nDTSTART;VALUE=DATE:20260901\nDURATION:P1W",
        "SUMMARY:By midnight\nDTSTART;TZID=\"Europe: Berlin\":20261003T000000\nDTEND;TZID=Europe/Berlin:20261004T000000",
    ]);
    assert_eq!(imported.remarks, []);
    assert_eq!(imported.spec.description.as_deref(), Some("Holidays, all"));
    assert_eq!(
        imported.spec.dates,
        ["2026-10-03", "2026-12-25", "2027-01-01", "2027-01-06"]
    );
    assert_eq!(
        ranges(&imported.spec),
        [("2026-08-01", "2026-08-14"), ("2026-09-01", "2026-09-07")]
    );
}

#[test]
fn the_same_day_of_every_year_stays_one_entry() {
    let imported = import(&[
        "DTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY",
        "DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=1;INTERVAL=1",
        "DTSTART;VALUE=DATE:20201230\nDTEND;VALUE=DATE:20210103\nRRULE:FREQ=YEARLY",
    ]);
    assert_eq!(imported.remarks, []);
    assert_eq!(imported.spec.dates, ["01-01", "12-25"]);
    assert_eq!(ranges(&imported.spec), [("12-30", "01-02")]);
}

#[test]
fn other_repetitions_are_spelled_out_and_the_end_is_told() {
    let imported = import(&[
        "SUMMARY:Thanksgiving\nDTSTART;VALUE=DATE:20271125\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
        "SUMMARY:Thrice\nDTSTART;VALUE=DATE:20260501\nRRULE:FREQ=YEARLY;COUNT=3\nEXDATE;VALUE=DATE:20270501",
        "SUMMARY:Listed\nDTSTART;VALUE=DATE:20260601\nRDATE;VALUE=DATE:20260603,20260605",
    ]);
    assert_eq!(
        imported.spec.dates,
        [
            "2026-05-01",
            "2026-06-01",
            "2026-06-03",
            "2026-06-05",
            "2027-11-25",
            "2028-05-01",
            "2028-11-23",
            "2029-11-22",
            "2030-11-28",
        ]
    );
    let told: Vec<String> = imported.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["line 4: `Thanksgiving` goes on after 2030: read the file again before that year ends"]
    );
    assert!(!imported.remarks[0].left_out);
}

#[test]
fn what_can_not_be_taken_is_named() {
    let imported = import(&[
        "SUMMARY:Meeting\nDTSTART:20261225T100000Z\nDTEND:20261225T110000Z",
        "SUMMARY:Called off\nDTSTART;VALUE=DATE:20261225\nSTATUS:CANCELLED",
        "SUMMARY:From then on\nDTSTART;VALUE=DATE:20261225\nRECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20261224",
        "SUMMARY:Never",
        "SUMMARY:No such day\nDTSTART;VALUE=DATE:20260230",
        "SUMMARY:Backwards\nDTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261220",
        "SUMMARY:Strange rule\nDTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYEASTER=1",
        "SUMMARY:Kept\nDTSTART;VALUE=DATE:20260101\nBEGIN:VALARM\nDTSTART:20200101T000000\nTRIGGER:-PT1H\nEND:VALARM",
    ]);
    let words = [
        "time of day",
        "cancelled",
        "all days after it",
        "no DTSTART",
        "20260230",
        "DTEND is before DTSTART",
        "BYEASTER",
    ];
    assert_eq!(
        imported.remarks.len(),
        words.len(),
        "{:?}",
        imported.remarks
    );
    for (remark, word) in imported.remarks.iter().zip(words) {
        assert!(
            remark.left_out && remark.to_string().contains(word),
            "{remark}"
        );
    }
    assert_eq!(imported.spec.dates, ["2026-01-01"]);
    let todo = parse(
        &file("BEGIN:VTODO\nSUMMARY:x\nEND:VTODO\nBEGIN:VTIMEZONE\nTZID:x\nEND:VTIMEZONE"),
        "c",
        2030,
    );
    assert_eq!(todo.unwrap().remarks[0].entry, "VTODO");
}

#[test]
fn folded_lines_are_one_and_escapes_are_read() {
    let text = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:A long\\, fol\n ded title\nDTSTART;VALUE=DATE:2026\n\t1225T1\nEND:VEVENT\nEND:VCALENDAR";
    let imported = parse(text, "c", 2030).unwrap();
    assert_eq!(imported.remarks[0].entry, "A long, folded title");
}

#[test]
fn what_is_no_calendar_file_is_refused_with_its_line() {
    for (text, word) in [
        ("", "whole"),
        ("hello", "line 1"),
        ("BEGIN:VCARD\nEND:VCARD", "VCALENDAR"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR", "line 3"),
        ("BEGIN:VCALENDAR\n", "whole"),
        ("SUMMARY:x", "VCALENDAR"),
    ] {
        let error = parse(text, "c", 2030).unwrap_err();
        assert!(
            error.field == "ics" && error.message.contains(word),
            "{text}: {error}"
        );
    }
    assert_eq!(
        parse("BEGIN:VCALENDAR\nEND:VCALENDAR", "a b", 2030)
            .unwrap_err()
            .field,
        "name"
    );
}

#[test]
fn lines_that_say_nothing_are_passed_over() {
    let imported =
        import(&["SUMMARY:Easter\nRRULE:\nEXDATE:\nRDATE:\nEXRULE:\nDTSTART;VALUE=DATE:20260405"]);
    assert_eq!((imported.remarks.len(), imported.taken), (0, 1));
    assert_eq!(imported.spec.dates, ["2026-04-05"]);
}

#[test]
fn days_that_are_left_out_may_have_a_time() {
    for (left_out, dates) in [
        (
            "EXDATE:20260112T000000Z",
            ["2026-01-05", "2026-01-19", "2026-01-26"],
        ),
        // Midnight in Berlin, and in New York, as instants.
        (
            "EXDATE:20260111T230000Z",
            ["2026-01-05", "2026-01-19", "2026-01-26"],
        ),
        (
            "EXDATE:20260112T050000Z",
            ["2026-01-05", "2026-01-19", "2026-01-26"],
        ),
        (
            "EXDATE;TZID=Europe/Berlin:20260105T000000,20260112T000000\nRDATE;VALUE=DATE:20260112",
            ["2026-01-12", "2026-01-19", "2026-01-26"],
        ),
    ] {
        let imported = import(&[&format!(
            "DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=4\n{left_out}"
        )]);
        if left_out.contains("RDATE") {
            assert_eq!(imported.spec.dates, ["2026-01-19", "2026-01-26"]);
        } else {
            assert_eq!(imported.spec.dates, dates, "{left_out}");
        }
        assert_eq!(imported.remarks.len(), 1, "{:?}", imported.remarks);
        assert!(
            !imported.remarks[0].left_out && imported.remarks[0].message.contains("read as days")
        );
    }
}

#[test]
fn rules_of_what_is_left_out_are_kept() {
    let imported = import(&[
        "DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;UNTIL=20260228\nEXRULE:FREQ=MONTHLY;BYDAY=1MO",
        "SUMMARY:Odd\nDTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;COUNT=3\nEXRULE:FREQ=SOMETIMES",
        "DTSTART;VALUE=DATE:20270104\nRRULE:FREQ=WEEKLY;COUNT=2\nRRULE:FREQ=MONTHLY;COUNT=2",
    ]);
    assert_eq!(
        imported.spec.dates,
        [
            "2026-01-12",
            "2026-01-19",
            "2026-01-26",
            "2026-02-09",
            "2026-02-16",
            "2026-02-23",
            "2027-01-04",
            "2027-01-11",
            "2027-02-04"
        ]
    );
    assert!(imported.remarks[0].left_out && imported.remarks[0].message.contains("SOMETIMES"));
}

#[test]
fn the_last_state_of_an_event_counts() {
    let imported = import(&[
        "UID:a\nSUMMARY:New\nSEQUENCE:2\nDTSTART;VALUE=DATE:20260601",
        "UID:a\nSUMMARY:Old\nSEQUENCE:1\nDTSTART;VALUE=DATE:20260602",
        "UID:b\nSUMMARY:First\nDTSTART;VALUE=DATE:20260701",
        "UID:b\nSUMMARY:Second\nDTSTART;VALUE=DATE:20260702",
        "SUMMARY:No id\nDTSTART;VALUE=DATE:20260801",
        "SUMMARY:None either\nDTSTART;VALUE=DATE:20260802",
    ]);
    assert_eq!(
        imported.spec.dates,
        ["2026-06-01", "2026-07-02", "2026-08-01", "2026-08-02"]
    );
    let told: Vec<_> = imported
        .remarks
        .iter()
        .map(|r| (r.entry.as_str(), r.left_out))
        .collect();
    assert_eq!(told, [("Old", true), ("First", true)]);
    assert!(
        imported.remarks[0]
            .message
            .contains("earlier state of the event of line 4")
    );
    assert_eq!(imported.taken, 4);
}

#[test]
fn days_that_were_changed_are_moved_or_removed() {
    let weekly = "UID:a\nSUMMARY:Weekly\nDTSTART;VALUE=DATE:20260420\nRRULE:FREQ=WEEKLY;COUNT=4";
    let imported = import(&[
        weekly,
        "UID:a\nSUMMARY:Moved\nRECURRENCE-ID;VALUE=DATE:20260427\nDTSTART;VALUE=DATE:20260426",
        "UID:a\nSUMMARY:Off\nRECURRENCE-ID:20260503T220000Z\nSTATUS:CANCELLED\nDTSTART;VALUE=DATE:20260504",
        "UID:a\nSUMMARY:At ten\nRECURRENCE-ID;VALUE=DATE:20260511\nDTSTART:20260511T100000\nDTEND:20260511T110000",
        "UID:a\nSUMMARY:Of nothing\nRECURRENCE-ID;VALUE=DATE:20270101\nSTATUS:CANCELLED\nDTSTART;VALUE=DATE:20270101",
        "UID:z\nSUMMARY:Alone\nRECURRENCE-ID;VALUE=DATE:20260601\nDTSTART;VALUE=DATE:20260602",
        "UID:y\nDTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY;UNTIL=20221231",
        "UID:y\nRECURRENCE-ID;VALUE=DATE:20211225\nDTSTART;VALUE=DATE:20211227",
    ]);
    assert_eq!(
        imported.spec.dates,
        [
            "2020-12-25",
            "2021-12-27",
            "2022-12-25",
            "2026-04-20",
            "2026-04-26",
            "2026-06-02"
        ]
    );
    let told: Vec<_> = imported
        .remarks
        .iter()
        .map(|r| (r.entry.as_str(), r.left_out))
        .collect();
    assert_eq!(told, [("At ten", true), ("Of nothing", true)]);
    assert_eq!(imported.taken, 6);
}

#[test]
fn all_day_is_read_in_every_spelling() {
    for (event, days) in [
        ("DTSTART:20261224T000000\nDTEND:20261224T235959", 1),
        (
            "DTSTART;TZID=W. Europe Standard Time:20261224T000000\nDTEND;TZID=W. Europe Standard Time:20261225T235900",
            2,
        ),
        ("DTSTART:20261224T000000\nDURATION:PT24H", 1),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P1DT0H0M0S", 1),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P1D", 1),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:PT0S", 1),
        ("DTSTART:20261224T000000\nDURATION:PT47H59M59S", 2),
        (
            "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE\nDTSTART:20261223T230000Z\nDTEND:20261224T230000Z",
            1,
        ),
        (
            "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE\nDTSTART:20261224T050000Z\nDTEND:20261226T050000Z",
            2,
        ),
        (
            "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE\nDTSTART;TZID=Pacific Standard Time:20261224T000000\nDTEND;TZID=Pacific Standard Time:20261225T000000",
            1,
        ),
    ] {
        let imported = import(&[event]);
        assert_eq!(imported.remarks, [], "{event}");
        let spec = &imported.spec;
        if days == 1 {
            assert_eq!(
                (spec.dates.as_slice(), spec.ranges.len()),
                (&["2026-12-24".to_owned()][..], 0),
                "{event}"
            );
        } else {
            assert_eq!(ranges(spec), [("2026-12-24", "2026-12-25")], "{event}");
        }
    }
    for timed in [
        "DTSTART:20261224T000000\nDURATION:PT23H",
        "DTSTART:20261224T000000\nDTEND:20261224T120000",
        "DTSTART:20261224T220000Z\nDTEND:20261225T220000Z",
        "DTSTART;VALUE=DATE:20261224\nDURATION:P9999W",
    ] {
        assert!(import(&[timed]).remarks[0].left_out, "{timed}");
    }
}

#[test]
fn a_count_that_says_nothing_leaves_the_rest_of_the_rule() {
    let imported =
        import(&["DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=-1;UNTIL=20260120"]);
    assert_eq!(
        imported.spec.dates,
        ["2026-01-05", "2026-01-12", "2026-01-19"]
    );
    assert!(!imported.remarks[0].left_out && imported.remarks[0].message.contains("COUNT below 1"));
}

#[test]
fn what_would_take_too_much_is_refused_with_its_line() {
    let endless = "DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=DAILY";
    let refused = |count: usize| {
        let all = format!("BEGIN:VEVENT\n{endless}\nEND:VEVENT\n").repeat(count);
        parse(&file(&all), "c", 2036).unwrap_err().message
    };
    for count in [1_000, 19_990, 30_000] {
        let said = refused(count);
        let over =
            said.contains("would be spelled out") || said.contains("entries that a file may hold");
        assert!(said.starts_with("line ") && over, "{said}");
    }
    // A few of them are one stretch of days.
    let all = format!("BEGIN:VEVENT\n{endless}\nEND:VEVENT\n").repeat(20);
    let imported = parse(&file(&all), "c", 2036).unwrap();
    assert_eq!(ranges(&imported.spec), [("2020-01-01", "2036-12-31")]);
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_line() {
    let mut bytes =
        file("BEGIN:VEVENT\nSUMMARY:x\nDTSTART;VALUE=DATE:20260101\nEND:VEVENT").into_bytes();
    let at = bytes.iter().position(|b| *b == b'x').unwrap();
    bytes[at] = 0xfc;
    let error = parse_bytes(&bytes, "c", 2030).unwrap_err();
    assert!(
        error.message.starts_with("line 5: the byte 0xFC"),
        "{error}"
    );
    let marked = format!(
        "\u{feff}{}",
        file("BEGIN:VEVENT\nDTSTART;VALUE=DATE:20260101\nEND:VEVENT").replace("\r\n", "\n")
    );
    assert_eq!(parse_bytes(marked.as_bytes(), "c", 2030).unwrap().taken, 1);
}

fn event_lines() -> impl Strategy<Value = String> {
    let date = "2026(01|02|12)[012][0-9](T000000Z?|T235959|)";
    let part = prop_oneof![
        date.prop_map(|d| format!("DTSTART:{d}")),
        date.prop_map(|d| format!("DTEND:{d}")),
        date.prop_map(|d| format!("RECURRENCE-ID:{d}")),
        date.prop_map(|d| format!("EXDATE:{d}")),
        date.prop_map(|d| format!("RDATE:{d}")),
        "(UID:[ab]|SEQUENCE:[0-3]|STATUS:(CANCELLED|CONFIRMED)|DURATION:P(1D|T24H|T1H|)|RRULE:(FREQ=(DAILY|WEEKLY|YEARLY)(;COUNT=[0-9-]{1,2})?)?|EXRULE:FREQ=WEEKLY)",
    ];
    prop::collection::vec(part, 0..7).prop_map(|parts| parts.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        lines in prop::collection::vec("(BEGIN|END|DTSTART|DTEND|RRULE|EXDATE|SUMMARY)[:;]{1,2}[A-Z0-9=;:,é\" -]{0,20}", 0..12),
        value in "[0-9TZ]{0,16}",
        rule in "FREQ=(YEARLY|DAILY|HOURLY);[A-Z0-9=,;-]{0,20}",
    ) {
        let odd = lines.join("\n");
        let event = format!("BEGIN:VEVENT\nDTSTART:{value}\nRRULE:{rule}\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20260101\nRRULE:{rule}\nEND:VEVENT");
        for text in [odd.clone(), file(&odd), file(&event)] {
            drop(parse(&text, "c", 2030));
        }
    }

    #[test]
    fn each_event_is_taken_or_named(events in prop::collection::vec(event_lines(), 0..8)) {
        let all: Vec<String> = events.iter().map(|e| format!("BEGIN:VEVENT\n{e}\nEND:VEVENT")).collect();
        let imported = parse(&file(&all.join("\n")), "c", 2030).unwrap();
        let left_out = imported.remarks.iter().filter(|r| r.left_out).count();
        prop_assert_eq!(imported.taken + left_out, events.len(), "{:?}", imported);
    }
}
