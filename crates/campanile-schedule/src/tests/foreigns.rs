//! What other systems write: the error offers what to write here, and what it offers is read.

use super::*;

fn said(text: &str) -> String {
    let options = Options {
        name_for_hash: "t".to_owned(),
        ..Options::default()
    };
    let error = Schedule::parse(Some(text), &options).unwrap_err();
    assert_eq!(error.field, "schedule", "{text}: {error}");
    error.to_string()
}

#[test]
fn what_another_system_writes_is_named_with_what_to_write_instead() {
    for (text, offered) in [
        (
            "CRON_TZ=Europe/London 0 2 * * *",
            "schedule = \"0 2 * * *\" and timezone = \"Europe/London\"",
        ),
        (
            "TZ=Asia/Tokyo */5 * * * *",
            "schedule = \"*/5 * * * *\" and timezone = \"Asia/Tokyo\"",
        ),
        ("@every 1h30m", "`every 1h30m`"),
        ("@every 1.5h", "`every 1h30m`"),
        ("@every 90s", "`every 1m30s`"),
        ("every 5 minutes", "`every 5m`"),
        ("every hour", "`every 1h`"),
        ("every 24 hours", "`every 1d`"),
        ("5m", "`every 5m`"),
        ("10 minutes", "`every 10m`"),
        ("PT5M", "`every 5m`"),
        ("P1DT12H", "`every 1d12h`"),
        (
            "R/2026-01-01T00:00:00Z/PT1H",
            "`every 1h` and anchor = \"2026-01-01T00:00:00Z\"",
        ),
        ("in 5m", "`at 2026-12-01T08:00:00Z`"),
        (
            "cron(0 10 * * ? *)",
            "schedule = \"0 0 10 * * ? *\" and dialect = \"quartz\"",
        ),
        (
            "cron(15 12 ? * MON-FRI *)",
            "schedule = \"0 15 12 ? * MON-FRI *\" and dialect = \"quartz\"",
        ),
        ("rate(5 minutes)", "`every 5m`"),
        ("rate(1 day)", "`every 1d`"),
        ("at(2026-12-01T08:00:00)", "`at 2026-12-01T08:00:00Z`"),
        (
            "crontab(minute=0, hour='*/3')",
            "schedule = \"0 */3 * * *\"",
        ),
        (
            "crontab(hour=7, minute=30, day_of_week='1,3')",
            "schedule = \"30 7 * * 1,3\"",
        ),
        ("0~59 4 * * *", "schedule = \"H(0-59) 4 * * *\""),
        ("~ ~ * * *", "schedule = \"H(0-59) H(0-23) * * *\""),
        ("~30 4 * * 1", "schedule = \"H(0-30) 4 * * 1\""),
        ("Mon..Fri *-*-* 08:00", "schedule = \"0 8 * * MON-FRI\""),
        ("*-*-* 02:30:00", "schedule = \"30 2 * * *\""),
        ("Sat,Sun 09:05", "schedule = \"5 9 * * SAT,SUN\""),
        ("*-*-01 00:00", "schedule = \"0 0 1 * *\""),
        ("*:0/15", "schedule = \"*/15 * * * *\""),
        ("hourly", "`@hourly`"),
        ("@quarterly", "`0 0 1 */3 *`"),
        ("2026-12-01T08:00:00Z", "`at 2026-12-01T08:00:00Z`"),
    ] {
        let said = said(text);
        assert!(said.contains(offered), "{text}: {said}");
    }
}

#[test]
fn a_step_wider_than_its_field_is_refused_with_what_to_write_instead() {
    let options = |dialect| Options {
        dialect,
        name_for_hash: "t".to_owned(),
        ..Options::default()
    };
    for (dialect, text, field, offered) in [
        (Dialect::Unix, "*/90 * * * *", "minute", "`every 1h30m`"),
        (Dialect::Unix, "0 */25 * * *", "hour", "`every 1d1h`"),
        (Dialect::Unix, "0-59/90 * * * *", "minute", "`every 1h30m`"),
        (Dialect::Unix, "H/90 * * * *", "minute", "`every 1h30m`"),
        (Dialect::Unix, "0 H(0-23)/25 * * *", "hour", "`every 1d1h`"),
        (Dialect::Unix, "0 0 */32 * *", "day-of-month", "`every 32d`"),
        (Dialect::Unix, "0 0 1 */13 *", "month", "list"),
        (Dialect::Unix, "0 0 * * */8", "day-of-week", "`every 8d`"),
        (Dialect::Spring, "*/90 * * * * *", "second", "`every 1m30s`"),
        (Dialect::Spring, "0 5/61 * * * *", "minute", "`every 1h1m`"),
        (Dialect::Quartz, "0 0/90 * * * ?", "minute", "`every 1h30m`"),
        (Dialect::Quartz, "0 0 0-23/30 * * ?", "hour", "`every 1d6h`"),
    ] {
        let error = Schedule::parse(Some(text), &options(dialect)).unwrap_err();
        assert_eq!(error.field, field, "{text}: {error}");
        assert!(error.to_string().contains(offered), "{text}: {error}");
    }
    // As wide as the field is once a field, which is what it says.
    for text in ["*/60 * * * *", "0 */24 * * *", "0 0 1 */12 *"] {
        Schedule::parse(Some(text), &options(Dialect::Unix)).unwrap();
    }
}
