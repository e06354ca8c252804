//! What the benches share: medians of many short repetitions, and data.
//!
//! A shared machine is slow at times and never fast by chance, so every figure is a median of repetitions that are short
//! against what disturbs them, and alternatives take turns so that they meet the same disturbances.
#![allow(dead_code)]

use std::path::Path;
use std::time::Instant;

use bilevel::data::{
    CsrMatrix, Dataset, DenseMatrix, DesignMatrix, Element, EncodeOptions, LearnOptions, ReadOptions, Schema, Storage,
    Target,
};
use bilevel::sample::{Purpose, Rng};

/// Repetitions of which the median is taken.
const REPETITIONS: usize = 101;
/// Seconds that one repetition should take.
const SECONDS: f64 = 5e-4;

/// Something to measure.
pub struct Candidate<'a> {
    /// What it is called in the table.
    pub name: String,
    /// Does it this many times.
    pub run: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Candidate<'a> {
    /// Repeats `once`.
    pub fn new(name: impl Into<String>, mut once: impl FnMut() + 'a) -> Self {
        Candidate { name: name.into(), run: Box::new(move |times| (0..times).for_each(|_| once())) }
    }
}

/// Seconds of one repetition.
#[derive(Debug, Clone, Copy)]
pub struct Seconds {
    /// The median.
    pub median: f64,
    /// A tenth of the repetitions are faster: the machine while nobody else uses it.
    pub quiet: f64,
}

/// Seconds of each candidate; they take turns, and a turn begins with a run outside the clock: nobody pays for what the one
/// before has left in the caches.
pub fn measure(candidates: &mut [Candidate<'_>]) -> Vec<Seconds> {
    let clock = |candidate: &mut Candidate<'_>, times| {
        let start = Instant::now();
        (candidate.run)(times);
        start.elapsed().as_secs_f64() / times as f64
    };
    let times: Vec<usize> = candidates
        .iter_mut()
        .map(|candidate| {
            let first = clock(candidate, 1).min(clock(candidate, 1));
            ((SECONDS / first.max(1e-9)) as usize).max(1)
        })
        .collect();
    let mut seconds = vec![Vec::new(); candidates.len()];
    for _ in 0..REPETITIONS {
        for ((candidate, &times), seconds) in candidates.iter_mut().zip(&times).zip(&mut seconds) {
            (candidate.run)(1);
            seconds.push(clock(candidate, times));
        }
    }
    let summary = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        Seconds { median: seconds[REPETITIONS / 2], quiet: seconds[REPETITIONS / 10] }
    };
    seconds.iter_mut().map(summary).collect()
}

/// True for what the arguments of the bench ask for: names that contain all of them.
pub fn wanted(name: &str) -> bool {
    std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).all(|argument| name.contains(&argument))
}

/// A matrix with its targets.
pub struct Data {
    /// What it is.
    pub name: String,
    /// Features.
    pub design: DesignMatrix,
    /// A number for every row.
    pub target: Vec<f64>,
}

/// `rows x features` numbers of which the given share is not zero, in steps of 1/255 between 0 and 1, as pixels are; two
/// classes.
pub fn pixels(rows: usize, features: usize, share: f64) -> Data {
    let mut rng = Rng::stream(1, Purpose::Start, 0);
    let pixel = |rng: &mut Rng| if rng.uniform() < share { (1 + rng.below(255)) as f32 / 255.0 } else { 0.0 };
    let values = (0..rows * features).map(|_| pixel(&mut rng)).collect();
    let target = (0..rows).map(|_| rng.below(2) as f64).collect();
    let design = DesignMatrix::DenseF32(DenseMatrix::new(rows, features, values));
    Data { name: format!("simulated {rows} x {features}"), design, target }
}

/// `rows x features` normal numbers, two classes.
pub fn normal(rows: usize, features: usize) -> Data {
    let mut rng = Rng::stream(2, Purpose::Start, 0);
    let values = (0..rows * features).map(|_| rng.normal() as f32).collect();
    let target = (0..rows).map(|_| rng.below(2) as f64).collect();
    let design = DesignMatrix::DenseF32(DenseMatrix::new(rows, features, values));
    Data { name: format!("simulated {rows} x {features}"), design, target }
}

/// The nonzero entries of a dense matrix in single precision.
pub fn sparse(design: &DesignMatrix) -> DesignMatrix {
    fn convert<T: Element>(matrix: &DenseMatrix<T>) -> CsrMatrix<T> {
        let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for i in 0..matrix.rows() {
            for (j, &x) in matrix.row(i).iter().enumerate().filter(|(_, x)| **x != T::default()) {
                indices.push(j as u32);
                values.push(x);
            }
            offsets.push(values.len());
        }
        CsrMatrix::new(matrix.cols(), offsets, indices, values)
    }
    match design {
        DesignMatrix::DenseF32(matrix) => DesignMatrix::CsrF32(convert(matrix)),
        DesignMatrix::DenseF64(matrix) => DesignMatrix::CsrF64(convert(matrix)),
        sparse => sparse.clone(),
    }
}

/// A file of two classes, or of labels that are told apart by whether they are odd.
pub fn file(path: &Path, labels: Option<&Path>, storage: Storage) -> bilevel::Result<Data> {
    let read = ReadOptions { labels: labels.map(Into::into), ..Default::default() };
    let encode = EncodeOptions { storage, ..Default::default() };
    let Dataset { design, target, .. } =
        Schema::learn(path, &LearnOptions { read, encode, ..Default::default() })?.data;
    let target = match target {
        Target::Classes { codes, .. } => codes.iter().map(|code| f64::from(code % 2)).collect(),
        Target::Values(values) => values.to_vec(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Data { name: format!("{name} {} x {}", design.rows(), design.cols()), design, target })
}

/// A file in the folder of bundled data.
pub fn bundled(name: &str, storage: Storage) -> bilevel::Result<Data> {
    file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name), None, storage)
}

/// The file named by an environment variable (labels by another, where they are apart).
pub fn named(variable: &str, storage: Storage) -> Option<Data> {
    let path = std::env::var_os(variable)?;
    let labels = std::env::var_os(format!("{variable}_LABELS"));
    Some(file(Path::new(&path), labels.as_deref().map(Path::new), storage).expect("a readable file"))
}
