//! Any text as a schedule: it is read or refused, never a panic; and what was read keeps its promises about `next`,
//! `previous`, printing, sentences, translations and explained lists. The first eight bytes choose dialect, zone, rules
//! for changes of the clocks and an instant; the rest is the text.

#![no_main]

use campanile_fuzz::{choose, read_or_refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((options, from, text)) = choose(data) {
        read_or_refused(text, &options, from);
    }
});
