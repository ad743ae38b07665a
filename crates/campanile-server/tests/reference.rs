//! The committed documents are those that the program makes.

use campanile_server::{api, cli};
use xtask::pages::is_committed;

#[test]
fn the_api_document() {
    let document = serde_json::to_string_pretty(&api::document()).unwrap();
    is_committed("openapi.json", &(document + "\n")).unwrap();
}

#[test]
fn the_table_of_rights() {
    is_committed("access.md", &api::access::page()).unwrap();
}

#[test]
fn the_pages_of_help() {
    let page = format!("# The command line\n\n{}\n", cli::reference().trim_end());
    is_committed("cli.md", &page).unwrap();
}

#[test]
fn the_schema_of_a_task_names_what_a_task_has() {
    let mut task = serde_json::json!({
        "name": "x", "owner": "o", "labels": { "team": "x" }, "description": "d", "schedule": "every 1s", "anchor": "2026-01-01T00:00:00Z", "payload": 1,
        "max_lateness": "1s", "paused": true, "handler": { "native": "x" }, "dst": { "gap": "skip" },
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z", "max_count": 7, "calendars": "c",
        "on_excluded": "next", "jitter": "1s", "start_deadline": "1s", "overlap_queue_max": 7, "max_running": 7, "log_bytes": 4096,
        "group": "g", "enabled": false,
    });
    let spec: campanile_core::task::TaskSpec = serde_json::from_value(task.take()).unwrap();
    let value = serde_json::to_value(spec).unwrap();
    let has: std::collections::BTreeSet<&String> = value.as_object().unwrap().keys().collect();
    let document = api::document();
    let schema = document["components"]["schemas"]["Task"]["properties"]
        .as_object()
        .unwrap();
    let named: std::collections::BTreeSet<&String> = schema
        .keys()
        .filter(|k| !api::model::TASK_EXTRAS.contains(&k.as_str()))
        .collect();
    assert_eq!(named, has);
}
