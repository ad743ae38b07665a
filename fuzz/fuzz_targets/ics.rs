//! Any text as a calendar file: it is taken or refused, never a panic; what was taken is a valid calendar within the
//! limits, and what was left out is named with a line of the file. The first byte chooses the last year that is spelled
//! out.

#![no_main]

use campanile_schedule::calendar::{Calendar, ics};
use campanile_schedule::TimeZoneName;
use campanile_schedule::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((year, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match ics::parse(text, "c", 2_026 + i32::from(*year % 16)) {
        Ok(imported) => {
            for remark in &imported.remarks {
                let said = remark.to_string();
                assert!((1..=text.lines().count()).contains(&remark.line), "{said}");
                assert!(!said.chars().any(char::is_control), "{said:?}");
                assert!(said.len() < 1_500, "{} bytes", said.len());
            }
            let left_out = imported.remarks.iter().filter(|r| r.left_out).count();
            let events = text.matches("BEGIN").count();
            assert!(imported.taken + left_out <= events, "{imported:?}");
            let calendar = Calendar::compile(imported.spec, 1).unwrap();
            let zone = TimeZoneName::parse("Europe/Berlin").unwrap();
            let _ = calendar.excludes(Timestamp::from_ms(1_790_000_000_000), &zone);
        }
        Err(refused) => {
            let said = refused.to_string();
            assert!(!said.chars().any(char::is_control), "{said:?}");
            assert!(said.len() < 1_500, "{} bytes", said.len());
        }
    }
});
