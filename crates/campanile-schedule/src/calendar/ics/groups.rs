//! Events that are one: a calendar program writes each state of an event, and each of its days that was changed, as an
//! event of its own with the same UID. Owns which state counts and which day a change is for; it works out no days.

use std::collections::HashMap;

use super::days::Moment;
use super::lines::Event;

/// An event in its last state, with the changes of single days of it.
#[derive(Debug, Default)]
pub(super) struct Group<'f> {
    /// What the changes are about; a file may have only these.
    pub(super) event: Option<&'f Event>,
    /// Each with the day that it changes, in the order of the file.
    pub(super) changes: Vec<(i64, &'f Event)>,
}

/// Something that is not taken, and why.
pub(super) type LeftOut<'f> = (&'f Event, String);

/// Puts together what belongs together, in the order of the file.
pub(super) fn of(events: &[Event]) -> (Vec<Group<'_>>, Vec<LeftOut<'_>>) {
    let (mut groups, mut left_out): (Vec<Group<'_>>, Vec<LeftOut<'_>>) = (Vec::new(), Vec::new());
    let mut by_uid: HashMap<&str, usize> = HashMap::new();
    for event in events {
        let uid = event.get("UID").map_or("", |p| p.value.trim());
        let at = match by_uid.get(uid).filter(|_| !uid.is_empty()) {
            Some(at) => *at,
            None => {
                groups.push(Group::default());
                by_uid.insert(uid, groups.len() - 1);
                groups.len() - 1
            }
        };
        let Some(group) = groups.get_mut(at) else {
            continue;
        };
        if let Err(refused) = group.add(event) {
            left_out.push(refused);
        }
    }
    (groups, left_out)
}

impl<'f> Group<'f> {
    fn add(&mut self, event: &'f Event) -> Result<(), LeftOut<'f>> {
        let Some(id) = event.filled("RECURRENCE-ID").first().copied() else {
            return match self.event.replace(event) {
                Some(before) if sequence(before) > sequence(event) => {
                    self.event = Some(before);
                    Err((event, earlier(before)))
                }
                Some(before) => Err((before, earlier(event))),
                None => Ok(()),
            };
        };
        if id.parameters.contains("THISANDFUTURE") {
            let message =
                "changes a day of an event that repeats and all days after it: write those by hand";
            return Err((event, message.to_owned()));
        }
        let day = match Moment::read(&id.value) {
            Ok(moment) if moment.utc => moment.nearest_day(),
            Ok(moment) => moment.day,
            Err(message) => return Err((event, message)),
        };
        let Some(at) = self.changes.iter().position(|(of, _)| *of == day) else {
            self.changes.push((day, event));
            return Ok(());
        };
        let before = self.changes[at].1;
        if sequence(before) > sequence(event) {
            return Err((event, earlier(before)));
        }
        self.changes[at].1 = event;
        Err((before, earlier(event)))
    }
}

fn sequence(event: &Event) -> i64 {
    let written = event.get("SEQUENCE").map(|p| p.value.trim().parse());
    written.and_then(Result::ok).unwrap_or(0)
}

fn earlier(later: &Event) -> String {
    format!(
        "is an earlier state of the event of line {}, which is taken instead",
        later.line
    )
}
