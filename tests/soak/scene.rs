//! One protocol under soak: programs that are watched, a steady pair that talks, and waves of visitors.

use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use chat_tests::until;
use fastrand::Rng;

use crate::crowd::Wave;
use crate::figures::{Figures, Series};
use crate::talk::{Talk, Tally};
use crate::watched::Watched;

/// A protocol's servers with the steady pair, ready.
pub(crate) struct Scene {
    watched: Vec<Watched>,
    talks: Vec<Talk>,
    /// Lets visitors come and go; when it returns, nobody is there but the steady pair.
    wave: Box<dyn FnMut(&mut Wave) + Send>,
}

/// How to soak.
pub(crate) struct Plan {
    /// How long.
    pub(crate) length: Duration,
    /// What makes this run differ from others.
    pub(crate) seed: u64,
    /// Set when the run is to end early.
    pub(crate) interrupted: Arc<AtomicBool>,
    pub(crate) csv: Csv,
}

/// The file of all samples.
pub(crate) struct Csv(Mutex<File>);

/// What came of a soak.
pub(crate) struct Outcome {
    /// For each program under watch.
    pub(crate) series: Vec<(&'static str, Series)>,
    /// What the steady pairs said.
    pub(crate) tally: Tally,
    pub(crate) waves: u64,
    pub(crate) deeds: u64,
    /// What is wrong: nothing, if all is well.
    pub(crate) failures: Vec<String>,
}

/// How long a server may take behind a wave until it is as it was before: half a second for farewells, five
/// for a link that is tried again, and what a busy machine takes.
const RETURN: Duration = Duration::from_secs(15);

/// How often a sample is taken.
const SAMPLE: Duration = Duration::from_secs(1);

/// How often it is said how far it is.
const TELL: Duration = Duration::from_mins(1);

/// How long a wave is: so many for a run, but within these bounds.
const WAVES: u32 = 12;
const WAVE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

impl Scene {
    /// Programs that run, pairs that are registered, and what a wave is.
    pub(crate) fn new(
        watched: Vec<Watched>,
        talks: Vec<Talk>,
        wave: impl FnMut(&mut Wave) + Send + 'static,
    ) -> Self {
        Self { watched, talks, wave: Box::new(wave) }
    }
}

/// Opens a scene and soaks it.
pub(crate) fn soak(name: &'static str, open: fn() -> Scene, plan: &Plan) -> Outcome {
    let mut outcome =
        Outcome { series: Vec::new(), tally: Tally::default(), waves: 0, deeds: 0, failures: Vec::new() };
    let mut scene = match catch_unwind(open) {
        Ok(scene) => scene,
        Err(panic) => {
            outcome.failures.push(format!("cannot begin: {}", text_of(&*panic)));
            return outcome;
        }
    };
    outcome.series = scene.watched.iter().map(|watched| (watched.name, Series::default())).collect();
    let tally = Mutex::new(Tally::default());
    let soaked = catch_unwind(AssertUnwindSafe(|| {
        let mut director =
            Director { name, plan, start: Instant::now(), tally: &tally, outcome: &mut outcome };
        director.soak(&mut scene);
        scene.watched.iter_mut().for_each(Watched::end);
    }));
    outcome.tally = *tally.lock().unwrap();
    if let Err(panic) = soaked {
        outcome.failures.push(text_of(&*panic));
        outcome.failures.extend(scene.watched.iter().flat_map(Watched::cut_off));
    }
    let judged = outcome.series.iter();
    let judged = judged
        .flat_map(|(name, series)| series.judge().into_iter().map(move |text| format!("{name}: {text}")));
    outcome.failures.extend(judged.collect::<Vec<_>>());
    outcome
}

/// Lets a scene happen.
struct Director<'a> {
    name: &'static str,
    plan: &'a Plan,
    start: Instant,
    tally: &'a Mutex<Tally>,
    outcome: &'a mut Outcome,
}

/// Sets a flag at the end of a scope, however that ends.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Director<'_> {
    /// The pairs talk while one wave follows the other.
    fn soak(&mut self, scene: &mut Scene) {
        let mut rng = Rng::with_seed(self.plan.seed);
        let over = AtomicBool::new(false);
        let Scene { watched, talks, wave } = scene;
        thread::scope(|scope| {
            let at_the_end = AtTheEnd(&over);
            let run = |talk| {
                let (rng, over, tally) = (rng.fork(), &over, self.tally);
                scope.spawn(move || Talk::run(talk, rng, tally, over))
            };
            let talking: Vec<_> = talks.iter_mut().map(run).collect();
            let waved = catch_unwind(AssertUnwindSafe(|| self.waves(watched, wave, &mut rng, &talking)));
            drop(at_the_end);
            // What the pair says of it is the nearer cause.
            talking.into_iter().for_each(|talk| talk.join().unwrap_or_else(|panic| resume_unwind(panic)));
            waved.unwrap_or_else(|panic| resume_unwind(panic));
        });
    }

    fn waves(
        &mut self,
        watched: &mut [Watched],
        wave: &mut (dyn FnMut(&mut Wave) + Send),
        rng: &mut Rng,
        talking: &[ScopedJoinHandle<'_, ()>],
    ) {
        let length = (self.plan.length / WAVES).clamp(WAVE.0, WAVE.1);
        self.settle(watched);
        let goes_on = |start: Instant| {
            start.elapsed() < self.plan.length && !self.plan.interrupted.load(Ordering::Relaxed)
        };
        let mut told = Instant::now();
        while goes_on(self.start) && !talking.iter().any(ScopedJoinHandle::is_finished) {
            let mut next = Wave { rng: rng.fork(), length, deeds: 0 };
            thread::scope(|scope| self.wave(scope, watched, wave, &mut next));
            self.outcome.deeds += next.deeds;
            self.outcome.waves += 1;
            if !self.rest(watched) {
                return;
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell();
            }
        }
    }

    /// The first rest: when nothing changes any more.
    fn settle(&mut self, watched: &mut [Watched]) {
        const LOOKS: usize = 10;
        const APART: Duration = Duration::from_millis(20);
        let mut look =
            || -> Vec<[u64; 4]> { watched.iter_mut().map(|watched| counts(&watched.look())).collect() };
        let mut before = look();
        let mut same = 0;
        let settled = until(RETURN, || {
            thread::sleep(APART);
            let now = look();
            same = if now == before { same + 1 } else { 0 };
            before = now;
            (same == LOOKS).then_some(())
        });
        assert!(settled.is_some(), "wanted: figures that settle\nhave: {before:?}");
        for (watched, (_, series)) in watched.iter_mut().zip(&mut self.outcome.series) {
            let figures = watched.look();
            assert_eq!(
                figures.names, watched.names,
                "wanted on the right: names registered at {}",
                watched.name
            );
            series.add(self.start.elapsed(), figures);
        }
    }

    /// One wave, and a sample every second.
    fn wave<'s>(
        &self,
        scope: &'s Scope<'s, '_>,
        watched: &mut [Watched],
        wave: &'s mut (dyn FnMut(&mut Wave) + Send),
        next: &'s mut Wave,
    ) {
        let (done, is_done) = mpsc::channel();
        let waving = scope.spawn(move || {
            // Dropped when this ends, however it does: that is what is waited for.
            let _done: mpsc::Sender<()> = done;
            wave(next);
        });
        while is_done.recv_timeout(SAMPLE) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.sample(watched, "wave");
        }
        waving.join().unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// Waits until everything is as it was before the first wave. Whether it came to that; what there is goes
    /// into the series in either case.
    fn rest(&mut self, watched: &mut [Watched]) -> bool {
        let first: Vec<_> = self.outcome.series.iter().filter_map(|(_, series)| series.first()).collect();
        let mut rested =
            |(watched, first): (&mut Watched, &Figures)| counts(&watched.look()) == counts(first);
        let returned = until(RETURN, || {
            let all = watched.iter_mut().zip(&first).all(&mut rested);
            if !all {
                // Asking who is registered is work for the server, too.
                thread::sleep(Duration::from_millis(50));
            }
            all.then_some(())
        });
        for (watched, (_, series)) in watched.iter_mut().zip(&mut self.outcome.series) {
            watched.ask();
            series.add(self.start.elapsed(), watched.look());
        }
        self.sample(watched, "rest");
        returned.is_some()
    }

    /// Says how far it is.
    fn tell(&self) {
        let (name, heard) = (self.name, self.tally.lock().unwrap().heard);
        eprintln!(
            "{name}: {} s, {} waves, {heard} messages",
            self.start.elapsed().as_secs(),
            self.outcome.waves
        );
    }

    /// A row of the CSV for each program.
    fn sample(&self, watched: &mut [Watched], phase: &str) {
        let tally = *self.tally.lock().unwrap();
        let at = self.start.elapsed().as_secs_f64();
        for watched in watched {
            let Figures { resident, peak, threads, descriptors, sockets, names, file, processor } =
                watched.look();
            let row = format!(
                "{},{},{at:.1},{},{phase},{resident},{peak},{threads},{descriptors},{sockets},{names},{file},{},{},{}",
                self.name,
                watched.name,
                self.outcome.waves,
                processor.as_millis(),
                tally.heard,
                tally.worst.as_millis(),
            );
            self.plan.csv.write(&row);
        }
    }
}

/// What must be the same in every rest.
const fn counts(figures: &Figures) -> [u64; 4] {
    [figures.threads, figures.descriptors, figures.names, figures.file]
}

impl Csv {
    /// Begins the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let columns = "protocol,program,seconds,wave,phase,resident KiB,peak KiB,threads,descriptors,sockets,names,\
                       file bytes,processor ms,messages,worst ms";
        writeln!(file, "{columns}")?;
        Ok(Self(Mutex::new(file)))
    }

    fn write(&self, row: &str) {
        writeln!(self.0.lock().unwrap(), "{row}").expect("the samples can be written");
    }
}

/// What a thread said when it panicked.
fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").trim().to_owned()
}
