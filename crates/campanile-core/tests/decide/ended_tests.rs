//! The counts of ended runs, by what they count and by how their names are kept apart.

use super::*;

#[test]
fn a_star_stands_for_anything() {
    for (pattern, name, fits) in [
        ("billing-*", "billing-", true),
        ("billing-*", "billing-month", true),
        ("billing-*", "my-billing-month", false),
        ("*", "anything", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("a*c*e", "abcde", true),
        ("a*c*e", "ace", true),
        ("a*c*e", "ae", false),
        ("*-x", "a-x", true),
        ("*-x", "-x", true),
        ("a*a", "a", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}

#[test]
fn figures_are_kept_for_so_many_and_no_more() {
    let figures = Figures::watching(&["t*".to_owned()]);
    for n in 0..limits::METRIC_SERIES_MAX + 10 {
        let queue = QueueName::new(&format!("q{n}"));
        figures.end(&queue, State::Succeeded, Reason::None);
        figures.task(&format!("t{n}"), |t| t.succeeded += 1);
        figures.task(&format!("other{n}"), |t| t.succeeded += 1);
    }
    assert_eq!(figures.ended().len(), limits::METRIC_SERIES_MAX + 1);
    let others = figures
        .ended()
        .into_iter()
        .find(|((q, _, _), _)| q.as_str() == OTHERS);
    assert_eq!(others.map(|(_, n)| n), Some(10));
    assert_eq!(figures.tasks().len(), limits::METRIC_SERIES_MAX);
}
