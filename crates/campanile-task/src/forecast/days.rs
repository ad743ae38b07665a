//! The minutes of a forecast as days of a zone: totals of days, and rows of cells for heat maps. The minutes count elapsed
//! time; here they are put where the zone's clocks show them, so a day with a gap lacks cells and one with a repeat has
//! some filled twice.

use campanile_schedule::TimeZoneName;
use campanile_schedule::time::Timestamp;

use super::report::{Day, Forecast};
use super::starts::Window;
use super::{DAY_MS, MINUTE_MS};

/// Minutes of a day.
const DAY_MINUTES: i64 = DAY_MS / MINUTE_MS;

/// One day of a heat map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its date.
    pub date: String,
    /// Its cells from midnight on; `None` = not in the window, or left out by the clocks.
    pub cells: Vec<Option<Cell>>,
}

/// Some minutes of one day together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    /// Starts in them.
    pub starts: u64,
    /// The most starts of one of them.
    pub peak: u32,
}

impl Forecast {
    /// The days as rows of cells of so many minutes each.
    #[must_use]
    pub fn rows(&self, minutes_per_cell: usize) -> Vec<Row> {
        let width = i64::try_from(minutes_per_cell).unwrap_or(1).max(1);
        let cells = usize::try_from((DAY_MINUTES + width - 1) / width).unwrap_or(1);
        let mut rows: Vec<(i64, Row)> = Vec::new();
        let walls = Walls::new(self.from.as_ms(), self.until.as_ms(), &self.timezone);
        for (wall, starts) in walls.zip(&self.per_minute) {
            let day = wall.div_euclid(DAY_MINUTES);
            let row = match rows.iter().rposition(|(d, _)| *d == day) {
                Some(at) => at,
                None => {
                    let date = date_of(day);
                    let cells = vec![None; cells];
                    rows.push((day, Row { date, cells }));
                    rows.len() - 1
                }
            };
            let column = usize::try_from(wall.rem_euclid(DAY_MINUTES) / width).unwrap_or(0);
            let row = rows.get_mut(row).map(|(_, row)| row);
            if let Some(cell) = row.and_then(|row| row.cells.get_mut(column)) {
                let cell = cell.get_or_insert_default();
                cell.starts += u64::from(*starts);
                cell.peak = cell.peak.max(*starts);
            }
        }
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// The totals of the days that a window touches.
pub(super) fn days(counts: &[u32], window: Window, zone: &TimeZoneName) -> Vec<Day> {
    let mut days: Vec<(i64, Day)> = Vec::new();
    let walls = Walls::new(window.from_ms, window.until_ms, zone);
    for ((n, wall), starts) in (0..).zip(walls).zip(counts) {
        let number = wall.div_euclid(DAY_MINUTES);
        if days.last().is_none_or(|(day, _)| *day != number) {
            let day = Day {
                date: date_of(number),
                starts: 0,
                peak: 0,
                peak_at: None,
            };
            days.push((number, day));
        }
        let Some((_, day)) = days.last_mut() else {
            continue;
        };
        day.starts += u64::from(*starts);
        if *starts > day.peak {
            day.peak = *starts;
            day.peak_at = Some(window.minute(n).from());
        }
    }
    days.into_iter().map(|(_, day)| day).collect()
}

/// The date of a day, counted from 1970-01-01.
pub(super) fn date_of(day: i64) -> String {
    let midnight = Timestamp::from_ms(day.saturating_mul(DAY_MS)).to_string();
    midnight.split('T').next().unwrap_or_default().to_owned()
}

/// The rules of a zone.
pub(super) fn rules(zone: &str) -> jiff::tz::TimeZone {
    // Its name was validated when it was read.
    jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC)
}

/// Minutes of elapsed time, as minutes on a zone's wall since 1970-01-01.
struct Walls {
    at_ms: i64,
    until_ms: i64,
    /// Offsets in minutes, each from its instant on, the last first.
    offsets: Vec<(i64, i64)>,
}

impl Walls {
    fn new(from_ms: i64, until_ms: i64, zone: &TimeZoneName) -> Self {
        let zone = rules(zone.name());
        let start = jiff::Timestamp::from_millisecond(from_ms).unwrap_or_default();
        let mut offsets = vec![(from_ms, i64::from(zone.to_offset(start).seconds()) / 60)];
        let changes = zone.following(start).map(|change| {
            let minutes = i64::from(change.offset().seconds()) / 60;
            (change.timestamp().as_millisecond(), minutes)
        });
        offsets.extend(changes.take_while(|(at_ms, _)| *at_ms < until_ms));
        offsets.reverse();
        Self {
            at_ms: from_ms,
            until_ms,
            offsets,
        }
    }
}

impl Iterator for Walls {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        if self.at_ms >= self.until_ms {
            return None;
        }
        while let [.., (next_ms, _), _] = self.offsets.as_slice()
            && *next_ms <= self.at_ms
        {
            self.offsets.pop();
        }
        let offset = self.offsets.last().map_or(0, |(_, minutes)| *minutes);
        let wall = self.at_ms.div_euclid(MINUTE_MS) + offset;
        self.at_ms += MINUTE_MS;
        Some(wall)
    }
}
