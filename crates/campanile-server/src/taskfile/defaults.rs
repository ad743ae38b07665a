//! `[defaults]` of a task file: what its tasks have where they don't say otherwise. Owns the rule: a field that a task writes
//! counts whole, and the default of that field not at all; labels alone are merged, key by key. It judges each value once,
//! where it stands, so that no task is blamed for it.

use campanile_core::misread::Misread;
use campanile_core::task::TaskSpec;
use campanile_schedule::TimeZoneName;
use serde_json::{Map, Value, json};

use crate::definitions;
use crate::document::Form;
use crate::document::path::Step;

/// Its name in a file.
pub(super) const DEFAULTS: &str = "defaults";
/// The field that is merged.
const LABELS: &str = "labels";
/// Fields that are each task's own.
const OWN: [&str; 6] = [
    "name",
    "description",
    "schedule",
    "handler",
    "payload",
    "paused",
];

/// The fields that tasks have where they don't say otherwise.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults(Map<String, Value>);

impl Defaults {
    /// Reads and checks them.
    ///
    /// # Errors
    /// The field at fault.
    pub(super) fn read(value: Value, form: Form) -> Result<Self, Box<Misread>> {
        let wrong = |field: &str, message: String| {
            Box::new(Misread {
                field: field.to_owned(),
                message,
                fix: None,
            })
        };
        let fields = match value {
            Value::Null => return Ok(Self::default()),
            Value::Object(fields) => fields,
            _ => {
                let message = "is not a table of fields: write those that all tasks share, as in timezone = \"UTC\"";
                return Err(wrong("", message.to_owned()));
            }
        };
        if let Some(own) = OWN.into_iter().find(|own| fields.contains_key(*own)) {
            let message = "is each task's own: write it there".to_owned();
            return Err(wrong(own, message));
        }
        let mut whole = fields.clone();
        whole.insert("name".to_owned(), json!("any"));
        whole.insert("handler".to_owned(), json!({"native": "any"}));
        let spec: TaskSpec = definitions::read(&Value::Object(whole), form)?;
        spec.validate_fields()
            .map_err(|e| wrong(&e.field, e.message))?;
        TimeZoneName::parse(&spec.timezone).map_err(|e| wrong("timezone", e.message))?;
        Ok(Self(fields))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owner that they name.
    pub(super) fn owner(&self) -> Option<&str> {
        self.0.get("owner").and_then(Value::as_str)
    }

    /// A task's own fields, and those of the defaults that it leaves out.
    pub(super) fn beneath(&self, task: Value) -> Value {
        let lent = self.lent_to(&task);
        match task {
            Value::Object(mut own) if !lent.is_empty() => {
                for (field, value) in lent {
                    merge(&mut own, field, value);
                }
                Value::Object(own)
            }
            other => other,
        }
    }

    /// What of them a task has.
    pub(super) fn lent_to(&self, task: &Value) -> Map<String, Value> {
        let Some(own) = task.as_object() else {
            return Map::new();
        };
        let lent = self.0.iter().filter_map(|(field, value)| {
            let value = match own.get(field) {
                None => value.clone(),
                Some(Value::Object(has)) if field == LABELS => {
                    let mut rest = value.as_object().cloned().unwrap_or_default();
                    rest.retain(|key, _| !has.contains_key(key));
                    if rest.is_empty() {
                        return None;
                    }
                    Value::Object(rest)
                }
                Some(_) => return None,
            };
            Some((field.clone(), value))
        });
        lent.collect()
    }

    /// Whether a field of a task is one that it has from here.
    pub(super) fn lends(&self, task: &Value, field: &[Step]) -> bool {
        let [Step::Key(name), rest @ ..] = field else {
            return false;
        };
        let lent = self.lent_to(task);
        match (lent.get(name), rest) {
            (Some(Value::Object(labels)), [Step::Key(key), ..]) if name == LABELS => {
                labels.contains_key(key)
            }
            (Some(_), _) => task.get(name).is_none(),
            (None, _) => false,
        }
    }
}

fn merge(own: &mut Map<String, Value>, field: String, value: Value) {
    match (own.get_mut(&field), value) {
        (Some(Value::Object(has)), Value::Object(more)) => has.extend(more),
        (_, value) => {
            own.insert(field, value);
        }
    }
}
