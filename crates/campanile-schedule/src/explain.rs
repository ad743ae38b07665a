//! A schedule's next instants with what a person wants to see beside them: where the clocks change, and what became of
//! the times that the change left out or showed twice. Owns the finding of those; it fires nothing and decides nothing,
//! and asks the engine alone when something is due.

use crate::civil::DAY_S;
use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::walls::Walls;
use crate::zone::Segment;
use crate::{Dst, Gap, Repeat, Schedule, TimeZoneName};

/// Times of a change that a note names; more are counted.
const NAMED_TIMES_MAX: usize = 3;
/// Changes of the clocks looked at between two instants: some years. Beyond them only the next instant matters.
const CHANGES_MAX: usize = 64;

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// An occurrence's instant, or the first instant after a change of the clocks.
    pub at: Timestamp,
    /// Which of the two it is.
    pub kind: LineKind,
    /// What is special about it.
    pub note: Option<String>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// An occurrence.
    Occurrence,
    /// The clocks are changed.
    Change,
}

impl Schedule {
    /// The next occurrences after an instant, and for cron expressions and recurrences the changes of the clocks among them: those that
    /// touch the schedule, and the last one before an occurrence with another offset.
    ///
    /// ```
    /// use campanile_schedule::{LineKind, Options, Schedule, TimeZoneName, Timestamp};
    ///
    /// let timezone = TimeZoneName::parse("Europe/Berlin")?;
    /// let options = Options { timezone, ..Options::default() };
    /// let schedule = Schedule::parse(Some("30 2 * * *"), &options)?;
    /// let lines = schedule.explain(Timestamp::parse("2026-03-28T12:00:00Z").unwrap(), 1);
    /// assert_eq!(lines[0].kind, LineKind::Change);
    /// let note = "clocks go forward from 02:00 to 03:00; left out: 02:30, fires at the change";
    /// assert_eq!(lines[0].note.as_deref(), Some(note));
    /// # Ok::<(), campanile_schedule::Error>(())
    /// ```
    #[must_use]
    pub fn explain(&self, after: Timestamp, count: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut last = after;
        for _ in 0..count {
            let Some(at) = self.next(last) else { break };
            let mut note = self
                .after()
                .map(|_| "if the run before took no time".to_owned());
            if let Some(seen) = Seen::of(self) {
                lines.extend(seen.changes(last, at));
                note = seen.mark(at);
            }
            let kind = LineKind::Occurrence;
            lines.push(Line { at, kind, note });
            last = at;
        }
        lines
    }
}

/// Wall times in a zone, and what happens to them where its clocks are changed.
struct Seen<'a> {
    walls: &'a dyn Walls,
    zone: &'a TimeZoneName,
    dst: Dst,
    listed: bool,
}

impl<'a> Seen<'a> {
    /// Of a schedule that is about the wall.
    fn of(schedule: &'a Schedule) -> Option<Self> {
        match schedule {
            Schedule::Cron(cron) => Some(Self {
                walls: cron.fields(),
                zone: cron.timezone(),
                dst: cron.dst(),
                listed: cron.is_listed(),
            }),
            Schedule::Recur(recur) => Some(Self {
                walls: recur.set(),
                zone: recur.timezone(),
                dst: recur.rule_of_clocks(),
                listed: recur.is_listed(),
            }),
            _ => None,
        }
    }

    /// The changes after one instant and up to another that are worth a line.
    fn changes(&self, after: Timestamp, until: Timestamp) -> Vec<Line> {
        let (from_s, until_s) = (seconds(after), seconds(until));
        let start = self.zone.segment_at(from_s);
        let mut before = start;
        let mut lines = Vec::new();
        let mut offset_told = start.offset_s;
        let mut last = None;
        for _ in 0..CHANGES_MAX {
            if before.end_s > until_s {
                break;
            }
            let now = self.zone.segment_at(before.end_s);
            let effect = self.effect(&now);
            let line = change(&now, effect.as_deref());
            if effect.is_some() {
                offset_told = now.offset_s;
                lines.push(line);
                last = None;
            } else {
                last = Some(line);
            }
            before = now;
        }
        let plain = last.filter(|_| before.offset_s != offset_told);
        lines.extend(plain);
        lines
    }

    /// What the change at a stretch's beginning does to the schedule's times; `None` if it does nothing.
    fn effect(&self, segment: &Segment) -> Option<String> {
        let (own, old) = (segment.own_wall_s(), segment.old_wall_s);
        let times = self.times(own.min(old), own.max(old))?;
        let gap = old < own;
        Some(match (gap, self.listed) {
            (true, false) => format!("left out: {times}, which elapsed time does not reach"),
            (false, false) => format!("comes twice: {times}, and fires both times"),
            (true, true) => match self.dst.gap {
                Gap::NextValid => format!("left out: {times}, fires at the change"),
                Gap::Skip => format!("left out: {times}, skipped"),
                Gap::Shift => format!("left out: {times}, fires later by the length of the gap"),
            },
            (false, true) => match self.dst.repeat {
                Repeat::First => format!("comes twice: {times}, fires the first time"),
                Repeat::Both => format!("comes twice: {times}, fires both times"),
                Repeat::Last => format!("comes twice: {times}, fires the last time"),
            },
        })
    }

    /// The allowed wall times from one up to another, as times of day.
    fn times(&self, from: i64, to: i64) -> Option<String> {
        let fuel = Fuel::endless();
        let next = |wall: i64| self.walls.next_wall(wall, &fuel).filter(|wall| *wall < to);
        let mut walls = std::iter::successors(next(from), |wall| next(wall + 1));
        let named: Vec<String> = walls.by_ref().take(NAMED_TIMES_MAX).map(clock).collect();
        if named.is_empty() {
            return None;
        }
        let more = if walls.next().is_some() { ", …" } else { "" };
        Some(format!("{}{more}", named.join(", ")))
    }

    /// What is special about one occurrence.
    fn mark(&self, at: Timestamp) -> Option<String> {
        let at_s = seconds(at);
        let segment = self.zone.segment_at(at_s);
        let wall = at_s + segment.offset_s;
        let (own, old) = (segment.own_wall_s(), segment.old_wall_s);
        if wall < old {
            return Some("second pass".to_owned());
        }
        if wall >= segment.next_wall_s {
            return Some("first pass".to_owned());
        }
        if !self.listed || old >= own || segment.start_s == i64::MIN {
            return None;
        }
        match self.dst.gap {
            Gap::NextValid if at_s == segment.start_s => {
                self.times(old, own).map(|times| format!("for {times}"))
            }
            Gap::Shift => {
                let meant = at_s - segment.start_s + old;
                let times = self.times(meant, own.min(meant + 1))?;
                Some(format!("for {times}"))
            }
            _ => None,
        }
    }
}

/// A line about the change at a stretch's beginning.
fn change(segment: &Segment, effect: Option<&str>) -> Line {
    let (from, to) = (clock(segment.old_wall_s), clock(segment.own_wall_s()));
    let move_s = segment.own_wall_s() - segment.old_wall_s;
    let direction = if move_s > 0 { "forward" } else { "back" };
    let mut note = format!("clocks go {direction} from {from} to {to}");
    if move_s == 0 {
        note = "the zone's rules change, the clocks do not".to_owned();
    }
    if let Some(effect) = effect {
        note.push_str(&format!("; {effect}"));
    }
    Line {
        at: Timestamp::from_ms(segment.start_s.saturating_mul(1_000)),
        kind: LineKind::Change,
        note: Some(note),
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_ms().div_euclid(1_000)
}

/// A wall time's time of day.
fn clock(wall: i64) -> String {
    let s = wall.rem_euclid(DAY_S);
    let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
    match second {
        0 => format!("{hour:02}:{minute:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}"),
    }
}
