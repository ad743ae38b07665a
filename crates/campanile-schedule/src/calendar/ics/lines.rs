//! The lines of an iCalendar file: folded lines joined, properties taken apart, components told from one another. Owns
//! the form of the file alone; what an event means is its caller's.

use super::Remark;
use crate::check::Invalid;
use crate::limits;

/// Components inside one another: events hold alarms, and nothing goes deeper.
const DEPTH_MAX: usize = 8;
/// Characters of a title that are kept.
const SUMMARY_CHARS_MAX: usize = 80;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) name: Option<String>,
    pub(super) events: Vec<Event>,
    /// Components that are not events.
    pub(super) remarks: Vec<Remark>,
}

/// An event as it is written.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// The line at which it begins, from 1.
    pub(super) line: usize,
    /// Its title.
    pub(super) summary: String,
    properties: Vec<Property>,
}

/// `NAME;PARAMETERS:VALUE`.
#[derive(Debug, Default)]
pub(super) struct Property {
    /// In capitals.
    pub(super) name: String,
    /// In capitals, as they are written. Of a date they say little: its form tells what it is.
    pub(super) parameters: String,
    pub(super) value: String,
}

impl Event {
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |p| p.name == name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Property> {
        self.all(name).next()
    }

    /// Those of a name that say something: some programs write empty ones.
    pub(super) fn filled(&self, name: &str) -> Vec<&Property> {
        self.all(name)
            .filter(|p| !p.value.trim().is_empty())
            .collect()
    }

    /// Whether a property has this value.
    pub(super) fn says(&self, name: &str, value: &str) -> bool {
        self.all(name)
            .any(|p| p.value.trim().eq_ignore_ascii_case(value))
    }
}

/// Takes a file apart.
pub(super) fn read(text: &str) -> Result<File, Invalid> {
    let mut file = File::default();
    let mut open: Vec<String> = Vec::new();
    let (mut seen, mut components) = (false, 0_usize);
    let broken =
        |line: usize, message: &str| Err(Invalid::new("ics", format!("line {line}: {message}")));
    for (line, content) in unfolded(text) {
        let Some(property) = property(&content) else {
            return broken(line, "is not a line of a calendar file: write NAME:VALUE");
        };
        let value = property.value.trim().to_ascii_uppercase();
        match property.name.as_str() {
            "BEGIN" if open.len() < DEPTH_MAX => {
                if open.is_empty() && value != "VCALENDAR" {
                    return broken(
                        line,
                        "is not a calendar file: it begins with BEGIN:VCALENDAR",
                    );
                }
                seen = true;
                open.push(value);
                components += 1;
                if components > limits::ICS_COMPONENTS_MAX {
                    let most = limits::ICS_COMPONENTS_MAX;
                    let message = format!(
                        "is one over the {most} entries that a file may hold: leave out what has passed"
                    );
                    return broken(line, &message);
                }
                begin(&mut file, &open, line);
            }
            "BEGIN" => return broken(line, "has components too deep inside one another"),
            "END" if open.last() == Some(&value) => drop(open.pop()),
            "END" => return broken(line, "ends what was not begun: is the file whole?"),
            _ if open.is_empty() => {
                return broken(
                    line,
                    "is not a calendar file: it begins with BEGIN:VCALENDAR",
                );
            }
            _ => keep(&mut file, &open, property),
        }
    }
    if !seen || !open.is_empty() {
        let message = "ends before END:VCALENDAR: is it a calendar file, and whole?";
        return Err(Invalid::new("ics", message));
    }
    Ok(file)
}

/// Components of the calendar itself.
fn begin(file: &mut File, open: &[String], line: usize) {
    let [_, component] = open else { return };
    match component.as_str() {
        "VEVENT" => file.events.push(Event {
            line,
            summary: "event without a title".to_owned(),
            ..Event::default()
        }),
        "VTIMEZONE" => {}
        other => file.remarks.push(Remark {
            line,
            entry: other.chars().take(SUMMARY_CHARS_MAX).collect(),
            left_out: true,
            message: "is not an event".to_owned(),
        }),
    }
}

fn keep(file: &mut File, open: &[String], property: Property) {
    match open {
        [_] if property.name == "X-WR-CALNAME" => file.name = Some(plain(&property.value)),
        [_, component] if component == "VEVENT" => {
            if let Some(event) = file.events.last_mut() {
                if property.name == "SUMMARY" {
                    event.summary = plain(&property.value);
                } else {
                    event.properties.push(property);
                }
            }
        }
        _ => {}
    }
}

/// Lines with their continuations, and the number of the first of each.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (n, line) in text.lines().enumerate() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, last))) => last.push_str(rest),
            _ if line.trim().is_empty() => {}
            _ => lines.push((n + 1, line.to_owned())),
        }
    }
    lines
}

/// Name and value. Parameters may hold a colon inside of quotes.
fn property(line: &str) -> Option<Property> {
    let mut quoted = false;
    let colon = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == ':' && !quoted
    });
    let (head, value) = (line.get(..colon?.0)?, line.get(colon?.0 + 1..)?);
    let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
    let name = name.trim().to_ascii_uppercase();
    (!name.is_empty()).then(|| Property {
        name,
        parameters: parameters.to_ascii_uppercase(),
        value: value.to_owned(),
    })
}

/// A text without its escapes, on one line.
fn plain(value: &str) -> String {
    let value = value
        .replace("\\n", " ")
        .replace("\\N", " ")
        .replace('\\', "");
    let shown = value.chars().filter(|c| !c.is_control());
    shown
        .take(SUMMARY_CHARS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}
