//! Any text as a task file: TOML, YAML or JSON by the first byte. It is read or refused, never a panic; a refusal is one
//! line that a terminal may show, of a bounded length; what was read is valid or names its field, and is read again as
//! the same from the JSON it is stored as.

#![no_main]

use std::path::Path;

use campanile_schedule::calendar::Calendar;
use campanile_core::task::TaskSpec;
use campanile_schedule::time::Timestamp;
use campanile_server::taskfile::TaskFile;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["tasks.toml", "tasks.yaml", "tasks.json"];
/// A file's own words come back in a refusal, but not all of them.
const REFUSAL_BYTES_MAX: usize = 16_000;

fuzz_target!(|data: &[u8]| {
    let Some((form, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let name = NAMES[usize::from(*form) % NAMES.len()];
    let file = match TaskFile::parse(text, Path::new(name)) {
        Ok(file) => file,
        Err(refused) => {
            let said = refused.to_string();
            assert!(said.starts_with(name), "{said}");
            assert!(said.len() < REFUSAL_BYTES_MAX, "{} bytes", said.len());
            return;
        }
    };
    let now = Timestamp::from_ms(1_790_000_000_000);
    for task in &file.definitions.tasks {
        let stored = serde_json::to_string(task).unwrap();
        let again: TaskSpec = serde_json::from_str(&stored).unwrap();
        assert_eq!(&again, task);
        if let Err(invalid) = task.validate(now) {
            assert!(!invalid.field.is_empty());
            assert!(invalid.to_string().len() < REFUSAL_BYTES_MAX);
        }
    }
    for calendar in file.definitions.calendars {
        if let Err(invalid) = Calendar::compile(calendar, 1) {
            assert!(!invalid.field.is_empty());
        }
    }
});
