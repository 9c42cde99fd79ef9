//! What a program holds at rest, wave by wave, and whether that grows.

use std::fmt::Write as _;
use std::time::Duration;

/// What a program holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Resident memory in KiB, and the most that it has ever been.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    pub(crate) threads: u64,
    /// Open file descriptors, and how many of them are sockets.
    pub(crate) descriptors: u64,
    pub(crate) sockets: u64,
    /// How many names are registered.
    pub(crate) names: u64,
    /// How many bytes the file has that it keeps.
    pub(crate) file: u64,
    /// The processor time that it has used.
    pub(crate) processor: Duration,
}

/// The figures of one program at rest: one for each wave, behind it, and one from before the first.
#[derive(Default)]
pub(crate) struct Series(Vec<(Duration, Figures)>);

/// What is counted.
type Count = fn(&Figures) -> u64;

/// By how many KiB the memory of a program at rest may differ from one third of a run to the next.
///
/// At rest it is not a fixed number: a heap ends where the last piece in use stands, and that depends on who
/// met whom. Half a megabyte comes and goes so. In ten minutes more than ten thousand visitors come and go in
/// each third: so this is less than a hundred bytes for each of them, and whatever is forgotten is larger.
const TOLERANCE: u64 = 1024;

/// A shorter run says nothing of memory: the heaps are not yet as large as they get.
const LONG_ENOUGH: Duration = Duration::from_mins(3);

impl Series {
    /// Adds what was there so long after the start.
    pub(crate) fn add(&mut self, at: Duration, figures: Figures) {
        self.0.push((at, figures));
    }

    /// The figures of the first rest.
    pub(crate) fn first(&self) -> Option<Figures> {
        self.0.first().map(|(_, figures)| *figures)
    }

    /// The figures at the start, after one third, after two thirds, and at the end.
    pub(crate) fn by_thirds(&self) -> [Figures; 4] {
        let whole = self.whole();
        let last_until = |end| self.0.iter().take_while(|(at, _)| *at <= end).last();
        [0, 1, 2, 3].map(|third| {
            last_until(whole * third / 3)
                .or(self.0.first())
                .map_or(Figures::default(), |(_, figures)| *figures)
        })
    }

    /// What is not as it should be: nothing, if every figure is flat.
    pub(crate) fn judge(&self) -> Vec<String> {
        let counts: [(&str, Count); 4] = [
            ("threads", |figures| figures.threads),
            ("descriptors", |figures| figures.descriptors),
            ("names", |figures| figures.names),
            ("bytes in the file", |figures| figures.file),
        ];
        let changes = counts.iter().filter_map(|(what, count)| self.change(what, *count));
        changes.chain(self.growth()).collect()
    }

    /// Whether memory was judged.
    pub(crate) fn is_long_enough(&self) -> bool {
        self.whole() >= LONG_ENOUGH
    }

    fn whole(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// A count must be the same in every rest.
    fn change(&self, what: &str, count: Count) -> Option<String> {
        let wanted = count(&self.first()?);
        let (at, have) =
            self.0.iter().map(|(at, figures)| (at, count(figures))).find(|(_, have)| *have != wanted)?;
        Some(format!("{what} at rest: {wanted} at the start, {have} after {} s", at.as_secs()))
    }

    /// Memory must not grow from the second third to the last; the first warms up.
    fn growth(&self) -> Option<String> {
        if !self.is_long_enough() {
            return None;
        }
        let whole = self.whole();
        let [before, after] =
            [1, 2].map(|third| self.median_between(whole * third / 3, whole * (third + 1) / 3));
        let grown = after.saturating_sub(before);
        (grown > TOLERANCE).then(|| {
            let mut text =
                format!("memory at rest: {before} KiB in the second third, {after} KiB in the last; ");
            // Writing to a String cannot fail.
            let _ = write!(text, "{grown} KiB more, and {TOLERANCE} KiB are allowed");
            text
        })
    }

    /// The median of the resident memory, in KiB, in a part of the run.
    fn median_between(&self, start: Duration, end: Duration) -> u64 {
        let within = self.0.iter().filter(|(at, _)| start < *at && *at <= end);
        let mut resident: Vec<u64> = within.map(|(_, figures)| figures.resident).collect();
        resident.sort_unstable();
        resident.get(resident.len() / 2).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAVES: u64 = 60;

    /// A run of ten minutes with a rest every ten seconds: what was resident in each.
    fn run(resident: impl Fn(u64) -> u64) -> Series {
        figures(|wave| Figures {
            resident: resident(wave),
            threads: 6,
            descriptors: 9,
            names: 2,
            ..Figures::default()
        })
    }

    fn figures(figures: impl Fn(u64) -> Figures) -> Series {
        let mut series = Series::default();
        (0..=WAVES).for_each(|wave| series.add(Duration::from_secs(10 * wave), figures(wave)));
        series
    }

    #[test]
    fn what_is_flat_passes() {
        assert_eq!(run(|_| 4000).judge(), [""; 0]);
        let noisy = run(|wave| 4000 + wave * 37 % 200);
        assert_eq!(noisy.judge(), [""; 0]);
    }

    #[test]
    fn the_first_third_may_warm_up() {
        assert_eq!(run(|wave| 4000 + 500 * wave.min(WAVES / 3)).judge(), [""; 0]);
    }

    #[test]
    fn a_peak_that_goes_passes() {
        let peaks = run(|wave| if wave > 45 && wave < 52 { 90_000 } else { 4000 });
        assert_eq!(peaks.judge(), [""; 0]);
    }

    #[test]
    fn a_slow_leak_fails() {
        // 100 KiB for each wave: about 200 bytes for each visitor.
        let failures = run(|wave| 4000 + 100 * wave).judge();
        let wanted = "memory at rest: 7100 KiB in the second third, 9100 KiB in the last; \
                      2000 KiB more, and 1024 KiB are allowed";
        assert_eq!(failures, [wanted]);
    }

    #[test]
    fn a_step_that_stays_fails() {
        assert_eq!(run(|wave| if wave > 42 { 9000 } else { 4000 }).judge().len(), 1);
    }

    #[test]
    fn a_short_run_says_nothing_of_memory() {
        let mut series = Series::default();
        (0..60).for_each(|second| {
            let figures = Figures { resident: 100 * second, ..Figures::default() };
            series.add(Duration::from_secs(second), figures);
        });
        assert_eq!(series.judge(), [""; 0]);
        assert!(!series.is_long_enough());
    }

    #[test]
    fn a_thread_a_descriptor_or_a_name_that_stays_fails() {
        let leak = |wave| u64::from(wave > 30);
        let series =
            figures(|wave| Figures { threads: 6 + leak(wave), names: 3 - leak(wave), ..Figures::default() });
        let wanted = [
            "threads at rest: 6 at the start, 7 after 310 s",
            "names at rest: 3 at the start, 2 after 310 s",
        ];
        assert_eq!(series.judge(), wanted);
        let once =
            figures(|wave| Figures { descriptors: if wave == 7 { 10 } else { 9 }, ..Figures::default() });
        assert_eq!(once.judge(), ["descriptors at rest: 9 at the start, 10 after 70 s"]);
        let file = figures(|wave| Figures { file: 100 + wave / 60, ..Figures::default() });
        assert_eq!(file.judge(), ["bytes in the file at rest: 100 at the start, 101 after 600 s"]);
    }

    #[test]
    fn the_thirds_are_those_of_the_time() {
        let resident = run(|wave| wave).by_thirds().map(|figures| figures.resident);
        assert_eq!(resident, [0, 20, 40, 60]);
    }
}
