//! Sentences: what is shown to people, by table.

use super::*;

/// Dialect | expression => sentence, without the zone.
const SENTENCES: &str = "\
unix | * * * * * => Every minute
unix | */15 * * * * => Every 15 minutes
unix | 5-59/15 * * * * => Every 15 minutes from minute 5 of every hour
unix | */7 * * * * => Every 7 minutes from minute 0 to 56 of every hour
unix | 0 * * * * => Every hour
unix | 5 * * * * => Every hour at minute 5
unix | 0,30 * * * * => Every 30 minutes
unix | 5,10,47 * * * * => At the minutes 5, 10 and 47 of every hour
unix | 10-20 * * * * => At the minutes 10 to 20 of every hour
unix | 0 2 * * * => At 02:00 every day
unix | 30 4 1,15 * * => At 04:30 on the 1st and the 15th of each month
unix | 0 2 * * MON-FRI => At 02:00, Monday to Friday
unix | 0 2 * * 6,0 => At 02:00 on Saturdays and Sundays
unix | 0 9-17 * * 1-5 => Every hour from 09:00 to 17:00, Monday to Friday
unix | */15 9-17 * * 1-5 => Every 15 minutes from 09:00 to 17:59, Monday to Friday
unix | 15 */4 * * * => Every 4 hours from 00:15 to 20:15
unix | 0 8-18/2 * * * => Every 2 hours from 08:00 to 18:00
unix | 0 9,12,15 * * * => At 09:00, 12:00 and 15:00 every day
unix | 0,30 9,12 * * * => At 09:00, 09:30, 12:00 and 12:30 every day
unix | 5,10,47 9-17 * * * => At the minutes 5, 10 and 47 of every hour from 09:00 to 17:59
unix | 5,10,47 1,3,7,9 * * * => At the minutes 5, 10 and 47 of the hours 1, 3, 7 and 9
unix | * 9 * * * => Every minute from 09:00 to 09:59
unix | * 9,12 * * * => Every minute of the hours 9 and 12
unix | */10 */2 * * * => Every 10 minutes of every 2nd hour from 0 to 22
unix | 0 8-11,14-17 * * * => At 08:00, 09:00, 10:00, 11:00, 14:00, 15:00, 16:00 and 17:00 every day
unix | 0 0-3,5-8,14-17 * * * => At minute 0 of the hours 0 to 3, 5 to 8 and 14 to 17
unix | 0 0 13 * FRI => At 00:00 on the 13th of each month, and also on Fridays
unix | 0 0 13 3 FRI => At 00:00 on the 13th of March, and also on Fridays in March
unix | 0 0 */2 * FRI => At 00:00 on every 2nd day from the 1st of each month, if that is a Friday
unix | 0 0 13 * */5 => At 00:00 on the 13th of each month, if that is a Friday or a Sunday
unix | 0 0 1-7 * * => At 00:00 on the 1st to the 7th of each month
unix | 0 0 */10 * * => At 00:00 on every 10th day from the 1st of each month
unix | 0 0 5-25/5 * * => At 00:00 on every 5th day from the 5th to the 25th of each month
unix | 0 0 1 JAN,JUL * => At 00:00 on the 1st of January and July
unix | 0 0 * MAR-MAY * => At 00:00 every day in March to May
unix | 0 0 1-31 * MON => At 00:00 every day
unix | 30 4 L * * => At 04:30 on the last day of each month
unix | 0 0 L * SUN#4 => At 00:00 on the last day of each month, and also on the 4th Sunday of each month
unix | 0 0 * * 5L => At 00:00 on the last Friday of each month
unix | 0 0 * * MON#2,FRIL => At 00:00 on the 2nd Monday and the last Friday of each month
unix | 0 0 * JUN MON,WED#1 => At 00:00 on Mondays in June, and on the 1st Wednesday of June
unix | @hourly => Every hour
unix | @daily => At 00:00 every day
unix | @weekly => At 00:00 on Sundays
unix | @monthly => At 00:00 on the 1st of each month
unix | @yearly => At 00:00 on the 1st of January
spring | * * * * * * => Every second
spring | */10 * * * * * => Every 10 seconds
spring | 5/15 * * * * * => Every 15 seconds from second 5 of every minute of every hour
spring | 30 * * * * * => At second 30 of every minute of every hour
spring | 0,20,50 */5 * * * * => At the seconds 0, 20 and 50 of every 5th minute of every hour
spring | 10-20 30 2 * * * => At the seconds 10 to 20 of 02:30
spring | 30 15 2 * * * => At 02:15:30 every day
spring | */7 10-20 8,9 * * * => Every 7 seconds from second 0 to 56 of the minutes 10 to 20 of the hours 8 and 9
spring | 0 0 0 13 * FRI => At 00:00 on the 13th of each month, if that is a Friday
spring | 0 0 0 1-7 * MON-FRI => At 00:00 on the 1st to the 7th of each month, if that is Monday to Friday
spring | 0 0 0 13 MAR MON,FRI#2 => At 00:00 on the 13th of March, if that is a Monday or the 2nd Friday
spring | 0 */15 9-17 * * 5L => Every 15 minutes from 09:00 to 17:59 on the last Friday of each month
spring | 30 5 * * * ? => Every hour at minute 5, second 30
quartz | 0 0 22-2 * * ? => At 00:00, 01:00, 02:00, 22:00 and 23:00 every day
quartz | 0 15 10 L-3 * ? => At 10:15 on the 3rd day before the last of each month
quartz | 0 15 10 LW * ? => At 10:15 on the last weekday (Monday to Friday) of each month
quartz | 0 15 10 15W,1W * ? => At 10:15 on the weekday (Monday to Friday) nearest to the 1st and the weekday (Monday to Friday) nearest to the 15th of each month
quartz | 0 15 10 L-2W * ? => At 10:15 on the weekday (Monday to Friday) nearest to the 2nd day before the last of each month
quartz | 0 15 10 1,15W,L * ? => At 10:15 on the 1st, the weekday (Monday to Friday) nearest to the 15th and the last day of each month
quartz | 0 15 10 ? * L => At 10:15 on Saturdays
quartz | 0 15 10 ? * FRI-MON => At 10:15, Friday to Monday
quartz | 0 15 10 ? * 6#3 2026 => At 10:15 on the 3rd Friday of each month, in 2026
quartz | 0 0 12 1 1 ? 2026-2030 => At 12:00 on the 1st of January, from 2026 to 2030
quartz | 0 0 12 1 1 ? 2026/2 => At 12:00 on the 1st of January, every 2 years from 2026
quartz | 0 0 12 1 1 ? 2026-2036/2 => At 12:00 on the 1st of January, every 2 years from 2026 to 2036
quartz | 0 0 12 1 1 ? 2026,2027,2030 => At 12:00 on the 1st of January, in 2026, 2027 and 2030
quartz | 0 0 12 1 1 ? 2026-2199 => At 12:00 on the 1st of January, from 2026 on
quartz | 0 0 12 ? NOV-FEB 2-6 * => At 12:00, Monday to Friday, in January, February, November and December
";

#[test]
fn expressions_read_as_sentences() {
    let mut got = String::new();
    for row in SENTENCES.lines() {
        let (question, _) = row.split_once(" => ").unwrap();
        let (dialect, expression) = question.split_once(" | ").unwrap();
        let schedule = cron(expression, dialect.parse().unwrap(), "UTC");
        let sentence = schedule.describe();
        let sentence = sentence.strip_suffix(", in UTC").unwrap();
        got.push_str(&format!("{question} => {sentence}\n"));
    }
    assert_eq!(got, SENTENCES);
    assert!(SENTENCES.lines().count() >= 60);
}

#[test]
fn other_schedules_read_as_sentences() {
    let options = Options {
        anchor: at("2026-01-01T00:00:00Z"),
        name_for_hash: "nightly-report".to_owned(),
        timezone: TimeZoneName::parse("Europe/Berlin").unwrap(),
        ..Options::default()
    };
    let texts = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Schedule::parse_all(&texts, &options).unwrap()
    };
    assert_eq!(texts(&[]).describe(), "Only on request");
    assert_eq!(
        texts(&["every 10s"]).describe(),
        "Every 10s, counted from 2026-01-01T00:00:00.000Z"
    );
    assert_eq!(
        texts(&["at 2026-12-01T08:00:00+01:00"]).describe(),
        "Once, at 2026-12-01T07:00:00.000Z"
    );
    assert_eq!(
        texts(&["0 2 * * *", "every 1h"]).describe(),
        "At 02:00 every day, in Europe/Berlin; and also: Every 1h, counted from 2026-01-01T00:00:00.000Z"
    );
    assert_eq!(
        texts(&["after 10m"]).describe(),
        "10m after the end of the run before"
    );
    let bounds = Bounds {
        starts_at: Some(at("2026-03-01T00:00:00Z")),
        ends_at: Some(at("2026-03-02T00:00:00Z")),
        ..Bounds::default()
    };
    assert_eq!(
        texts(&["after 10m"]).bounded(&bounds).describe(),
        "10m after the end of the run before; first 2026-03-01T00:00:00.000Z; none after 2026-03-02T00:00:00.000Z"
    );
    let bounds = Bounds {
        starts_at: Some(at("2026-03-01T00:00:00Z")),
        max_count: Some(3),
        ..Bounds::default()
    };
    assert_eq!(
        texts(&["0 2 * * *"]).bounded(&bounds).describe(),
        "At 02:00 every day, in Europe/Berlin; first 2026-03-01T01:00:00.000Z; last 2026-03-03T01:00:00.000Z"
    );
    // An `H` reads as the number that it stands for.
    let hashed = texts(&["H(0-29) 2 * * *"]);
    let fires = hashed.next(at("2026-01-01T00:00:00Z")).unwrap();
    let minute = fires.as_ms() / 60_000 % 60;
    assert_eq!(
        hashed.describe(),
        format!("At 02:{minute:02} every day, in Europe/Berlin")
    );
}
