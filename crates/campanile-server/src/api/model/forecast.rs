//! The shape of a look ahead. The value is the library's own, which knows no OpenAPI: its schema is written beside the
//! routes, and a test holds the two together. Nothing is computed here.

use campanile_core::forecast::Forecast;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The schema, written by hand.
const SCHEMA: &str = include_str!("../forecast.schema.json");

/// What all tasks will start in the days ahead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plan(pub Forecast);

impl ToSchema for Plan {}

impl PartialSchema for Plan {
    fn schema() -> RefOr<Schema> {
        serde_json::from_str(SCHEMA).unwrap_or_else(|_| utoipa::openapi::Object::new().into())
    }
}

#[cfg(test)]
mod tests {
    use campanile_core::forecast::{Outage, Query, forecast};
    use campanile_core::task::TaskSpec;
    use campanile_schedule::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    /// Every object of a value has the fields that the schema names, and no others.
    fn agree(value: &Value, schema: &Value, path: &str) {
        match value {
            Value::Object(fields) => {
                let Some(known) = schema["properties"].as_object() else {
                    return assert!(schema["additionalProperties"].is_object(), "{path}");
                };
                for (name, inner) in fields {
                    let schema = known.get(name);
                    let schema = schema.unwrap_or_else(|| panic!("{path}.{name} has no schema"));
                    agree(inner, schema, &format!("{path}.{name}"));
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    assert!(fields.contains_key(name.as_str().unwrap()), "{path}.{name}");
                }
            }
            Value::Array(items) => {
                for item in items {
                    agree(item, &schema["items"], &format!("{path}[]"));
                }
            }
            Value::Number(_) => assert_eq!(schema["type"], "integer", "{path}"),
            Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{path}"),
            Value::String(_) => assert!(schema["type"].to_string().contains("string"), "{path}"),
            Value::Null => assert!(schema["type"].to_string().contains("null"), "{path}"),
        }
    }

    #[test]
    fn the_schema_says_what_the_value_has() {
        let at = |text| Timestamp::parse(text).unwrap();
        let spec = |name: &str, schedule: &str| -> TaskSpec {
            let task = json!({
                "name": name, "schedule": schedule, "timezone": "Europe/Berlin", "handler": { "native": "x" },
            });
            serde_json::from_value(task).unwrap()
        };
        let specs = [
            spec("a", "30 2 * * *"),
            spec("b", "*/5 * * * *"),
            spec("c", "at 2000-01-01T00:00:00Z"),
        ];
        let query = Query {
            outage: Some(Outage {
                from: at("2026-10-25T00:00:00Z"),
                until: at("2026-10-25T03:00:00Z"),
            }),
            ..Query::week(at("2026-10-24T00:00:00Z"))
        };
        let hour = std::time::Duration::from_secs(3_600);
        let tasks = specs
            .iter()
            .map(|s| (s, s.timetable(query.from, &|_| None).unwrap(), Some(hour)));
        let value = serde_json::to_value(Plan(forecast(&query, tasks).unwrap())).unwrap();
        for part in ["worst", "days", "clock_changes", "per_minute"] {
            assert!(!value[part].as_array().unwrap().is_empty(), "{part}");
        }
        assert!(!value["overlaps"]["tasks"].as_array().unwrap().is_empty());
        agree(&value, &serde_json::from_str(SCHEMA).unwrap(), "");
    }
}
