//! `plot`: draws what other workloads measured, from the lines that they printed: one picture for each question that a
//! table answers badly. Of lines about the same it takes the last one. It measures nothing and judges nothing.

mod chart;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::chart::{Chart, Series};
use super::Error;

/// Bytes of one file of lines.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// `campanile-bench plot`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Files of lines as the workloads print them, older ones first
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The folder that the pictures go to
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// The last line of each kind: workload, then store, broker and the like.
type Lines = BTreeMap<(String, String), Value>;

/// A picture's file, and how it is drawn from the lines.
type Picture = (&'static str, fn(&Lines) -> Chart);

const PICTURES: [Picture; 5] = [
    ("throughput-by-batch.svg", by_batch),
    ("lateness.svg", lateness),
    ("growth.svg", growth),
    ("fail-over.svg", failover),
    ("midnight.svg", midnight),
];

/// Draws what there are lines for; answers with the files.
///
/// # Errors
/// A file that can't be read, or a line that is none; a picture that can't be written.
pub fn run(args: &Args) -> Result<Vec<PathBuf>, Error> {
    let mut lines = Lines::new();
    for file in &args.files {
        gather(file, &mut lines)?;
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    std::fs::create_dir_all(&args.out).map_err(failed(&args.out))?;
    let mut drawn = Vec::new();
    for (name, picture) in PICTURES {
        let chart = picture(&lines);
        if chart.series.is_empty() {
            continue;
        }
        let path = args.out.join(name);
        let svg = chart.svg().map_err(Error::Impossible)?;
        std::fs::write(&path, svg).map_err(failed(&path))?;
        drawn.push(path);
    }
    if drawn.is_empty() {
        let what = "the files hold no line of `limit`, `steady`, `growth`, `failover` or `midnight`: measure one of them first";
        return Err(Error::Impossible(what.to_owned()));
    }
    Ok(drawn)
}

fn gather(path: &Path, lines: &mut Lines) -> Result<(), Error> {
    let file = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(file)?.len();
    if length > FILE_BYTES_MAX {
        let what = format!("{} is over {FILE_BYTES_MAX} bytes", path.display());
        return Err(Error::Impossible(what));
    }
    let text = std::fs::read_to_string(path).map_err(file)?;
    for (n, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let wrong = |e| Error::Impossible(format!("{}, line {n}: {e}", path.display()));
        let line: Value = serde_json::from_str(line).map_err(wrong)?;
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let mut place = format!("{} + {}", shown(&word("store")), shown(&word("broker")));
        if line["aligned"] == true {
            place.push_str(", all on the second");
        }
        lines.insert((word("workload"), place), line);
    }
    Ok(())
}

/// As people write it.
fn shown(kind: &str) -> &str {
    match kind {
        "sqlite" => "SQLite",
        "postgres" => "PostgreSQL",
        "mysql" => "MariaDB",
        "stomp" => "ActiveMQ",
        "amqp" => "RabbitMQ",
        other => other,
    }
}

fn of<'a>(lines: &'a Lines, workload: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let lines = lines.iter();
    let mine = lines.filter(move |((of, _), _)| of == workload);
    mine.map(|((_, place), line)| (place.as_str(), line))
}

fn numbers(list: &Value) -> Vec<f64> {
    let cells = list.as_array().into_iter().flatten();
    cells.map(|n| n.as_f64().unwrap_or(0.0)).collect()
}

/// Points at 0, 1, 2, …
fn in_a_row(heights: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    (0_u32..).map(f64::from).zip(heights).collect()
}

/// Whole lives a second by the store's own calls, by how many share a transaction.
fn by_batch(lines: &Lines) -> Chart {
    let mut chart = Chart::new(
        "Lives of runs a second, by runs of a batch",
        "runs of a batch",
        "a second",
    );
    for (place, line) in of(lines, "limit") {
        let Some(rates) = line["store_limit"]["by_batch"].as_object() else {
            continue;
        };
        let mut rates: Vec<(u64, f64)> = rates
            .iter()
            .filter_map(|(batch, rate)| Some((batch.parse().ok()?, rate.as_f64()?)))
            .collect();
        rates.sort_by_key(|(batch, _)| *batch);
        chart.labels = rates.iter().map(|(batch, _)| batch.to_string()).collect();
        let store = place.split(" + ").next().unwrap_or(place);
        let points = in_a_row(rates.into_iter().map(|(_, rate)| rate));
        chart.series.push(Series::new(store, points));
    }
    chart
}

/// How late starts are, as shares of all.
fn lateness(lines: &Lines) -> Chart {
    let mut chart = Chart::new(
        "How late runs start: 1,000 tasks every second",
        "milliseconds, at most",
        "% of starts",
    );
    for (place, line) in of(lines, "steady") {
        let parts: Vec<(f64, f64)> = line["lateness_histogram"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| Some((part[0].as_f64()?, part[1].as_f64()?)))
            .collect();
        let all: f64 = parts.iter().map(|(_, count)| count).sum();
        if all == 0.0 {
            continue;
        }
        if parts.len() > chart.labels.len() {
            chart.labels = parts.iter().map(|(upper, _)| short(*upper)).collect();
        }
        let points = in_a_row(parts.iter().map(|(_, count)| count / all * 100.0));
        chart.series.push(Series::new(place, points));
    }
    chart
}

fn short(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}

/// What a heap of other rows takes from a burst.
fn growth(lines: &Lines) -> Chart {
    let mut chart = Chart::new(
        "A burst on a growing heap, beside none",
        "runs that wait, or have finished",
        "of the rate without",
    );
    for (place, line) in of(lines, "growth") {
        let steps = line["steps"].as_array().map_or(&[][..], Vec::as_slice);
        let ratios = steps
            .iter()
            .map(|step| step["ratio"].as_f64().unwrap_or(0.0));
        if steps.len() > chart.labels.len() {
            chart.labels = steps.iter().map(heap).collect();
        }
        chart.series.push(Series::new(place, in_a_row(ratios)));
    }
    chart
}

fn heap(step: &Value) -> String {
    match (&step["waiting"], step["finished"].as_u64().unwrap_or(0)) {
        (waiting, 0) => waiting.to_string(),
        (waiting, finished) => format!("{waiting} + {finished} finished"),
    }
}

/// Starts around the death and the clean stop of a leader.
fn failover(lines: &Lines) -> Chart {
    let mut chart = Chart::new(
        "Starts around the end of a leader",
        "seconds after it",
        "starts in 0.1 s",
    );
    for (place, line) in of(lines, "failover") {
        for (kind, shown) in [("killed", "killed"), ("stopped", "stopped cleanly")] {
            let counts = numbers(&line[kind]["timeline"]);
            let points = (0_u32..)
                .zip(counts)
                .map(|(n, count)| (f64::from(n) / 10.0 - 2.0, count));
            let points: Vec<_> = points.collect();
            if !points.is_empty() {
                chart
                    .series
                    .push(Series::new(&format!("{shown}, {place}"), points));
            }
        }
    }
    chart
}

/// How many tasks due at one instant start when.
fn midnight(lines: &Lines) -> Chart {
    let mut chart = Chart::new(
        "Tasks that are all due at one instant",
        "seconds after it",
        "starts in 0.1 s",
    );
    for (place, line) in of(lines, "midnight") {
        let counts = numbers(&line["timeline"]);
        let points = (0_u32..)
            .zip(counts)
            .map(|(n, count)| (f64::from(n) / 10.0, count));
        let name = format!("{} tasks, {place}", line["tasks"]);
        chart.series.push(Series::new(&name, points.collect()));
    }
    chart
}

#[cfg(test)]
mod tests {
    use campanile_core::system::Random;

    use super::*;
    use crate::site::Scratch;

    #[test]
    fn each_picture_is_drawn_from_the_last_line_of_its_kind() {
        let folder = Scratch::new(&Random::from_system()).unwrap();
        let file = folder.path().join("lines.jsonl");
        let out = folder.path().join("out");
        let lines = [
            r#"{"workload":"limit","store":"postgres","broker":"memory","store_limit":{"by_batch":{"1":9,"10":90,"1000":900,"100":500}}}"#,
            r#"{"workload":"limit","store":"postgres","broker":"memory","store_limit":{"by_batch":{"1":1000,"10":9000,"1000":70000,"100":50000}}}"#,
            r#"{"workload":"steady","store":"sqlite","broker":"memory","aligned":false,"lateness_histogram":[[0.5,10],[0.707,30],[1.0,60]]}"#,
            r#"{"workload":"growth","store":"sqlite","broker":"memory","steps":[{"waiting":0,"finished":0,"ratio":1.0},{"waiting":10000,"finished":5,"ratio":0.97}]}"#,
            r#"{"workload":"failover","store":"postgres","broker":"stomp","killed":{"timeline":[100,0,0,300]},"stopped":{"timeline":[100,90]}}"#,
            r#"{"workload":"midnight","store":"sqlite","broker":"memory","tasks":100,"timeline":[10,90]}"#,
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let args = Args {
            files: vec![file.clone()],
            out,
        };
        let drawn = run(&args).unwrap();
        assert_eq!(drawn.len(), PICTURES.len());
        let read = |n: usize| std::fs::read_to_string(&drawn[n]).unwrap();
        let first = read(0);
        assert!(first.starts_with("<svg"), "{first}");
        // The axis reaches the last line's rates, and names its batches in order.
        for part in ["70,000", "runs of a batch", "1000", "PostgreSQL"] {
            assert!(first.contains(part), "{part}: {first}");
        }
        assert!(read(2).contains("10000 + 5 finished"));
        assert!(read(3).contains("stopped cleanly, PostgreSQL + ActiveMQ"));
        std::fs::write(&file, "{\"workload\":\"burst\"}\nno line\n").unwrap();
        let said = run(&args).unwrap_err().to_string();
        assert!(said.contains("line 2"), "{said}");
    }
}
