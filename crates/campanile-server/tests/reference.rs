//! The committed documents are those that the program makes.

use std::path::Path;

use campanile_server::{api, cli};

/// Compares with a committed page; writes what it should be where it can be copied from.
fn is_committed(name: &str, made: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let committed = root.join("docs/reference").join(name);
    let fresh = root.join("target/reference").join(name);
    std::fs::create_dir_all(fresh.parent().unwrap()).unwrap();
    std::fs::write(&fresh, made).unwrap();
    let there = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        there == made,
        "docs/reference/{name} is not what the program makes: cp target/reference/{name} docs/reference/{name}"
    );
}

#[test]
fn the_api_document() {
    let document = serde_json::to_string_pretty(&api::document()).unwrap();
    is_committed("openapi.json", &(document + "\n"));
}

#[test]
fn the_pages_of_help() {
    let page = format!("# The command line\n\n{}\n", cli::reference().trim_end());
    is_committed("cli.md", &page);
}

#[test]
fn the_schema_of_a_task_names_what_a_task_has() {
    let mut task = serde_json::json!({
        "name": "x", "owner": "o", "description": "d", "schedule": "every 1s", "anchor": "2026-01-01T00:00:00Z", "payload": 1,
        "max_lateness": "1s", "paused": true, "handler": { "native": "x" }, "dst": { "gap": "skip" },
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z", "max_count": 7, "calendars": "c",
        "on_excluded": "next", "jitter": "1s", "start_deadline": "1s", "overlap_queue_max": 7, "max_running": 7,
        "group": "g", "enabled": false,
    });
    let spec: campanile::task::TaskSpec = serde_json::from_value(task.take()).unwrap();
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
