//! The heat map as XML: that it is well formed, holds what it should, and escapes what it is given.

use campanile_core::forecast::{Query, forecast};
use campanile_core::task::TaskSpec;
use campanile_schedule::TimeZoneName;

use super::*;

fn look(tasks: &[(&str, &str)], days: u16, zone: &str, from: &str) -> Forecast {
    let spec = |(name, schedule): &(&str, &str)| -> TaskSpec {
        let task = serde_json::json!({ "name": name, "schedule": schedule, "handler": { "native": "x" }, "timezone": zone });
        serde_json::from_value(task).unwrap()
    };
    let specs: Vec<TaskSpec> = tasks.iter().map(spec).collect();
    let query = Query {
        days,
        zone: TimeZoneName::parse(zone).unwrap(),
        ..Query::week(Timestamp::parse(from).unwrap())
    };
    let tasks = specs
        .iter()
        .map(|s| (s, s.timetable(query.from, &|_| None).unwrap(), None));
    forecast(&query, tasks).unwrap()
}

/// Tags are closed in order, attributes are quoted, and nothing bare stands between them.
fn is_well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml.trim();
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "{}", &rest[..at]);
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        assert!(
            !tag.contains('<') && tag.matches('"').count().is_multiple_of(2),
            "{tag}"
        );
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '/']).next().unwrap());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.is_empty(), "{open:?} {rest}");
    for (at, _) in xml.match_indices('&') {
        let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
        assert!(
            known.iter().any(|k| xml[at + 1..].starts_with(k)),
            "{}",
            &xml[at..at + 8]
        );
    }
}

#[test]
fn it_shows_days_cells_the_worst_minute_and_a_legend() {
    let tasks = [
        ("a&<b>", "0 0 * * *"),
        ("c", "0 0 * * *"),
        ("d", "*/20 * * * *"),
    ];
    let drawn = svg(&look(&tasks, 2, "Europe/Berlin", "2027-03-27T23:00:00Z"));
    is_well_formed(&drawn);
    for part in [
        "role=\"img\"",
        "<title id=\"t\">Starts ahead, 2 days in Europe/Berlin</title>",
        "prefers-color-scheme:dark",
        ">2027-03-28</text>",
        "short day · ",
        "<title>2027-03-29 00:00: 3 starts, 3 in the busiest minute</title>",
        "<title>worst minute 2027-03-28 00:00: 3 starts (a&amp;&lt;b&gt; 1, c 1, d 1)</title>",
        "starts in the busiest minute of 5 minutes",
    ] {
        assert!(drawn.contains(part), "{part}\n{drawn}");
    }
    assert!(!drawn.contains("<script") && !drawn.contains("2027-03-28 02:20"));
}

#[test]
fn nothing_and_a_year_are_drawn_as_well() {
    let nothing = svg(&look(&[], 7, "UTC", "2026-11-26T00:00:00Z"));
    is_well_formed(&nothing);
    assert!(nothing.contains("nothing starts"));
    let year = svg(&look(
        &[("a", "0 * * * *")],
        366,
        "UTC",
        "2026-11-26T00:00:00Z",
    ));
    is_well_formed(&year);
    assert!(year.len() < 2_000_000, "{}", year.len());
}

#[test]
fn colours_are_even_on_a_logarithmic_scale_and_end_with_the_highest() {
    let wide = bounds(100_000);
    assert_eq!(wide, [4, 26, 138, 719, 3_727, 19_306, 100_000]);
    assert_eq!(
        (class(&wide, 1), class(&wide, 4), class(&wide, 5)),
        (1, 1, 2)
    );
    assert_eq!((class(&wide, 19_307), class(&wide, 100_000)), (7, 7));
    assert_eq!(bounds(1), [1]);
    assert_eq!(class(&bounds(1), 1), 7);
    assert_eq!(bounds(0), [] as [u32; 0]);
    assert_eq!(
        (grouped(0), grouped(999), grouped(1_234_567)),
        ("0".into(), "999".into(), "1,234,567".into())
    );
}
