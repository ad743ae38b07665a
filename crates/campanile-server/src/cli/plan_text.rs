//! A look ahead as text: a line that sums it up, a small heat map of block characters, and a table for each thing that
//! is worth a look. What there is nothing of is not mentioned; what limits cut off always is.

use campanile_core::forecast::{CatchUp, Cell, ClockTask, Cut, Forecast, Minute, Names, Row};
use campanile_core::task::{Misfire, Overlap as Policy};
use campanile_schedule::format_in_zone;
use campanile_schedule::time::{Timestamp, format_duration};

use super::out::{Out, short};
use crate::heatmap::{grouped, wall};

/// Minutes of one character.
const CELL_MINUTES: usize = 30;
/// Days that are drawn.
const DAYS_MAX: usize = 31;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Schedules that are shown of one minute.
const CROWDS_MAX: usize = 2;
/// Tasks that are shown of one minute.
const MAKERS_MAX: usize = 3;
/// Characters of a list of names.
const NAMES_CHARS: usize = 76;

/// Prints it. `offline`: no durations could be measured.
pub fn show(out: Out, forecast: &Forecast, offline: bool) {
    summary(out, forecast);
    heat(out, forecast);
    worst(out, forecast);
    clock_changes(out, forecast);
    overlaps(out, forecast, offline);
    if let Some(catch_up) = &forecast.catch_up {
        show_catch_up(out, forecast, catch_up);
    }
    others(out, forecast);
    cut(out, &forecast.cut);
}

fn title(out: Out, text: impl std::fmt::Display) {
    out.line("");
    out.line(text);
}

fn summary(out: Out, forecast: &Forecast) {
    let tasks = &forecast.tasks;
    let mut parts = vec![format!("{} tasks", grouped(tasks.total))];
    for (count, what) in [
        (tasks.paused, "paused"),
        (tasks.on_request, "only on request"),
        (tasks.refused, "refused"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    parts.push(format!("{} starts", grouped(forecast.starts)));
    if let Some(worst) = forecast.worst.first() {
        parts.push(format!(
            "at most {} in one minute, at {}",
            grouped(u64::from(worst.starts)),
            wall(forecast, worst.at)
        ));
    }
    for (count, what) in [
        (forecast.excluded, "excluded by calendars"),
        (forecast.moved, "moved by calendars"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    out.line(parts.join(", "));
    out.line(format!(
        "from {} to {}, on the wall of {}",
        wall(forecast, forecast.from),
        wall(forecast, forecast.until),
        forecast.timezone
    ));
}

/// The busiest minute of each half hour, one character each, on a logarithmic scale.
fn heat(out: Out, forecast: &Forecast) {
    let Some(worst) = forecast.worst.first() else {
        return;
    };
    out.line("");
    let hours: String = (0..24).step_by(3).map(|h| format!("{h:<6}")).collect();
    out.line(format!("{:<12}{hours}{:>12}", "", "starts"));
    let rows = forecast.rows(CELL_MINUTES);
    for (row, day) in rows.iter().zip(&forecast.days).take(DAYS_MAX) {
        let starts = grouped(day.starts);
        out.line(format!(
            "{:<12}{}{starts:>12}",
            row.date,
            blocks(row, worst.starts)
        ));
    }
    if rows.len() > DAYS_MAX {
        out.line(format!(
            "… and {} more days: --svg draws them all",
            rows.len() - DAYS_MAX
        ));
    }
    out.line(format!(
        "{:<12}each character: the busiest minute of half an hour, · none to █ {}, logarithmic",
        "",
        grouped(u64::from(worst.starts))
    ));
}

fn blocks(row: &Row, highest: u32) -> String {
    row.cells.iter().map(|cell| block(*cell, highest)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the quotient lies between 0 and 1"
)]
fn block(cell: Option<Cell>, highest: u32) -> char {
    match cell {
        None => ' ',
        Some(Cell { peak: 0, .. }) => '·',
        Some(Cell { peak, .. }) => {
            let share = f64::from(peak).ln_1p() / f64::from(highest).ln_1p();
            let place = (share * BLOCKS.len() as f64).ceil() as usize;
            BLOCKS[place.clamp(1, BLOCKS.len()) - 1]
        }
    }
}

fn worst(out: Out, forecast: &Forecast) {
    if forecast.worst.is_empty() {
        return;
    }
    title(out, "The worst minutes");
    let rows = forecast.worst.iter().map(|minute| {
        let starts = grouped(u64::from(minute.starts));
        vec![
            wall(forecast, minute.at),
            starts,
            crowds(minute),
            makers(minute),
        ]
    });
    out.table(&["minute", "starts", "schedules", "tasks"], rows.collect());
}

fn crowds(minute: &Minute) -> String {
    let one = |crowd: &campanile_core::forecast::Crowd| {
        let tasks = grouped(crowd.tasks);
        format!("{tasks} of `{}`", short(&crowd.schedule, 40))
    };
    let some: Vec<String> = minute.schedules.iter().take(CROWDS_MAX).map(one).collect();
    let more = if minute.schedules.len() > CROWDS_MAX {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", some.join(", "))
}

fn makers(minute: &Minute) -> String {
    let one = |s: &campanile_core::forecast::Share| match s.starts {
        1 => s.task.clone(),
        n => format!("{} ×{}", s.task, grouped(n)),
    };
    let mut names: Vec<String> = minute.tasks.iter().take(MAKERS_MAX).map(one).collect();
    let mut others = minute.others;
    for share in minute.tasks.iter().skip(MAKERS_MAX) {
        others.tasks += 1;
        others.starts += share.starts;
    }
    if others.tasks > 0 {
        let starts = if others.starts == others.tasks {
            String::new()
        } else {
            format!(" with {}", grouped(others.starts))
        };
        names.push(format!("{} others{starts}", grouped(others.tasks)));
    }
    names.join(", ")
}

fn clock_changes(out: Out, forecast: &Forecast) {
    for change in &forecast.clock_changes {
        let what = if change.kind == "gap" {
            "are left out"
        } else {
            "come twice"
        };
        title(
            out,
            format!(
                "{} changes its clocks on {}: {} to {} {what} ({} to {})",
                change.timezone,
                change.date,
                change.wall_from,
                change.wall_until,
                change.before,
                change.after
            ),
        );
        if change.tasks.is_empty() {
            out.line("no task names a time among them");
            continue;
        }
        let zone = campanile_schedule::TimeZoneName::parse(&change.timezone).unwrap_or_default();
        let row = |task: &ClockTask| {
            let wall = listed(task.wall.clone(), task.wall_count);
            let instants = task.instants.iter().map(|t| format_in_zone(*t, &zone));
            let instants = listed(instants.collect(), task.instant_count);
            vec![task.task.clone(), wall, instants]
        };
        out.table(
            &["task", "names", "is due at"],
            change.tasks.iter().map(row).collect(),
        );
        if change.other_tasks > 0 {
            out.line(format!("and {} other tasks", grouped(change.other_tasks)));
        }
    }
    if forecast.clock_changes_left_out > 0 {
        out.line(format!(
            "and {} more changes of clocks",
            forecast.clock_changes_left_out
        ));
    }
}

fn listed(mut some: Vec<String>, count: u64) -> String {
    let more = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_sub(some.len());
    if more > 0 {
        some.push(format!("… {more} more"));
    }
    if some.is_empty() {
        "nothing".to_owned()
    } else {
        some.join(", ")
    }
}

fn overlaps(out: Out, forecast: &Forecast, offline: bool) {
    let overlaps = &forecast.overlaps;
    if offline || overlaps.candidates == 0 {
        return;
    }
    title(
        out,
        format!(
            "Overlaps expected: {} tasks, of {} measured by their recent runs, of {} that could",
            overlaps.found, overlaps.measured, overlaps.candidates
        ),
    );
    if overlaps.tasks.is_empty() {
        return;
    }
    let rows = overlaps.tasks.iter().map(|o| {
        let so = match o.policy {
            Policy::Allow => format!("up to {} at once", o.at_once),
            Policy::Skip => format!("{} skipped", grouped(o.skipped)),
            Policy::Queue if o.skipped > 0 => format!(
                "{} wait up to {}, {} skipped",
                grouped(o.waited),
                length(o.longest_wait_ms),
                grouped(o.skipped)
            ),
            Policy::Queue => format!(
                "{} wait up to {}",
                grouped(o.waited),
                length(o.longest_wait_ms)
            ),
            Policy::Replace => format!("{} earlier runs cancelled", grouped(o.replaced)),
        };
        let met = format!("{} of {}", grouped(o.met), grouped(o.starts));
        vec![
            o.task.clone(),
            length(o.typical_ms),
            length(o.gap_ms),
            met,
            so,
        ]
    });
    out.table(
        &["task", "takes", "every", "meet another", "so"],
        rows.collect(),
    );
}

fn length(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or(0);
    // Milliseconds of a minute say nothing.
    let ms = if ms >= 60_000 { ms - ms % 1_000 } else { ms };
    format_duration(std::time::Duration::from_millis(ms))
}

fn show_catch_up(out: Out, forecast: &Forecast, catch_up: &CatchUp) {
    let at = |t: Timestamp| wall(forecast, t);
    title(
        out,
        format!(
            "If nothing is planned from {} to {}: {} runs start then ({} of them late within their limit), {} are skipped",
            at(catch_up.from),
            at(catch_up.until),
            grouped(catch_up.starts),
            grouped(catch_up.late),
            grouped(catch_up.skipped)
        ),
    );
    for (reason, count) in &catch_up.skipped_by_reason {
        out.line(format!("  skipped ({reason}): {}", grouped(*count)));
    }
    if catch_up.top.is_empty() {
        return;
    }
    let rows = catch_up.top.iter().map(|task| {
        let policy = match task.misfire {
            Misfire::Last => "last",
            Misfire::Skip => "skip",
            Misfire::All => "all",
        };
        vec![
            task.task.clone(),
            policy.to_owned(),
            grouped(task.starts),
            grouped(task.skipped),
        ]
    });
    out.table(&["task", "misfire", "start", "skipped"], rows.collect());
    if catch_up.other_tasks > 0 {
        out.line(format!("and {} other tasks", grouped(catch_up.other_tasks)));
    }
}

fn others(out: Out, forecast: &Forecast) {
    if forecast.never.count > 0 {
        title(out, format!("Start nothing: {}", some_of(&forecast.never)));
    }
    if forecast.after_ends.count > 0 {
        let names = some_of(&forecast.after_ends);
        title(
            out,
            format!("Due after the ends of their runs, told as if those took no time: {names}"),
        );
    }
    if !forecast.refused.is_empty() {
        title(out, "Can't be scheduled");
        for refused in &forecast.refused {
            out.line(format!("  {}: {}", refused.task, refused.message));
        }
    }
}

fn some_of(names: &Names) -> String {
    let listed = short(&names.names.join(", "), NAMES_CHARS);
    match names.names.len() {
        1 => listed,
        _ => format!("{} tasks ({listed})", grouped(names.count)),
    }
}

fn cut(out: Out, cut: &Cut) {
    if cut.tasks_left_out > 0 {
        out.remark(format!(
            "{} tasks were not looked at: there are too many",
            grouped(cut.tasks_left_out)
        ));
    }
    if let Some(until) = cut.counted_until {
        out.remark(format!(
            "the starts of {} were counted up to a limit: all counts are whole until {until}, and too small behind it",
            some_of(&cut.tasks_cut)
        ));
    }
    for (is_cut, what) in [
        (cut.worst_minutes, "the tasks of the worst minutes"),
        (cut.clock_changes, "the tasks of clock changes"),
        (cut.overlaps, "overlaps"),
        (cut.catch_up, "the catch-up"),
    ] {
        if is_cut {
            out.remark(format!(
                "{what}: not all were looked at, a limit was reached; ask for fewer --days"
            ));
        }
    }
}
