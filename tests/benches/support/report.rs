//! Figures as a table for people and as CSV for programs.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::options::Options;
use super::rounds::{Pair, median, quantile};

/// All rows, in the order in which they were measured.
pub(crate) struct Report {
    /// What is counted in the first column.
    counted: &'static str,
    rows: Vec<Row>,
}

/// What a figure is.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: &'static str,
    /// In which unit.
    pub(crate) unit: &'static str,
    /// What the baseline is.
    pub(crate) baseline: &'static str,
    /// What is to be reached, if anything is.
    pub(crate) target: Option<Target>,
}

impl Figure {
    /// A figure for which nothing is to be reached.
    pub(crate) const fn new(name: &'static str, unit: &'static str, baseline: &'static str) -> Self {
        Self { name, unit, baseline, target: None }
    }
}

/// What is to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// The median ratio is at least this.
    RatioAtLeast(f64),
    /// The median ratio is at most this.
    RatioAtMost(f64),
    /// The value itself is at most this.
    AtMost(f64),
}

/// One figure, measured.
struct Row {
    count: usize,
    figure: Figure,
    pair: Pair,
}

/// The names of the columns behind the first, in the table and in the CSV.
const COLUMNS: [&str; 11] = [
    "figure",
    "unit",
    "server",
    "baseline",
    "compared with",
    "ratio",
    "ratio q1",
    "ratio q3",
    "rounds",
    "target",
    "result",
];

/// How to read the table.
const LEGEND: &str = "\
server, baseline: medians over the rounds.
ratio: the median of the rounds' ratios of server to baseline; q1, q3: their quartiles.
A ratio whose quartiles have 1 between them is noise.";

/// How many columns there are.
const WIDTH: usize = COLUMNS.len() + 1;

/// Which columns hold words and stand left; numbers stand right.
const WORDS: [&str; 5] = ["figure", "unit", "compared with", "target", "result"];

impl Report {
    /// No rows yet; the first column will say how many of `counted` there were.
    pub(crate) const fn new(counted: &'static str) -> Self {
        Self { counted, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, count: usize, figure: Figure, pair: Pair) {
        self.rows.push(Row { count, figure, pair });
    }

    /// Adds a row for each figure.
    pub(crate) fn add_all<const N: usize>(&mut self, count: usize, figures: [Figure; N], pairs: [Pair; N]) {
        figures.into_iter().zip(pairs).for_each(|(figure, pair)| self.add(count, figure, pair));
    }

    /// Prints all rows, and `notes` behind them; then writes the rows as CSV.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn publish(&self, notes: &[String], options: &Options) -> io::Result<()> {
        println!("{self}");
        notes.iter().for_each(|note| println!("{note}"));
        if options.short {
            println!("A short run: it proves that the bench works, and nothing else.");
        }
        self.write_csv(&options.csv)?;
        println!("also in {}", options.csv.display());
        Ok(())
    }

    /// Writes all rows to `path`: a line of names, then a line for each row.
    ///
    /// # Errors
    /// The file cannot be written.
    fn write_csv(&self, path: &Path) -> io::Result<()> {
        let lines: String = self.cells().map(|cells| cells.map(quoted).join(",") + "\n").collect();
        fs::write(path, lines)
            .map_err(|error| io::Error::other(format!("cannot write {}: {error}", path.display())))
    }

    fn header(&self) -> [&'static str; WIDTH] {
        std::array::from_fn(|column| column.checked_sub(1).map_or(self.counted, |behind| COLUMNS[behind]))
    }

    /// The names of the columns, then the cells of each row.
    fn cells(&self) -> impl Iterator<Item = [String; WIDTH]> {
        std::iter::once(self.header().map(str::to_owned)).chain(self.rows.iter().map(Row::cells))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.cells().collect();
        let mut count = self.counted;
        for row in &rows {
            if count != row[0] {
                writeln!(f)?;
                count = &row[0];
            }
            let cells: Vec<_> = (0..WIDTH).map(|column| aligned(&rows, row, column)).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        writeln!(f, "\n{LEGEND}")
    }
}

impl Row {
    fn cells(&self) -> [String; WIDTH] {
        let ratios = self.pair.ratios();
        let figure = self.figure;
        [
            self.count.to_string(),
            figure.name.into(),
            figure.unit.into(),
            number(median(&self.pair.subject)),
            number(median(&self.pair.baseline)),
            figure.baseline.into(),
            number(median(&ratios)),
            number(quantile(&ratios, 0.25)),
            number(quantile(&ratios, 0.75)),
            ratios.len().to_string(),
            figure.target.map(|target| target.to_string()).unwrap_or_default(),
            figure.target.map(|target| self.result(target).to_owned()).unwrap_or_default(),
        ]
    }

    fn result(&self, target: Target) -> &'static str {
        let ratio = median(&self.pair.ratios());
        let reached = match target {
            Target::RatioAtLeast(bound) => ratio >= bound,
            Target::RatioAtMost(bound) => ratio <= bound,
            Target::AtMost(bound) => median(&self.pair.subject) <= bound,
        };
        if reached { "reached" } else { "missed" }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(bound) => write!(f, "ratio >= {bound}"),
            Self::RatioAtMost(bound) => write!(f, "ratio <= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

fn aligned(rows: &[[String; WIDTH]], row: &[String; WIDTH], column: usize) -> String {
    let width = rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let cell = &row[column];
    if WORDS.contains(&rows[0][column].as_str()) {
        format!("{cell:<width$}")
    } else {
        format!("{cell:>width$}")
    }
}

/// A cell of a CSV file: in quotes if it holds what ends a cell. None of ours holds quotes or line ends.
fn quoted(cell: String) -> String {
    if cell.contains(',') { format!("\"{cell}\"") } else { cell }
}

/// About three digits that mean something.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}
