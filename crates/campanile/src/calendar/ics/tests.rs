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
        "SUMMARY:Moved\nDTSTART;VALUE=DATE:20261225\nRECURRENCE-ID;VALUE=DATE:20261224",
        "SUMMARY:Never",
        "SUMMARY:No such day\nDTSTART;VALUE=DATE:20260230",
        "SUMMARY:Strange rule\nDTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYEASTER=1",
        "SUMMARY:Kept\nDTSTART;VALUE=DATE:20260101\nBEGIN:VALARM\nDTSTART:20200101T000000\nTRIGGER:-PT1H\nEND:VALARM",
    ]);
    let words = [
        "time of day",
        "cancelled",
        "one day",
        "no DTSTART",
        "20260230",
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
}
