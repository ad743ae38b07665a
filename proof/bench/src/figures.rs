//! Figures: exact percentiles from samples, rates, medians, all rounded to what they can bear.

use serde::Serialize;

/// Percentiles of lateness or latency in milliseconds. Exact: the sample at that rank, nothing interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// The smallest sample.
    pub min: f64,
    /// Half of the samples are at most this.
    pub p50: f64,
    /// Nineteen of twenty.
    pub p95: f64,
    /// Ninety-nine of a hundred.
    pub p99: f64,
    /// The largest sample.
    pub max: f64,
}

impl Percentiles {
    /// Of samples in microseconds; `None` of none.
    #[must_use]
    pub fn of_us(mut samples: Vec<i64>) -> Option<Self> {
        samples.sort_unstable();
        let (first, last) = (*samples.first()?, *samples.last()?);
        let at = |share: f64| ms(*rank(&samples, share).unwrap_or(&last));
        Some(Self {
            min: ms(first),
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            max: ms(last),
        })
    }
}

/// How many samples lie where: the upper end of each part, in milliseconds, and its samples. Each part is 1.41 times as wide as
/// the one before it; the first holds all that is less than half a millisecond.
#[must_use]
pub fn histogram(samples_us: &[i64]) -> Vec<(f64, usize)> {
    let mut parts: Vec<(f64, usize)> = Vec::new();
    let mut sorted = samples_us.to_vec();
    sorted.sort_unstable();
    let mut upper = 0.5_f64;
    let mut rest = sorted.as_slice();
    while !rest.is_empty() {
        let count = rest.partition_point(|us| ms(*us) < upper);
        parts.push((rounded(upper), count));
        rest = &rest[count..];
        upper *= std::f64::consts::SQRT_2;
    }
    parts
}

/// How many instants lie in each tenth of a second after `from_us`, up to `until_us`.
#[must_use]
pub fn timeline(instants_us: impl Iterator<Item = i64>, from_us: i64, until_us: i64) -> Vec<usize> {
    const STEP_US: i64 = 100_000;
    let steps = (until_us - from_us).div_euclid(STEP_US).max(0);
    let mut counts = vec![0; usize::try_from(steps).unwrap_or(0)];
    for at_us in instants_us {
        let step = usize::try_from((at_us - from_us).div_euclid(STEP_US));
        if let Some(count) = step.ok().and_then(|step| counts.get_mut(step)) {
            *count += 1;
        }
    }
    counts
}

/// The smallest sample that at least `share` of the samples do not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the number of samples is far below 2^52, and the product is positive"
)]
fn rank<T>(sorted: &[T], share: f64) -> Option<&T> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1))
}

/// Microseconds as milliseconds with three digits.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "latencies are far below 2^52 microseconds"
)]
pub fn ms(us: i64) -> f64 {
    us as f64 / 1_000.0
}

/// How many a second; whole numbers.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn per_second(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 {
        (count as f64 / seconds).round()
    } else {
        0.0
    }
}

/// To three digits behind the point.
#[must_use]
pub fn rounded(x: f64) -> f64 {
    (x * 1_000.0).round() / 1_000.0
}

/// The middle one (of an even number, the lower of the two in the middle: a figure that was measured).
#[must_use]
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    rank(&sorted, 0.5).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_at_their_ranks() {
        let p = Percentiles::of_us((1..=1_000).rev().map(|n| n * 1_000).collect()).unwrap();
        assert_eq!(
            (p.min, p.p50, p.p95, p.p99, p.max),
            (1.0, 500.0, 950.0, 990.0, 1_000.0)
        );
        let one = Percentiles::of_us(vec![-250]).unwrap();
        assert_eq!((one.p50, one.p99, one.max), (-0.25, -0.25, -0.25));
        assert_eq!(Percentiles::of_us(vec![]), None);
    }

    #[test]
    fn parts_and_steps_hold_every_sample_once() {
        assert_eq!(histogram(&[]), []);
        let parts = histogram(&[-5, 0, 499, 500, 706, 708, 3_000]);
        let counts: Vec<usize> = parts.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [3, 2, 1, 0, 0, 0, 1]);
        assert_eq!(parts[1].0, 0.707);
        let steps = timeline(
            [-1, 0, 99_999, 100_000, 299_999, 300_000].into_iter(),
            0,
            300_000,
        );
        assert_eq!(steps, [2, 1, 1]);
        assert!(timeline([1].into_iter(), 5, 4).is_empty());
    }

    #[test]
    fn medians_and_rates_are_plain() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(median(&[]), None);
        assert_eq!(per_second(500, 0.25), 2_000.0);
        assert_eq!(per_second(1, 0.0), 0.0);
    }
}
