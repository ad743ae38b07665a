//! Any text behind `RRULE:` as a recurrence, and what was read keeps the promises of every schedule. An input is built as
//! that of `cron`: eight bytes of choices, then the text; a target of its own, because from the texts of cron no fuzzer
//! finds its way here soon.

#![no_main]

use campanile_fuzz::{choose, read_or_refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((options, from, text)) = choose(data) else {
        return;
    };
    let known = ["RRULE", "DTSTART", "EXDATE", "RDATE", "FREQ"];
    if known.iter().any(|word| text.starts_with(word)) {
        read_or_refused(text, &options, from);
    } else {
        read_or_refused(&format!("RRULE:{text}"), &options, from);
    }
});
