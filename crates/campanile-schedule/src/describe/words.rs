//! What sentences count with: the shape of a set of numbers, lists, ordinals. Knows no field and no schedule.

/// Steps of fewer numbers than this are easier to read as a list.
const STEPS_MIN: usize = 4;
/// Runs of fewer numbers than this are easier to read as a list.
const RUN_MIN: usize = 3;

/// What a sorted list of numbers looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// All that the field has.
    All,
    /// A single number.
    One(u32),
    /// Without holes, from one number to another.
    Run(u32, u32),
    /// In equal steps all around the field, so that the last one leads to the first again.
    Every { step: u32, from: u32 },
    /// In equal steps, from one number to another.
    Steps { step: u32, from: u32, to: u32 },
    /// Anything else.
    Mixed,
}

/// The shape of numbers in a field from `low` to `high`.
pub(super) fn shape(numbers: &[u32], low: u32, high: u32) -> Shape {
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Shape::Mixed;
    };
    let span = high - low + 1;
    let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    if count == span {
        return Shape::All;
    }
    let Some(step) = equal_step(numbers) else {
        return if count == 1 {
            Shape::One(first)
        } else {
            Shape::Mixed
        };
    };
    match (step, numbers.len()) {
        _ if step > 1 && span.is_multiple_of(step) && count == span / step => {
            Shape::Every { step, from: first }
        }
        (1, RUN_MIN..) => Shape::Run(first, last),
        (2.., STEPS_MIN..) => Shape::Steps {
            step,
            from: first,
            to: last,
        },
        _ => Shape::Mixed,
    }
}

/// The difference between neighbours, where it is the same for all.
fn equal_step(numbers: &[u32]) -> Option<u32> {
    let mut steps = numbers.windows(2).map(|pair| match pair {
        [a, b] => b - a,
        _ => 0,
    });
    let step = steps.next()?;
    steps.all(|other| other == step).then_some(step)
}

/// The numbers of the set bits.
pub(super) fn numbers(set: u64) -> Vec<u32> {
    (0..64).filter(|n| set >> n & 1 == 1).collect()
}

/// Numbers as runs without holes; those of two numbers as two.
pub(super) fn runs(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut out: Vec<(u32, u32)> = Vec::new();
    for n in numbers {
        match out.last_mut() {
            Some((_, to)) if *to + 1 == *n => *to = *n,
            _ => out.push((*n, *n)),
        }
    }
    let split = |(from, to): (u32, u32)| match to - from {
        1 => vec![(from, from), (to, to)],
        _ => vec![(from, to)],
    };
    out.into_iter().flat_map(split).collect()
}

/// `a, b and c`
pub(super) fn listed(parts: &[String], and: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {and} {last}", most.join(", ")),
    }
}

/// `1, 2 and 5 to 9`
pub(super) fn number_list(numbers: &[u32]) -> String {
    let parts: Vec<String> = runs(numbers)
        .into_iter()
        .map(|(from, to)| match from == to {
            true => from.to_string(),
            false => format!("{from} to {to}"),
        })
        .collect();
    listed(&parts, "and")
}

/// `1st`, `2nd`, …
pub(super) fn ordinal(n: u32) -> String {
    let end = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}
