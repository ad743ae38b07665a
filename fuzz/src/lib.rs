//! What the targets for schedules share: how an input chooses options, and the promises that every schedule keeps. It
//! finds nothing by itself.

use campanile_schedule::{Cron, Dialect, Dst, Gap, Options, Repeat, Schedule, TimeZoneName};
use campanile_schedule::time::Timestamp;

const DIALECTS: [Dialect; 4] = [
    Dialect::Auto,
    Dialect::Unix,
    Dialect::Spring,
    Dialect::Quartz,
];
const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Europe/Dublin",
    "Asia/Gaza",
];
const GAPS: [Gap; 3] = [Gap::NextValid, Gap::Skip, Gap::Shift];
const REPEATS: [Repeat; 3] = [Repeat::First, Repeat::Both, Repeat::Last];
const STEPS: usize = 4;
/// All that an expression's answers may take beside its text.
const SENTENCE_BYTES_MAX: usize = 8_000;

/// How an input begins: dialect, zone, rules for changes of the clocks and an instant.
pub const HEAD_BYTES: usize = 8;

/// What the first bytes of an input choose, and its text; `None` if it is too short or no text.
#[must_use]
pub fn choose(data: &[u8]) -> Option<(Options, Timestamp, &str)> {
    let (head, text) = data.split_at_checked(HEAD_BYTES)?;
    let text = std::str::from_utf8(text).ok()?;
    let pick = |n: usize, of: usize| usize::from(head[n]) % of;
    let options = Options {
        dialect: DIALECTS[pick(0, 4)],
        timezone: TimeZoneName::parse(ZONES[pick(1, 12)]).unwrap(),
        dst: Dst {
            gap: GAPS[pick(2, 3)],
            repeat: REPEATS[pick(3, 3)],
        },
        anchor: Timestamp::from_ms(0),
        name_for_hash: if head[2] > 127 {
            String::new()
        } else {
            "task".to_owned()
        },
    };
    // From 1900 to 2173, by the second.
    let seconds = i64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])) * 2;
    let from = Timestamp::from_ms((seconds - 2_208_988_800) * 1_000);
    Some((options, from, text))
}

/// Reads a text as a schedule: it keeps its promises, or its refusal is short and points into the text.
pub fn read_or_refused(text: &str, options: &Options, from: Timestamp) {
    match Schedule::parse(Some(text), options) {
        Ok(schedule) => keeps_its_promises(&schedule, options, from),
        Err(error) => {
            assert!(text.is_char_boundary(error.at), "{error}");
            assert!(error.to_string().len() < 1_000, "{error}");
        }
    }
}

/// What holds of every schedule that was read.
pub fn keeps_its_promises(schedule: &Schedule, options: &Options, from: Timestamp) {
    assert!(schedule.describe().len() < SENTENCE_BYTES_MAX);
    let again = Schedule::parse(Some(&schedule.to_string()), options);
    assert_eq!(again.as_ref(), Ok(schedule));
    let mut last = from;
    for n in 0..STEPS {
        let Some(next) = schedule.next(last) else {
            break;
        };
        assert!(next > last);
        let just_after = Timestamp::from_ms(next.as_ms() + 1);
        assert_eq!(schedule.previous(just_after), Some(next));
        if n > 0 {
            assert_eq!(schedule.previous(next), Some(last));
        }
        last = next;
    }
    drop(schedule.explain(from, STEPS));
    if let Schedule::Cron(cron) = schedule {
        translations_mean_the_same(cron, options, from);
    }
}

fn translations_mean_the_same(cron: &Cron, options: &Options, from: Timestamp) {
    for dialect in [Dialect::Unix, Dialect::Spring, Dialect::Quartz] {
        let Ok(text) = cron.translate(dialect) else {
            continue;
        };
        let options = Options {
            dialect,
            ..options.clone()
        };
        let other = match Cron::parse(&text, &options) {
            Ok(other) => other,
            Err(error) => panic!("{cron} as {text}: {error}"),
        };
        assert_eq!(other.next(from), cron.next(from), "{cron} as {text}");
        assert_eq!(
            other.previous(from),
            cron.previous(from),
            "{cron} as {text}"
        );
        assert_eq!(other.describe(), cron.describe(), "{cron} as {text}");
    }
}
