//! Crontabs, as other crons keep them: text in, entries out, in a plain form that an importer can turn into tasks.
//! Follows cron's rules for assignments, `%` and the user column; runs nothing, reads no file, expands no variable.
//!
//! What can't be taken over is never dropped in silence: each such line is in [`Crontab::refused`] with its reason.
//!
//! ```
//! use campanile_schedule::crontab::{self, Form};
//!
//! let table = crontab::parse("CRON_TZ=Europe/Berlin\n0 2 * * 1 /bin/report\n0 26 * * * /bin/no\n", Form::User);
//! let report = &table.entries[0];
//! assert_eq!((report.line, &*report.schedule, &*report.command), (2, "0 2 * * 1", "/bin/report"));
//! assert_eq!(report.timezone.as_ref().map(|zone| zone.name()), Some("Europe/Berlin"));
//! assert_eq!(table.refused[0].line, 3);
//! ```

mod doubt;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use self::doubt::Doubt;
use crate::{Cron, Dialect, Options, TimeZoneName, foreign};

/// Whether a crontab's lines name the user they run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A user's own table (`crontab -l`): schedule, command.
    User,
    /// `/etc/crontab` and the files of `/etc/cron.d`: schedule, user, command.
    System,
}

/// A crontab that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crontab {
    /// What runs, in the order of the lines.
    pub entries: Vec<Entry>,
    /// What couldn't be taken, in the order of the lines.
    pub refused: Vec<Refused>,
}

/// A line that runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub line: usize,
    /// In the unix dialect, one space between fields; reads as a [`super::Schedule`].
    pub schedule: String,
    /// What `CRON_TZ` says above; `None` means the zone of the machine that the table is from. (`TZ` is a variable like
    /// others: to cron, it moves no schedule.)
    pub timezone: Option<TimeZoneName>,
    /// Whom it runs as; system form only.
    pub user: Option<String>,
    /// For the shell: up to the first `%` without a backslash.
    pub command: String,
    /// What the command reads: the text after that `%`, further ones being line ends.
    pub stdin: Option<String>,
    /// What `RANDOM_DELAY` says above: the start is put off by up to so many minutes.
    pub random_delay_minutes: u32,
    /// The assignments above, the last of a name winning; shared between entries.
    pub environment: Arc<BTreeMap<String, String>>,
}

/// A line that couldn't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Why, as a sentence.
    pub reason: String,
}

impl Form {
    /// Tells the form by the file's place, where there is one: `/etc/crontab` and what lies in a `cron.d` is system
    /// form. Otherwise by the text: system form is when every command would begin with a user's name and at least one
    /// of them is `root`.
    #[must_use]
    pub fn detect(path: Option<&Path>, text: &str) -> Self {
        let in_place = |path: &Path| {
            let folder = path.parent().and_then(Path::file_name);
            path == Path::new("/etc/crontab") || folder.is_some_and(|name| name == "cron.d")
        };
        if path.is_some_and(in_place) || Self::looks_like_system(text) {
            Self::System
        } else {
            Self::User
        }
    }

    fn looks_like_system(text: &str) -> bool {
        let mut root = false;
        for entry in parse(text, Self::User).entries {
            match take_word(&entry.command) {
                Some((user, rest)) if is_user_name(user) => {
                    root |= user == "root" && !rest.is_empty();
                }
                _ => return false,
            }
        }
        root
    }
}

/// Reads the bytes of a crontab of a known form. A line that is not UTF-8 is refused, for a guess would run another
/// command than the one that is meant; a byte order mark is passed over.
#[must_use]
pub fn parse_bytes(bytes: &[u8], form: Form) -> Crontab {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        return parse(text, form);
    }
    // Each line that can't be read becomes one that says nothing, so that the others keep their numbers.
    let (mut text, mut unread) = (String::with_capacity(bytes.len()), Vec::new());
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(error) => {
                let byte = line.get(error.valid_up_to()).copied().unwrap_or_default();
                unread.push(Refused {
                    line: index + 1,
                    text: String::from_utf8_lossy(line).trim_end().to_owned(),
                    reason: format!("the byte 0x{byte:02X} is not UTF-8: save the file as UTF-8"),
                });
            }
        }
        text.push('\n');
    }
    let mut table = parse(&text, form);
    table.refused.append(&mut unread);
    table.refused.sort_by_key(|refused| refused.line);
    table
}

/// Reads a crontab of a known form.
#[must_use]
pub fn parse(text: &str, form: Form) -> Crontab {
    let mut reader = Reader {
        form,
        environment: Arc::default(),
        timezone: Ok(None),
        random_delay_minutes: 0,
        out: Crontab::default(),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        if let Err(reason) = reader.line(index + 1, line.trim_start()) {
            reader.out.refused.push(Refused {
                line: index + 1,
                text: line.to_owned(),
                reason,
            });
        }
    }
    reader.out
}

/// What the lines so far have set.
struct Reader {
    form: Form,
    environment: Arc<BTreeMap<String, String>>,
    /// The zone; or why the lines below can't be taken.
    timezone: Result<Option<TimeZoneName>, String>,
    random_delay_minutes: u32,
    out: Crontab,
}

/// The longest `RANDOM_DELAY`, in minutes: a day.
const RANDOM_DELAY_MAX: u32 = 24 * 60;
/// What is said of a line whose user can't be one.
const NO_USER: &str = "can't be a user";

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        match assignment(line)? {
            Some((name, value)) if name == "CRON_TZ" => self.set_timezone(number, &value),
            Some((name, value)) if name == "RANDOM_DELAY" => self.set_random_delay(&value),
            Some((name, value)) => {
                Arc::make_mut(&mut self.environment).insert(name, value);
                Ok(())
            }
            None => {
                let entry = self.entry(number, line)?;
                self.out.entries.push(entry);
                Ok(())
            }
        }
    }

    /// An unknown zone condemns the lines below it: in another zone they would run at wrong times.
    fn set_timezone(&mut self, number: usize, name: &str) -> Result<(), String> {
        if name.is_empty() {
            self.timezone = Ok(None);
            return Ok(());
        }
        match TimeZoneName::parse(name) {
            Ok(zone) => self.timezone = Ok(Some(zone)),
            Err(error) => {
                self.timezone = Err(format!(
                    "its zone, `CRON_TZ` of line {number}, is not known"
                ));
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn set_random_delay(&mut self, minutes: &str) -> Result<(), String> {
        let minutes = if minutes.is_empty() { "0" } else { minutes };
        match minutes.parse().ok().filter(|m| *m <= RANDOM_DELAY_MAX) {
            Some(minutes) => {
                self.random_delay_minutes = minutes;
                Ok(())
            }
            None => Err(format!(
                "RANDOM_DELAY is a number of minutes, up to {RANDOM_DELAY_MAX}"
            )),
        }
    }

    fn entry(&self, number: usize, line: &str) -> Result<Entry, String> {
        let (schedule, rest) = schedule_and_rest(line)?;
        let spread = schedule.contains('~');
        let schedule = without_tildes(&schedule);
        let timezone = self.timezone.clone()?;
        let options = Options {
            dialect: Dialect::Unix,
            timezone: timezone.clone().unwrap_or_default(),
            // Only what was a `~` may be spread: by which name, its task will say.
            name_for_hash: if spread {
                "crontab".to_owned()
            } else {
                String::new()
            },
            ..Options::default()
        };
        let cron = Cron::parse(&schedule, &options).map_err(|error| {
            let foreign = foreign::named(&schedule, &options).filter(|_| !error.never_fires());
            foreign.unwrap_or(error).to_string()
        })?;
        let (user, rest) = match self.form {
            Form::User => (None, rest),
            Form::System => {
                let (user, rest) =
                    take_word(rest).ok_or("names no user and no command after its schedule")?;
                if user.starts_with(['-', '~'])
                    || user.contains(['/', '=', '$', '"', '\'', '(', '[', '*', ';', '|'])
                {
                    return Err(format!("`{user}` {NO_USER}"));
                }
                (Some(user.to_owned()), rest)
            }
        };
        let (command, stdin) = split_percent(rest);
        if command.trim().is_empty() {
            return Err("has no command".to_owned());
        }
        let environment = Arc::clone(&self.environment);
        Ok(Entry {
            line: number,
            schedule: cron.to_string(),
            timezone,
            user,
            command,
            stdin,
            random_delay_minutes: self.random_delay_minutes,
            environment,
        })
    }
}

/// The schedule's words, joined by single spaces, and the text after them. (Some crons take a `-` before the minute, as
/// "don't log this": it changes nothing here.)
fn schedule_and_rest(line: &str) -> Result<(String, &str), String> {
    let line = line.strip_prefix('-').unwrap_or(line);
    let fields = match take_word(line) {
        // Go's: its second word is refused with it, with what to write.
        Some(("@every", _)) => 2,
        Some((word, _)) if word.starts_with('@') => 1,
        _ => 5,
    };
    let mut words = Vec::with_capacity(fields);
    let mut rest = line;
    for _ in 0..fields {
        let (word, after) = take_word(rest).ok_or_else(|| {
            format!(
                "has {} of the {fields} fields that its schedule needs",
                words.len()
            )
        })?;
        words.push(word);
        rest = after;
    }
    Ok((words.join(" "), rest))
}

/// `3~9`, "at random, chosen once", in the words for a number that is the task's own: `H(3-9)`. An item that is no such
/// range stays, and is refused as it is written.
fn without_tildes(schedule: &str) -> String {
    const BOUNDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    if !schedule.contains('~') || schedule.starts_with('@') {
        return schedule.to_owned();
    }
    let item = |item: &str, (low, high): (u32, u32)| -> Option<String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, format!("/{step}")),
            None => (item, String::new()),
        };
        let (from, to) = range.split_once('~')?;
        let number = |text: &str, default: u32| match text {
            "" => Some(default),
            text => text.parse().ok(),
        };
        let (from, to) = (number(from, low)?, number(to, high)?);
        match (from.cmp(&to), step.is_empty()) {
            (std::cmp::Ordering::Less, _) => Some(format!("H({from}-{to}){step}")),
            (std::cmp::Ordering::Equal, true) => Some(from.to_string()),
            _ => None,
        }
    };
    let fields = schedule.split(' ').zip(BOUNDS);
    let fields = fields.map(|(field, bounds)| {
        let items = field.split(',');
        let items = items.map(|text| item(text, bounds).unwrap_or_else(|| text.to_owned()));
        items.collect::<Vec<_>>().join(",")
    });
    fields.collect::<Vec<_>>().join(" ")
}

/// The first word and the text after the blanks behind it.
fn take_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(BLANKS);
    let end = text.find(BLANKS).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (word, rest.trim_start_matches(BLANKS)))
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Whether a word could be the name of a user: `www-data`, `_apt`.
fn is_user_name(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// `name = value`, if the line is one. Either side may be in quotes; nothing in the value is expanded, and it may hold
/// a `#`.
fn assignment(line: &str) -> Result<Option<(String, String)>, String> {
    let (name, rest) = match line.strip_prefix(QUOTES) {
        Some(quoted) => {
            let quote = if line.starts_with('"') { '"' } else { '\'' };
            let Some((name, rest)) = quoted.split_once(quote) else {
                return Ok(None);
            };
            (name, rest)
        }
        None => line.split_at(line.find(['=', ' ', '\t']).unwrap_or(line.len())),
    };
    let Some(value) = rest.trim_start_matches(BLANKS).strip_prefix('=') else {
        return Ok(None);
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(plain) || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(None);
    }
    let value = value.trim_matches(BLANKS).trim_end_matches('\r');
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => match value.trim_start_matches(BLANKS)[1..].split_once(quote)
        {
            Some((inner, after)) if after.trim().is_empty() => inner,
            Some(_) => {
                return Err(format!(
                    "assigns {name} a value with text after its closing quote"
                ));
            }
            None => return Err(format!("assigns {name} a value without its closing quote")),
        },
        _ => value,
    };
    Ok(Some((name.to_owned(), value.to_owned())))
}

const QUOTES: [char; 2] = ['"', '\''];

/// The command up to the first `%` that has no backslash, and the input after it, if there is such a one. In the input
/// `%` is a line's end and the last line is ended too; `\%` is `%` in both.
fn split_percent(text: &str) -> (String, Option<String>) {
    let (mut command, mut escaped) = (String::with_capacity(text.len()), false);
    for (at, c) in text.char_indices() {
        match c {
            '%' if escaped => {
                command.pop();
                command.push('%');
            }
            '%' => return (command, text.get(at + 1..).map(input)),
            _ => command.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    (command, None)
}

fn input(text: &str) -> String {
    let (mut out, mut escaped) = (String::with_capacity(text.len() + 1), false);
    for c in text.chars() {
        match c {
            '%' if escaped => {
                out.pop();
                out.push('%');
            }
            '%' => out.push('\n'),
            _ => out.push(c),
        }
        escaped = c == '\\';
    }
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}
