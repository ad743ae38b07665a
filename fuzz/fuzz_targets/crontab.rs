//! Any text as a crontab: every line that says something is an entry, an assignment or a refusal with its reason; the
//! schedule of an entry reads as one; nothing is larger than the text it came from.

#![no_main]

use campanile_schedule::crontab::{self, Form};
use campanile_schedule::{Dialect, Options, Schedule, TimeZoneName};
use campanile_schedule::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let detected = Form::detect(None, text);
    for form in [Form::User, Form::System] {
        let table = crontab::parse(text, form);
        let lines = text.lines().count();
        assert_eq!(crontab::parse_bytes(data, form), table);
        let _ = form.doubt(&table);
        assert!(table.entries.len() + table.refused.len() <= lines);
        for entry in &table.entries {
            assert!((1..=lines).contains(&entry.line));
            assert_eq!(entry.user.is_some(), form == Form::System);
            assert!(entry.command.len() <= text.len());
            reads(&entry.schedule, entry.timezone.as_ref());
        }
        for refused in &table.refused {
            assert_eq!(text.lines().nth(refused.line - 1), Some(&*refused.text));
            assert!(!refused.reason.is_empty() && refused.reason.len() < 1_000);
        }
    }
    assert!(matches!(detected, Form::User | Form::System));
});

fn reads(schedule: &str, timezone: Option<&TimeZoneName>) {
    let mut options = Options {
        dialect: Dialect::Unix,
        anchor: Timestamp::from_ms(0),
        name_for_hash: "task".to_owned(),
        ..Options::default()
    };
    if let Some(zone) = timezone {
        options.timezone = zone.clone();
    }
    if let Err(error) = Schedule::parse(Some(schedule), &options) {
        panic!("{schedule}: {error}");
    }
}
