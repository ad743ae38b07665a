//! A chart: some lines over one axis, as SVG text. Owns how charts look; knows nothing of what they show.

use plotters::prelude::*;

const SIZE: (u32, u32) = (840, 360);
const FONT: &str = "sans-serif";
/// Blue, orange, green, purple, brown, teal: told apart also by most who don't see all colours.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 90, 20),
    RGBColor(40, 130, 60),
    RGBColor(120, 60, 150),
    RGBColor(130, 90, 40),
    RGBColor(0, 130, 140),
];

/// One line.
#[derive(Debug)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Series {
    /// Its name in the legend, and its points from left to right.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            points,
        }
    }
}

/// Lines over one axis.
#[derive(Debug)]
pub struct Chart {
    title: &'static str,
    across: &'static str,
    up: &'static str,
    /// What stands at 0, 1, 2, … of the axis; empty = the numbers themselves.
    pub labels: Vec<String>,
    /// The lines.
    pub series: Vec<Series>,
}

impl Chart {
    /// A chart without lines.
    pub const fn new(title: &'static str, across: &'static str, up: &'static str) -> Self {
        Self {
            title,
            across,
            up,
            labels: Vec::new(),
            series: Vec::new(),
        }
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.series.iter().flat_map(|s| s.points.iter().copied())
    }

    /// Draws it.
    ///
    /// # Errors
    /// What the library says.
    pub fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.draw(&mut svg)
            .map_err(|e| format!("failed to draw `{}`: {e}", self.title))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let left = self.points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
        let right = self.points().map(|(x, _)| x).fold(left + 0.1, f64::max);
        let top = self
            .points()
            .map(|(_, y)| y)
            .fold(f64::MIN_POSITIVE, f64::max);
        let mut on = ChartBuilder::on(&root)
            .caption(self.title, (FONT, 17))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(left..right, 0.0..top * 1.05)?;
        on.configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_labels(self.labels.len().clamp(8, 24))
            .x_desc(self.across)
            .y_desc(self.up)
            .x_label_formatter(&|x| self.label(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()?;
        for (series, color) in self.series.iter().zip(COLORS.iter().cycle()) {
            on.draw_series(LineSeries::new(
                series.points.iter().copied(),
                color.stroke_width(2),
            ))?
            .label(&series.name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        on.configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 12))
            .draw()?;
        root.present()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "labels are few, and a place left of the first has none"
    )]
    fn label(&self, x: f64) -> String {
        if self.labels.is_empty() {
            return number(x);
        }
        let nearest = x.round();
        let is_there = nearest >= 0.0 && (x - nearest).abs() < 0.01;
        let label = is_there
            .then(|| self.labels.get(nearest as usize))
            .flatten();
        label.cloned().unwrap_or_default()
    }
}

/// With thousands apart, and a digit behind the point where that says something.
fn number(x: f64) -> String {
    if x.abs() < 10.0 && x.fract().abs() > 0.001 {
        return format!("{x:.2}").trim_end_matches('0').to_owned();
    }
    let whole = format!("{:.0}", x.abs());
    let mut out = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    let sign = if x <= -0.5 { "-" } else { "" };
    format!("{sign}{out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_thousands_stand_apart() {
        for (x, shown) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (2.5, "2.5"),
            (-2.0, "-2"),
            (1_234_567.0, "1,234,567"),
            (999.6, "1,000"),
        ] {
            assert_eq!(number(x), shown);
        }
    }

    #[test]
    fn names_are_text_and_no_markup() {
        let mut chart = Chart::new("a", "b", "c");
        chart
            .series
            .push(Series::new("<b>&", vec![(0.0, 1.0), (1.0, 2.0)]));
        let svg = chart.svg().unwrap();
        assert!(svg.contains("&lt;b&gt;&amp;"), "{svg}");
        assert!(!svg.contains("<b>"));
    }
}
