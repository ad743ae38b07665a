//! How many fire times a second: a million `next` calls over expressions that are hard for other engines, in zones that
//! change their clocks in odd ways. Prints one JSON line.
//!
//! `cargo run --release -p campanile-schedule --example cron_rate`

use std::time::Instant;

use campanile_schedule::time::Timestamp;
use campanile_schedule::{Dialect, Options, Schedule, TimeZoneName};

/// Calls in all.
const CALLS: u32 = 1_000_000;

/// Dialect, zone, expression.
const TRICKY: &[(&str, &str, &str)] = &[
    ("unix", "UTC", "* * * * *"),
    ("unix", "Europe/Berlin", "*/15 * * * *"),
    ("unix", "Europe/Berlin", "30 2 * * *"),
    ("unix", "Europe/Berlin", "0 0 29 2 *"),
    ("unix", "America/New_York", "0 0 13 * FRI"),
    ("unix", "America/New_York", "*/30 1 1 11 *"),
    ("unix", "Australia/Lord_Howe", "10,20,40 2 * * *"),
    ("unix", "Australia/Lord_Howe", "15,45 * * * *"),
    ("unix", "Africa/Casablanca", "30 2 * * SUN"),
    ("unix", "Asia/Gaza", "0 0 * * SAT#4"),
    ("unix", "Pacific/Apia", "0 12 30 12 *"),
    ("unix", "America/Sao_Paulo", "0 0 L * *"),
    ("unix", "Antarctica/Troll", "59 23 31 12 5L"),
    ("spring", "Europe/London", "0 0 0 29 2 MON"),
    ("spring", "Pacific/Chatham", "*/10 45 2 * * *"),
    ("spring", "America/St_Johns", "0 0 0 13 * FRI"),
    ("spring", "Asia/Kathmandu", "59 59 23 31 12 ?"),
    ("spring", "Asia/Tehran", "0 0 0 LW * *"),
    ("quartz", "Europe/Berlin", "0 0 0 L-30 * ?"),
    ("quartz", "America/Havana", "0 0 0 31W * ?"),
    ("quartz", "America/Santiago", "0 0 0 ? * 2#5"),
    ("quartz", "Europe/Dublin", "0 15 10 L-3W * ?"),
    ("quartz", "Asia/Beirut", "0 0 22-2 ? FEB FRI-MON 2024/4"),
    ("quartz", "Africa/Cairo", "50-5/10 0 0 1 1 ? 2026-2199"),
];

/// Nanoseconds a call.
fn measure(schedule: &Schedule, calls: u32) -> f64 {
    let start = Timestamp::from_ms(1_767_225_600_000);
    #[expect(clippy::disallowed_methods, reason = "this measures real time")]
    let begun = Instant::now();
    let mut at = start;
    for _ in 0..calls {
        at = schedule.next(at).unwrap_or(start);
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn main() -> Result<(), campanile_schedule::Error> {
    let each = CALLS.div_ceil(u32::try_from(TRICKY.len()).unwrap_or(u32::MAX));
    let (mut total_ns, mut slowest) = (0.0_f64, (0.0_f64, ""));
    for (dialect, zone, expression) in TRICKY {
        let options = Options {
            dialect: dialect.parse::<Dialect>()?,
            timezone: TimeZoneName::parse(zone)?,
            ..Options::default()
        };
        let schedule = Schedule::parse(Some(expression), &options)?;
        let ns = measure(&schedule, each);
        total_ns += ns * f64::from(each);
        if ns > slowest.0 {
            slowest = (ns, expression);
        }
    }
    println!(
        "{{\"workload\":\"cron\",\"expressions\":{},\"calls\":{},\"seconds\":{:.3},\"ns_per_call\":{:.0},\"slowest\":\"{}\",\"slowest_ns_per_call\":{:.0}}}",
        TRICKY.len(),
        each * u32::try_from(TRICKY.len()).unwrap_or(u32::MAX),
        total_ns / 1e9,
        total_ns / f64::from(CALLS),
        slowest.1,
        slowest.0
    );
    Ok(())
}
