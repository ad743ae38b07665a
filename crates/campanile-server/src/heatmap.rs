//! The heat map of a look ahead: a [`Forecast`] drawn as one SVG. A row is a day, a cell some minutes, its colour the
//! busiest of them on a logarithmic scale. Pure, without scripts, all text escaped; it follows the reader's light or dark
//! theme. It computes nothing but places and colours.

use std::fmt::Write as _;

use campanile_core::forecast::{Cell, Forecast, Row};
use campanile_schedule::format_in_zone;
use campanile_schedule::time::Timestamp;

const LEFT: usize = 92;
const RIGHT: usize = 138;
const TOP: usize = 92;
const WIDTH: usize = 1_152;
const LEGEND: usize = 64;
/// Colours beside the one for nothing.
const CLASSES: usize = 7;
const DAY_MINUTES: usize = 1_440;

/// Colours are variables, so that one drawing serves both themes.
const STYLE: &str = "\
svg{--bg:#ffffff;--ink:#1f2933;--dim:#66727f;--none:#eef1f4;--ring:#d9480f;\
--c1:#dbe9f6;--c2:#b3d1ea;--c3:#82b3dc;--c4:#4f91c9;--c5:#2570b0;--c6:#0f4e8c;--c7:#07305e}\
@media(prefers-color-scheme:dark){svg{--bg:#11161c;--ink:#e6ebf0;--dim:#93a0ad;--none:#1c242d;--ring:#ff922b;\
--c1:#16304a;--c2:#194467;--c3:#1d5c8c;--c4:#2b7ab5;--c5:#4d9ed8;--c6:#8cc6f0;--c7:#d8eeff}}\
text{font:12px system-ui,sans-serif;fill:var(--ink)}.h{font-size:16px;font-weight:600}.d{fill:var(--dim)}\
.e{text-anchor:end}.m{text-anchor:middle}.b{fill:var(--bg)}.n{fill:var(--none)}.g{stroke:var(--bg)}\
.r{fill:none;stroke:var(--ring);stroke-width:2}\
.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.c5{fill:var(--c5)}.c6{fill:var(--c6)}\
.c7{fill:var(--c7)}";

/// How days are laid out: the more of them, the coarser.
struct Layout {
    minutes: usize,
    row: usize,
    /// Every so many rows have a date.
    label_every: usize,
}

impl Layout {
    const fn of(days: usize) -> Self {
        let (minutes, row, label_every) = match days {
            0..=15 => (5, 24, 1),
            16..=63 => (15, 14, 1),
            _ => (30, 5, 7),
        };
        Self {
            minutes,
            row,
            label_every,
        }
    }

    const fn x(&self, cell: usize) -> usize {
        LEFT + cell * self.minutes * WIDTH / DAY_MINUTES
    }

    const fn y(&self, row: usize) -> usize {
        TOP + row * self.row
    }
}

/// Upper bounds of the colours' classes: evenly on a logarithmic scale up to the highest count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "bounds lie between 0 and a u32, and a colour needs no exact one"
)]
fn bounds(highest: u32) -> Vec<u32> {
    let scale = f64::from(highest).ln_1p();
    let bound = |class: usize| (scale * class as f64 / CLASSES as f64).exp_m1().round() as u32;
    let mut bounds: Vec<u32> = (1..CLASSES).map(bound).collect();
    bounds.push(highest);
    bounds.retain(|b| *b > 0);
    bounds.dedup();
    bounds
}

/// The class of a count above zero: 1 to [`CLASSES`]; the highest count is always of the last one.
fn class(bounds: &[u32], count: u32) -> usize {
    let place = bounds.partition_point(|b| *b < count);
    place + 1 + CLASSES.saturating_sub(bounds.len())
}

/// Draws it.
#[must_use]
pub fn svg(forecast: &Forecast) -> String {
    let layout = Layout::of(forecast.days.len());
    let rows = forecast.rows(layout.minutes);
    let highest = forecast.worst.first().map_or(0, |m| m.starts);
    let bounds = bounds(highest);
    let height = layout.y(rows.len()) + LEGEND;
    let mut out = String::new();
    head(&mut out, forecast, height);
    axis(&mut out, &layout, rows.len());
    for (n, row) in rows.iter().enumerate() {
        day(&mut out, forecast, &layout, &bounds, n, row);
    }
    ring(&mut out, forecast, &layout, &rows);
    legend(&mut out, &bounds, &layout, layout.y(rows.len()) + 22);
    out.push_str("</svg>\n");
    out
}

fn head(out: &mut String, forecast: &Forecast, height: usize) {
    let width = LEFT + WIDTH + RIGHT;
    let zone = escape(forecast.timezone.name());
    let days = forecast.until.since(forecast.from).as_secs() / 86_400;
    let title = format!("Starts ahead, {days} days in {zone}");
    let worst = forecast.worst.first().map_or_else(
        || "nothing starts".to_owned(),
        |m| {
            format!(
                "worst minute {}: {}",
                wall(forecast, m.at),
                grouped(u64::from(m.starts))
            )
        },
    );
    let about = format!(
        "{} starts of {} tasks with a schedule, {} to {}; {worst}",
        grouped(forecast.starts),
        grouped(forecast.tasks.scheduled),
        wall(forecast, forecast.from),
        wall(forecast, forecast.until),
    );
    let cut = if forecast.cut.is_any() {
        "; limits cut something off, see the table"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"t d\"><title id=\"t\">{title}</title><desc id=\"d\">{about}{cut}</desc>\
         <style>{STYLE}</style><rect class=\"b\" width=\"100%\" height=\"100%\"/>\
         <text class=\"h\" x=\"{LEFT}\" y=\"28\">{title}</text><text class=\"d\" x=\"{LEFT}\" y=\"48\">{about}{cut}</text>"
    );
}

fn axis(out: &mut String, layout: &Layout, rows: usize) {
    let bottom = layout.y(rows);
    for hour in (0..=24).step_by(3) {
        let x = LEFT + hour * WIDTH / 24;
        let _ = write!(
            out,
            "<text class=\"d m\" x=\"{x}\" y=\"{}\">{hour:02}:00</text>\
             <path class=\"g\" stroke=\"currentColor\" d=\"M{x} {}V{bottom}\"/>",
            TOP - 10,
            TOP - 6,
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"d e\" x=\"{}\" y=\"{}\">starts</text>",
        LEFT + WIDTH + RIGHT - 12,
        TOP - 10
    );
}

fn day(
    out: &mut String,
    forecast: &Forecast,
    layout: &Layout,
    bounds: &[u32],
    n: usize,
    row: &Row,
) {
    let (y, height) = (layout.y(n), layout.row - layout.row / 8);
    if n.is_multiple_of(layout.label_every) {
        let middle = y + layout.row.max(8) / 2 + 3;
        let starts = forecast.days.get(n).map_or(0, |d| d.starts);
        let note = note(forecast, &row.date);
        let _ = writeln!(
            out,
            "<text class=\"e\" x=\"{}\" y=\"{middle}\">{}</text>\
             <text class=\"d e\" x=\"{}\" y=\"{middle}\">{note}{}</text>",
            LEFT - 10,
            escape(&row.date),
            LEFT + WIDTH + RIGHT - 12,
            grouped(starts),
        );
    }
    // One ground for each stretch of the window; only cells that start something are drawn upon it.
    let mut from = 0;
    for cells in row.cells.chunk_by(|a, b| a.is_some() == b.is_some()) {
        let until = from + cells.len();
        if cells.iter().any(Option::is_some) {
            let (x, width) = (layout.x(from), layout.x(until) - layout.x(from));
            let _ = writeln!(
                out,
                "<rect class=\"n\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
            );
        }
        from = until;
    }
    // Neighbours that are alike are one rectangle: what recurs all day makes a small file.
    let mut from = 0;
    for cells in row.cells.chunk_by(|a, b| a == b) {
        let until = from + cells.len();
        if let Some(cell) = cells[0].filter(|c| c.peak > 0) {
            let (x, next) = (layout.x(from), layout.x(until));
            let _ = writeln!(
                out,
                "<rect class=\"c{}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{height}\"><title>{} {}</title></rect>",
                class(bounds, cell.peak),
                next - x,
                escape(&row.date),
                about(
                    cell,
                    from * layout.minutes,
                    until * layout.minutes,
                    layout.minutes
                ),
            );
        }
        from = until;
    }
}

/// What a cell, or each of several alike, comes to.
fn about(cell: Cell, from: usize, until: usize, minutes: usize) -> String {
    let alike = if until - from > minutes {
        format!(" to {}, each {minutes} minutes", time_of_day(until))
    } else {
        String::new()
    };
    format!(
        "{}{alike}: {} starts, {} in the busiest minute",
        time_of_day(from),
        grouped(cell.starts),
        grouped(u64::from(cell.peak)),
    )
}

/// What a change of the clocks does to a day of the zone that is shown.
fn note(forecast: &Forecast, date: &str) -> &'static str {
    let shown = forecast.timezone.name();
    let on = |c: &&campanile_core::forecast::ClockChange| c.timezone == shown && c.date == date;
    match forecast.clock_changes.iter().find(on) {
        Some(change) if change.kind == "gap" => "short day · ",
        Some(_) => "long day · ",
        None => "",
    }
}

/// A ring around the worst minute, with who makes it.
fn ring(out: &mut String, forecast: &Forecast, layout: &Layout, rows: &[Row]) {
    let Some(worst) = forecast.worst.first() else {
        return;
    };
    let at = wall(forecast, worst.at);
    let (date, time) = at.split_once(' ').unwrap_or((&at, "00:00"));
    let Some(row) = rows.iter().position(|r| r.date == date) else {
        return;
    };
    let minute =
        |(h, m): (&str, &str)| Some(h.parse::<usize>().ok()? * 60 + m.parse::<usize>().ok()?);
    let column = time.split_once(':').and_then(minute).unwrap_or(0) / layout.minutes;
    let mut names: Vec<String> = worst
        .tasks
        .iter()
        .map(|s| format!("{} {}", escape(&s.task), s.starts))
        .collect();
    if worst.others.tasks > 0 {
        names.push(format!(
            "{} other tasks {}",
            grouped(worst.others.tasks),
            grouped(worst.others.starts)
        ));
    }
    let _ = writeln!(
        out,
        "<rect class=\"r\" pointer-events=\"all\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\">\
         <title>worst minute {at}: {} starts ({})</title></rect>",
        layout.x(column).saturating_sub(2),
        layout.y(row).saturating_sub(2),
        layout.x(column + 1) - layout.x(column) + 4,
        layout.row - layout.row / 8 + 4,
        grouped(u64::from(worst.starts)),
        names.join(", "),
    );
}

fn legend(out: &mut String, bounds: &[u32], layout: &Layout, y: usize) {
    let mut x = LEFT;
    let text = y + 12;
    let mut one = |class: &str, label: &str| {
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"16\" height=\"16\"/><text x=\"{}\" y=\"{text}\">{label}</text>",
            x + 22
        );
        x += 40 + label.chars().count() * 7;
    };
    one("n", "0");
    let mut from = 1;
    for bound in bounds {
        let label = if from == *bound {
            grouped(u64::from(from))
        } else {
            format!(
                "{}–{}",
                grouped(u64::from(from)),
                grouped(u64::from(*bound))
            )
        };
        one(&format!("c{}", class(bounds, *bound)), &label);
        from = bound + 1;
    }
    let _ = writeln!(
        out,
        "<text class=\"d\" x=\"{x}\" y=\"{text}\">starts in the busiest minute of {} minutes</text>",
        layout.minutes
    );
}

/// An instant on the wall of the zone that is shown: `2026-11-27 00:00`.
#[must_use]
pub fn wall(forecast: &Forecast, at: Timestamp) -> String {
    let text = format_in_zone(at, &forecast.timezone);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn time_of_day(minutes: usize) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[path = "heatmap_tests.rs"]
mod tests;
