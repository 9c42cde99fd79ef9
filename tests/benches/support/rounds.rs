//! Measuring on a machine that does other things, too.
//!
//! Two contenders that are measured one behind the other differ by whatever the machine did meanwhile. So
//! they take turns: many short rounds, each gives one figure for both, and what is compared is the ratio
//! within a round. The median of the ratios is the result, their quartiles say how far it can be trusted: a
//! difference that is smaller than the distance of the quartiles is noise.

use std::io;

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
    let mut pairs = [const { Pair { subject: Vec::new(), baseline: Vec::new() } }; N];
    for round in 0..rounds {
        // Whoever comes second may find a warmer or a hotter machine: they swap places.
        let order = [Turn::Subject, Turn::Baseline];
        let order = if round % 2 == 0 { order } else { [order[1], order[0]] };
        for turn in order {
            for (pair, figure) in pairs.iter_mut().zip(measure(turn)?) {
                pair.of(turn).push(figure);
            }
        }
    }
    Ok(pairs)
}

impl Pair {
    /// A figure of which there is only one.
    pub(crate) fn once(subject: f64, baseline: f64) -> Self {
        Self { subject: vec![subject], baseline: vec![baseline] }
    }

    /// How many times the baseline the subject is, in each round.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.subject.iter().zip(&self.baseline).map(|(subject, baseline)| subject / baseline).collect()
    }

    fn of(&mut self, turn: Turn) -> &mut Vec<f64> {
        match turn {
            Turn::Subject => &mut self.subject,
            Turn::Baseline => &mut self.baseline,
        }
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
