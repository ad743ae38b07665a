//! Makes a value of what a reader meets, step by step. Owns the rules that all forms share: depth, keys that come
//! twice, and the place of a field that is looked for. It reads no text.

use serde_json::{Map, Value};

use super::path::Step;
use super::{DEPTH_MAX, Stop, too_deep};

/// A value in the making.
#[derive(Debug, Default)]
pub(super) struct Builder<'w> {
    open: Vec<Open>,
    done: Option<Value>,
    /// The field whose place is looked for, what of its path was met so far, and where.
    wanted: Option<&'w [Step]>,
    met: usize,
    found: Option<usize>,
}

#[derive(Debug)]
enum Open {
    List(Vec<Value>),
    Object {
        fields: Map<String, Value>,
        key: Option<String>,
    },
}

impl<'w> Builder<'w> {
    /// One that also looks for a field's place.
    pub(super) fn watching(wanted: &'w [Step]) -> Self {
        Self {
            wanted: Some(wanted),
            ..Self::default()
        }
    }

    pub(super) fn finish(self) -> Value {
        self.done.unwrap_or(Value::Null)
    }

    /// The place of the field, or of what is nearest around it.
    pub(super) fn found(&self) -> Option<usize> {
        self.found
    }

    /// The path to what is being built.
    pub(super) fn path(&self) -> Vec<Step> {
        let steps = self.open.iter().filter_map(|open| match open {
            Open::List(values) => Some(Step::Index(values.len())),
            Open::Object { key, .. } => key.clone().map(Step::Key),
        });
        steps.collect()
    }

    /// How many lists and objects are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    pub(super) fn begin_list(&mut self, at: usize) -> Result<(), Stop> {
        self.begin(at, Open::List(Vec::new()))
    }

    pub(super) fn begin_object(&mut self, at: usize) -> Result<(), Stop> {
        let (fields, key) = (Map::new(), None);
        self.begin(at, Open::Object { fields, key })
    }

    /// The key of the value that comes next.
    pub(super) fn key(&mut self, at: usize, name: String) -> Result<(), Stop> {
        let Some(Open::Object { fields, key }) = self.open.last_mut() else {
            return Ok(());
        };
        let twice = fields.contains_key(&name);
        *key = Some(name);
        if twice {
            return Err(Stop::field(at, "is there twice: take one of the two away"));
        }
        self.meet(at);
        Ok(())
    }

    pub(super) fn scalar(&mut self, at: usize, value: Value) {
        self.meet_element(at);
        self.put(value);
    }

    /// Ends the list or the object that was begun last.
    pub(super) fn end(&mut self) {
        match self.open.pop() {
            Some(Open::List(values)) => self.put(Value::Array(values)),
            Some(Open::Object { fields, .. }) => self.put(Value::Object(fields)),
            None => {}
        }
    }

    /// The value that was put last, and whether it is an element or the value of a key: for YAML's anchors.
    pub(super) fn last(&self) -> Option<&Value> {
        match self.open.last() {
            None => self.done.as_ref(),
            Some(Open::List(values)) => values.last(),
            Some(Open::Object { fields, .. }) => fields.values().next_back(),
        }
    }

    fn begin(&mut self, at: usize, open: Open) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Stop::form(Some(at), too_deep()));
        }
        self.meet_element(at);
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some(Open::List(values)) => values.push(value),
            Some(Open::Object { fields, key }) => {
                if let Some(key) = key.take() {
                    fields.insert(key, value);
                }
            }
        }
    }

    fn meet_element(&mut self, at: usize) {
        if matches!(self.open.last(), Some(Open::List(_))) {
            self.meet(at);
        }
    }

    /// Notes a place if it is on the way to the field that is looked for.
    fn meet(&mut self, at: usize) {
        let Some(wanted) = self.wanted else { return };
        if self.met + 1 != self.open.len() {
            return;
        }
        let here = match (self.open.last(), wanted.get(self.met)) {
            (Some(Open::List(values)), Some(Step::Index(n))) => values.len() == *n,
            (Some(Open::Object { key, .. }), Some(Step::Key(k))) => key.as_ref() == Some(k),
            _ => false,
        };
        if here {
            self.met += 1;
            self.found = Some(at);
        }
    }
}
