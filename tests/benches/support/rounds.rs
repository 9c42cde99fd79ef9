//! Measuring on a machine that does other things, too.
//!
//! Two contenders that are measured one behind the other differ by whatever the machine did meanwhile. So
//! they take turns: many short rounds, each gives one figure for both, and what is compared is the ratio
//! within a round. The median of the ratios is the result, their quartiles say how far it can be trusted: a
//! difference that is smaller than the distance of the quartiles is noise.

use std::io;
use std::time::{Duration, Instant};

/// The figures of two contenders: one number for each round.
#[derive(Clone, Default)]
pub(crate) struct Pair {
    /// The contender under test.
    pub(crate) subject: Vec<f64>,
    /// What it is compared with.
    pub(crate) baseline: Vec<f64>,
}

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The contender under test.
    Subject,
    /// What it is compared with.
    Baseline,
}

/// A measurement in so many rounds. `measure` gives all `N` figures of one turn; the result has a pair for
/// each.
///
/// # Errors
/// Those of `measure`.
pub(crate) fn interleave<const N: usize>(
    rounds: usize,
    mut measure: impl FnMut(Turn) -> io::Result<[f64; N]>,
) -> io::Result<[Pair; N]> {
    let [subject, baseline] = rotate(rounds, [Turn::Subject, Turn::Baseline], |turn| measure(*turn))?;
    Ok(std::array::from_fn(|figure| Pair::new(&subject[figure], &baseline[figure])))
}

/// What was measured of one contender: for each of `N` figures, a number for each round.
pub(crate) type Series<const N: usize> = [Vec<f64>; N];

/// A measurement of `K` contenders in so many rounds: in each, all of them take a turn. `measure` gives all
/// `N` figures of one turn.
///
/// # Errors
/// Those of `measure`.
pub(crate) fn rotate<T, const K: usize, const N: usize>(
    rounds: usize,
    mut contenders: [T; K],
    mut measure: impl FnMut(&mut T) -> io::Result<[f64; N]>,
) -> io::Result<[Series<N>; K]> {
    let mut all = [const { [const { Vec::new() }; N] }; K];
    for round in 0..rounds {
        // Whoever comes later may find a warmer or a hotter machine: they swap places.
        for number in (0..K).map(|place| (place + round) % K) {
            let figures = measure(&mut contenders[number])?;
            all[number].iter_mut().zip(figures).for_each(|(series, figure)| series.push(figure));
        }
    }
    Ok(all)
}

/// Measures for `time`, one by one: latency (p50, p99) in microseconds, and how many thousands per second.
/// What was lost has no latency.
///
/// # Errors
/// Those of `measure`.
pub(crate) fn latencies(
    time: Duration,
    mut measure: impl FnMut() -> io::Result<Option<Duration>>,
) -> io::Result<[f64; 3]> {
    let start = Instant::now();
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        latencies.extend(measure()?.map(|latency| latency.as_secs_f64() * 1e6));
    }
    let rate = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Ok([quantile(&latencies, 0.5), quantile(&latencies, 0.99), rate / 1e3])
}

impl Pair {
    /// The figures of either, in the same rounds.
    pub(crate) fn new(subject: &[f64], baseline: &[f64]) -> Self {
        Self { subject: subject.to_vec(), baseline: baseline.to_vec() }
    }

    /// A figure of which there is only one.
    pub(crate) fn once(subject: f64, baseline: f64) -> Self {
        Self { subject: vec![subject], baseline: vec![baseline] }
    }

    /// How many times the baseline the subject is, in each round.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.subject.iter().zip(&self.baseline).map(|(subject, baseline)| subject / baseline).collect()
    }
}

/// The value below which the given part of `values` lies, between 0 and 1; not a number if there are no
/// values.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let index = (part * last as f64).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The middle of `values`.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
