//! YAML. The library tells events, one by one, and is asked no further once the text goes too deep. Plain words are read
//! by the core schema of YAML 1.2: `yes` and `on` are texts, times are texts.
//!
//! The library looks ahead to the end of a list in brackets before it tells of it. So the brackets are counted first,
//! by [`flow`], which takes time for each character once.

mod flow;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Value;

use super::builder::Builder;
use super::{DEPTH_MAX, Stop, number, too_deep};

/// Values that aliases may add to a document.
const ALIASED_MAX: usize = 10_000;

struct Walk<'b, 'w> {
    builder: &'b mut Builder<'w>,
    /// What anchors stand for, by their numbers.
    anchors: HashMap<usize, Value>,
    /// The open lists and objects: their anchor, and for an object whether a key comes next.
    open: Vec<(usize, Option<bool>)>,
    aliased: usize,
}

pub(super) fn walk(text: &str, builder: &mut Builder<'_>) -> Result<(), Stop> {
    if let Some(at) = flow::too_deep_at(text, DEPTH_MAX) {
        return Err(Stop::form(Some(at), too_deep()));
    }
    let mut walk = Walk {
        builder,
        anchors: HashMap::new(),
        open: Vec::new(),
        aliased: 0,
    };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| syntax(text, &e))?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                let message = "a second document begins here: write one";
                return Err(Stop::form(Some(span.start.index()), message));
            }
        }
        walk.event(event, span)?;
    }
    Ok(())
}

impl Walk<'_, '_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = span.start.index();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.is_key() {
                    return self.key(at, &text);
                }
                let tag = tag.as_deref();
                let value = scalar(&text, style, tag).map_err(|m| Stop::field(at, m))?;
                if anchor > 0 {
                    self.anchors.insert(anchor, value.clone());
                }
                self.builder.scalar(at, value);
                self.value_ended();
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_as_key(at)?;
                plain_tag(tag.as_deref(), "seq").map_err(|m| Stop::field(at, m))?;
                self.builder.begin_list(at)?;
                self.open.push((anchor, None));
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_as_key(at)?;
                plain_tag(tag.as_deref(), "map").map_err(|m| Stop::field(at, m))?;
                self.builder.begin_object(at)?;
                self.open.push((anchor, Some(true)));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.builder.end();
                let anchor = self.open.pop().map_or(0, |(anchor, _)| anchor);
                if let (true, Some(value)) = (anchor > 0, self.builder.last()) {
                    self.anchors.insert(anchor, value.clone());
                }
                self.value_ended();
            }
            Event::Alias(anchor) => self.alias(at, anchor)?,
            _ => {}
        }
        Ok(())
    }

    fn is_key(&self) -> bool {
        matches!(self.open.last(), Some((_, Some(true))))
    }

    fn key(&mut self, at: usize, text: &str) -> Result<(), Stop> {
        if text == "<<" {
            let message = "`<<` merges another object into this one, which is not done here: write its fields out";
            return Err(Stop::field(at, message));
        }
        self.builder.key(at, text.to_owned())?;
        if let Some((_, key_next)) = self.open.last_mut() {
            *key_next = Some(false);
        }
        Ok(())
    }

    fn value_ended(&mut self) {
        if let Some((_, Some(key_next))) = self.open.last_mut() {
            *key_next = true;
        }
    }

    fn refuse_as_key(&self, at: usize) -> Result<(), Stop> {
        if self.is_key() {
            let message =
                "a list or an object stands where a key belongs: write a word before the colon";
            return Err(Stop::field(at, message));
        }
        Ok(())
    }

    /// Puts what an anchor stands for, once more. A copy of copies of copies is how small texts grow without bounds.
    fn alias(&mut self, at: usize, anchor: usize) -> Result<(), Stop> {
        self.refuse_as_key(at)?;
        let Some(value) = self.anchors.get(&anchor) else {
            let message = "an alias stands inside of what it names: write it out";
            return Err(Stop::field(at, message));
        };
        let (count, depth) = extent(value);
        self.aliased = self.aliased.saturating_add(count);
        if self.aliased > ALIASED_MAX {
            let message =
                format!("aliases would repeat more than {ALIASED_MAX} values: write fewer of them");
            return Err(Stop::field(at, message));
        }
        if self.builder.depth() + depth > DEPTH_MAX {
            return Err(Stop::form(Some(at), too_deep()));
        }
        let value = value.clone();
        self.builder.scalar(at, value);
        self.value_ended();
        Ok(())
    }
}

/// How many values there are in a value, itself included, and how deep. Its depth is bounded already.
fn extent(value: &Value) -> (usize, usize) {
    let sum = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(extent).fold((1_usize, 1), |(n, d), (m, e)| {
            (n.saturating_add(m), d.max(e + 1))
        })
    };
    match value {
        Value::Array(values) => sum(&mut values.iter()),
        Value::Object(fields) => sum(&mut fields.values()),
        _ => (1, 0),
    }
}

fn plain_tag(tag: Option<&Tag>, own: &str) -> Result<(), String> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == own => Ok(()),
        Some(tag) => Err(unknown_tag(tag)),
    }
}

fn unknown_tag(tag: &Tag) -> String {
    let shown: String = tag
        .suffix
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
        .collect();
    format!("the tag `!{shown}` means nothing here: take it away")
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => return Err(unknown_tag(tag)),
        Some(tag) if tag.suffix == "str" => return Ok(Value::String(text.to_owned())),
        Some(tag) if !matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") => {
            return Err(unknown_tag(tag));
        }
        None if style != ScalarStyle::Plain => return Ok(Value::String(text.to_owned())),
        _ => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(text, ".nan" | ".NaN" | ".NAN") || matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(number::not_finite(text));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            let message = || {
                format!(
                    "the number {text} is larger than any whole number here can be: write it as a text"
                )
            };
            return u64::from_str_radix(digits, radix)
                .map(Value::from)
                .map_err(|_| message());
        }
    }
    match json_number(text, unsigned) {
        Some(digits) => number::read(&digits).map(Value::Number),
        None => Ok(Value::String(text.to_owned())),
    }
}

/// A plain word as JSON writes numbers, if it is one. Digits behind a zero are a text: a postal code, a phone number.
fn json_number(text: &str, unsigned: &str) -> Option<String> {
    let (mantissa, exponent) = unsigned
        .split_once(['e', 'E'])
        .map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let exponent = match exponent {
        None => String::new(),
        Some(e) => {
            let power = e.strip_prefix(['+', '-']).unwrap_or(e);
            if power.is_empty() || !digits(power) {
                return None;
            }
            format!("e{e}")
        }
    };
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = if fraction.is_empty() {
        String::new()
    } else {
        format!(".{fraction}")
    };
    Some(format!("{sign}{whole}{fraction}{exponent}"))
}

fn syntax(text: &str, error: &ScanError) -> Stop {
    let at = error.marker();
    let line = text
        .lines()
        .nth(at.line().saturating_sub(1))
        .unwrap_or_default();
    let blank = line.len() - line.trim_start().len();
    let message = if line.get(..blank).is_some_and(|b| b.contains('\t')) {
        "the line is indented by a tab: YAML indents by spaces".to_owned()
    } else {
        format!("this is no YAML: {}", error.info())
    };
    Stop::form(Some(at.index()), message)
}
