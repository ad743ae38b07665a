//! The examples of the guides' pages: each definition is valid, and a task goes with the calendars beside it. What the
//! pages say about single expressions is tested with those.

use campanile_core::task::TaskSpec;
use campanile_schedule::calendar::{Calendar, CalendarSpec};
use campanile_schedule::time::Timestamp;

/// The TOML of a page, block by block.
fn examples(page: &str) -> Vec<toml::Table> {
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.map(|b| b.split("```").next().unwrap());
    blocks.map(|b| toml::from_str(b).unwrap()).collect()
}

fn entries_of<T: serde::de::DeserializeOwned>(table: &toml::Table, key: &str) -> Vec<T> {
    let all = table
        .get(key)
        .map_or(vec![], |v| v.as_array().unwrap().clone());
    all.into_iter().map(|v| v.try_into().unwrap()).collect()
}

#[test]
fn examples_of_the_guide_are_valid() {
    let pages = [
        include_str!("../../../docs/guide/calendars.md"),
        include_str!("../../../docs/guide/rrule.md"),
    ];
    let (mut calendars, mut tasks) = (0, 0);
    for table in pages.into_iter().flat_map(examples) {
        let specs = entries_of::<CalendarSpec>(&table, "calendar");
        let find = |name: &str| {
            let spec = specs.iter().find(|s| s.name == name)?;
            Some(std::sync::Arc::new(
                Calendar::compile(spec.clone(), 1).unwrap(),
            ))
        };
        calendars += specs.len();
        for task in entries_of::<TaskSpec>(&table, "task") {
            let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
            task.validate(now).unwrap();
            task.timetable(now, &find).unwrap();
            tasks += 1;
        }
        assert!(specs.iter().all(|s| s.validate().is_ok()));
    }
    assert_eq!((calendars, tasks), (4, 3));
}
