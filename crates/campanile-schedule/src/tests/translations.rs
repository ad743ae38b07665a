//! Translations: tables of what each dialect makes of the others' expressions, and the property that what was
//! translated means the same.

use proptest::prelude::*;

use super::*;

fn read(text: &str, dialect: Dialect) -> Cron {
    let options = Options {
        dialect,
        ..Options::default()
    };
    Cron::parse(text, &options).unwrap_or_else(|e| panic!("{text} ({dialect}): {e}"))
}

/// From | expression | to => translation, or `!` and the reason.
const TRANSLATIONS: &str = "\
unix | 0 2 * * * | spring => 0 0 2 * * *
unix | 0 2 * * * | quartz => 0 0 2 * * ?
unix | */15 9-17 * * 1-5 | spring => 0 */15 9-17 * * MON-FRI
unix | */15 9-17 * * 1-5 | quartz => 0 */15 9-17 ? * MON-FRI
unix | 0 0 1,15 * * | quartz => 0 0 0 1,15 * ?
unix | 0 0 * * 0,6 | quartz => 0 0 0 ? * SAT,SUN
unix | 0 0 13 * 5 | spring => ! spring can't say that one of two day fields is enough: it wants both, or has only one
unix | 0 0 13 * 5 | quartz => ! quartz can't say that one of two day fields is enough: it wants both, or has only one
unix | 0 0 */2 * 5 | spring => 0 0 0 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * FRI
unix | 0 0 */2 * 5 | quartz => ! quartz can't say that two day fields both count: either is enough to it, or it has one
unix | @weekly | quartz => 0 0 0 ? * SUN
unix | 0-59 5 * * * | quartz => 0 0-59 5 * * ?
unix | */60 5 * * * | spring => 0 0 5/19 * * *
spring | 0 0 2 * * * | unix => 0 2 * * *
spring | 0 0/30 8-18 * * MON-FRI | unix => */30 8-18 * * MON-FRI
spring | 30 0 2 * * * | unix => ! unix has no seconds
spring | 30 0 2 * * * | quartz => 30 0 2 * * ?
spring | 0 0 0 13 * FRI | unix => ! unix can't say that two day fields both count: either is enough to it, or it has one
spring | 0 0 0 */2 * FRI | unix => 0 0 */2 * FRI
spring | 0 0 0 13 * FRI | quartz => ! quartz can't say that two day fields both count: either is enough to it, or it has one
spring | 0 5/15 8 * * * | unix => ! unix could only list these times, and listed times follow the wall where the clocks are changed
spring | 0 5/15 * * * * | unix => 5,20,35,50 * * * *
quartz | 0 0 12 ? * 2-6 | unix => 0 12 * * MON-FRI
quartz | 0 0 12 ? * 6L | spring => 0 0 12 * * FRIL
quartz | 0 0 12 L-3 * ? | unix => 0 12 L-3 * *
quartz | 0 0 12 LW * ? | spring => 0 0 12 LW * *
quartz | 0 0 12 ? * FRI-MON | spring => 0 0 12 * * MON,FRI,SAT,SUN
quartz | 0 0 22-2 * * ? | unix => 0 0-2,22,23 * * *
quartz | 0 0 12 ? NOV-FEB 2#1 | unix => 0 12 * 1,2,11,12 MON#1
quartz | 0 0 12 ? * L | unix => 0 12 * * SAT
quartz | 0 0 12 1 1 ? 2026-2030 | unix => ! unix has no years
quartz | 0 0 12 1 1 ? 2026-2030 | spring => ! spring has no years
quartz | 0 0 12 1 1 ? 2026-2030 | quartz => 0 0 12 1 1 ? 2026-2030
";

#[test]
fn expressions_in_other_dialects() {
    for row in TRANSLATIONS.lines() {
        let (question, expected) = row.split_once(" => ").unwrap();
        let [from, text, to] = question.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let got = read(text, from.parse().unwrap()).translate(to.parse().unwrap());
        let got = got.unwrap_or_else(|reason| format!("! {reason}"));
        assert_eq!(got, expected, "{question}");
    }
}

#[test]
fn hashes_are_translated_as_what_they_stand_for() {
    let options = Options {
        name_for_hash: "nightly-report".to_owned(),
        ..Options::default()
    };
    let hashed = Cron::parse("H H(1-5) * * *", &options).unwrap();
    let plain = read(&hashed.translate(Dialect::Spring).unwrap(), Dialect::Spring);
    let from = at("2026-01-01T00:00:00Z");
    assert_eq!(plain.next(from), hashed.next(from));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_translated_means_the_same((dialect, text) in super::properties::expressions()) {
        let options = Options { dialect, ..Options::default() };
        let Ok(cron) = Cron::parse(&text, &options) else { return Ok(()) };
        for to in [Dialect::Unix, Dialect::Spring, Dialect::Quartz] {
            let Ok(translation) = cron.translate(to) else { continue };
            let other = read(&translation, to);
            prop_assert_eq!(other.fields().plain(), cron.fields().plain(), "{} as {}", text, translation);
            prop_assert_eq!(other.is_listed(), cron.is_listed(), "{} as {}", text, translation);
            prop_assert_eq!(other.dialect(), to);
            // And the sentence is the same, since it is about what is allowed.
            prop_assert_eq!(other.describe(), cron.describe());
            let mut from = at("2026-01-01T00:00:00Z");
            for _ in 0..4 {
                let next = cron.next(from);
                prop_assert_eq!(other.next(from), next);
                let Some(next) = next else { break };
                from = next;
            }
        }
    }
}
