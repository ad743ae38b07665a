//! The next five instants of a schedule: `cargo run -p campanile-schedule --example next -- '0 0 2 ? * MON-FRI'
//! Europe/Berlin 2026-11-29T00:00:00Z`. It reads no clock, so the instant to begin after is an argument.

use campanile_schedule::{Options, Schedule, TimeZoneName, Timestamp, format_in_zone};

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [expression, zone, from] = arguments.as_slice() else {
        return Err("write an expression, a zone and an instant".into());
    };
    let zone = TimeZoneName::parse(zone)?;
    let options = Options {
        timezone: zone.clone(),
        ..Options::default()
    };
    let schedule = Schedule::parse(Some(expression), &options)?;
    println!("{}", schedule.describe());
    let next = |at: &Timestamp| schedule.next(*at);
    for at in std::iter::successors(next(&Timestamp::parse(from)?), next).take(5) {
        println!("{}", format_in_zone(at, &zone));
    }
    Ok(())
}
