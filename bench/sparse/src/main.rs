//! Products with sparse matrices, beside those of faer and sprs on the same numbers in the same run.
//!
//! ```text
//! cargo run --release --manifest-path bench/sparse/Cargo.toml -- FOLDER [FILE ...]
//! ```
//! A random matrix, the bundled a9a, and the given svmlight files. Each is written to FOLDER as `NAME.SHAPE.offsets`, `.indices`
//! and `.values` (integers of 8 and 4 bytes, single precision, as they lie in memory), so that SciPy can be measured on it too.

#[path = "../../../crates/bilevel/benches/common/mod.rs"]
mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};

use bilevel::data::{CsrMatrix, DesignMatrix, Element, Pass, RowPick, RowRanges, Storage};
use bilevel::sample::{Purpose, Rng};
use common::Candidate;
use faer::sparse::linalg::matmul::sparse_dense_matmul;
use faer::sparse::{SparseRowMatRef, SymbolicSparseRowMatRef};
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use sprs::prod::{mul_acc_mat_vec_csc, mul_acc_mat_vec_csr};

/// Shape and share of stored entries of the random matrix.
const RANDOM: (usize, usize, f64) = (60_000, 784, 0.05);
/// Rows of a task on two threads.
const BLOCK: usize = 2048;
/// Relative difference between the products of two libraries in single precision.
const TOLERANCE: f64 = 1e-4;

type Error = Box<dyn std::error::Error>;

/// A number type that all libraries know.
trait Number: Element + ComplexField + num_traits::Zero + sprs::MulAcc<Self> {
    const NAME: &str;
    fn design(matrix: &CsrMatrix<f32>) -> DesignMatrix;
}

impl Number for f32 {
    const NAME: &str = "f32";
    fn design(matrix: &CsrMatrix<f32>) -> DesignMatrix {
        DesignMatrix::CsrF32(matrix.clone())
    }
}

impl Number for f64 {
    const NAME: &str = "f64";
    fn design(matrix: &CsrMatrix<f32>) -> DesignMatrix {
        let offsets = ends(matrix);
        let values = matrix.values().iter().copied().map(f64::from).collect();
        DesignMatrix::CsrF64(CsrMatrix::new(matrix.cols(), offsets, matrix.indices().to_vec(), values))
    }
}

/// Where the rows begin, and the last one ends.
fn ends(matrix: &CsrMatrix<f32>) -> Vec<usize> {
    let mut end = 0;
    let lengths = (0..matrix.rows()).map(|row| matrix.row(row).0.len());
    std::iter::once(0)
        .chain(lengths.map(|length| {
            end += length;
            end
        }))
        .collect()
}

/// Independent entries, each there with the same probability.
fn random() -> CsrMatrix<f32> {
    let (rows, cols, share) = RANDOM;
    let mut rng = Rng::stream(1, Purpose::Start, 0);
    let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for _ in 0..rows {
        for j in 0..cols {
            if rng.uniform() < share {
                indices.push(j as u32);
                values.push(rng.normal() as f32);
            }
        }
        offsets.push(values.len());
    }
    CsrMatrix::new(cols, offsets, indices, values)
}

fn write(folder: &Path, name: &str, matrix: &CsrMatrix<f32>) -> std::io::Result<()> {
    let path = |part| folder.join(format!("{name}.{}x{}.{part}", matrix.rows(), matrix.cols()));
    let offsets: Vec<u8> = ends(matrix).iter().flat_map(|&end| (end as u64).to_le_bytes()).collect();
    std::fs::write(path("offsets"), offsets)?;
    std::fs::write(path("indices"), matrix.indices().iter().flat_map(|j| j.to_le_bytes()).collect::<Vec<u8>>())?;
    std::fs::write(path("values"), matrix.values().iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

fn agree(product: &str, library: &str, found: &[f64], wanted: &[f64]) {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(wanted).map(|(a, b)| a - b)) / norm(&mut wanted.iter().copied());
    assert!(difference < TOLERANCE, "{library} makes something else of {product}: {difference:.1e}");
}

/// Times of both products in one precision; a line each.
fn measure<T: Number>(name: &str, matrix: &CsrMatrix<f32>) {
    let design = T::design(matrix);
    let (n, p) = (design.rows(), design.cols());
    let pass = Pass::new(&design, &RowRanges::all(n));
    let offsets: Vec<u32> = ends(matrix).iter().map(|&end| end as u32).collect();
    let values: Vec<T> = matrix.values().iter().map(|&x| T::from_f64(x.into())).collect();
    let symbolic = SymbolicSparseRowMatRef::new_checked(n, p, &offsets, None, matrix.indices());
    let in_faer = SparseRowMatRef::new(symbolic, &values);
    let in_sprs = sprs::CsMatViewI::<T, u32>::new((n, p), &offsets, matrix.indices(), &values);
    let vector = |length| (0..length).map(|k| (k as f64 * 0.7).sin()).collect::<Vec<f64>>();
    let narrow = |wide: &[f64]| wide.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
    let wide = |narrow: &[T]| narrow.iter().map(|&x| x.to_f64()).collect::<Vec<f64>>();
    let (w, u) = (vector(p), vector(n));
    let (w_narrow, u_narrow) = (narrow(&w), narrow(&u));
    let zero = T::from_f64(0.0);
    let all = || RowPick::Span(0..n);
    let forward = |out: &mut [f64]| design.block_margins(&all(), &w, 1, out);
    let forward_by_blocks = |out: &mut [f64]| {
        out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
            let first = block * BLOCK;
            design.block_margins(&RowPick::Span(first..first + out.len()), &w, 1, out);
        });
    };
    let back = |out: &mut [f64]| {
        out.fill(0.0);
        design.add_block_transpose(&all(), &u, 1, out);
    };
    let back_by_chunks = |out: &mut [f64]| {
        out.fill(0.0);
        let add = |rows: Range<usize>, position: usize, partial: &mut [f64]| {
            let u = &u[position..position + rows.len()];
            design.add_block_transpose(&RowPick::Span(rows), u, 1, partial);
        };
        pass.accumulate(2, add, out);
    };
    let (mut own, mut own_transposed) = (vec![0.0; n], vec![0.0; p]);
    forward(&mut own);
    back(&mut own_transposed);

    let forward_by_faer = |out: &mut [T]| {
        let out = MatMut::from_column_major_slice_mut(out, n, 1);
        let w = MatRef::from_column_major_slice(&w_narrow, p, 1);
        sparse_dense_matmul(out, Accum::Replace, in_faer, w, T::from_f64(1.0), Par::Seq);
    };
    let back_by_faer = |out: &mut [T]| {
        let out = MatMut::from_column_major_slice_mut(out, p, 1);
        let u = MatRef::from_column_major_slice(&u_narrow, n, 1);
        sparse_dense_matmul(out, Accum::Replace, in_faer.transpose(), u, T::from_f64(1.0), Par::Seq);
    };
    let forward_by_sprs = |out: &mut [T]| {
        out.fill(zero);
        mul_acc_mat_vec_csr(in_sprs, &w_narrow[..], out);
    };
    let back_by_sprs = |out: &mut [T]| {
        out.fill(zero);
        mul_acc_mat_vec_csc(in_sprs.transpose_view(), &u_narrow[..], out);
    };
    let (mut long, mut short) = (vec![zero; n], vec![zero; p]);
    forward_by_faer(&mut long);
    agree("X w", "faer", &wide(&long), &own);
    back_by_faer(&mut short);
    agree("X^T u", "faer", &wide(&short), &own_transposed);
    forward_by_sprs(&mut long);
    agree("X w", "sprs", &wide(&long), &own);
    back_by_sprs(&mut short);
    agree("X^T u", "sprs", &wide(&short), &own_transposed);

    let two = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let (mut faer_long, mut faer_short) = (long.clone(), short.clone());
    let (mut own_long, mut own_short) = (own.clone(), own_transposed.clone());
    let tables = [
        (
            "X w",
            vec![
                Candidate::new("bilevel 1", || forward(&mut own)),
                Candidate::new("bilevel 2", || two.install(|| forward_by_blocks(&mut own_long))),
                Candidate::new("faer 1", || forward_by_faer(&mut faer_long)),
                Candidate::new("sprs 1", || forward_by_sprs(&mut long)),
            ],
        ),
        (
            "X^T u",
            vec![
                Candidate::new("bilevel 1", || back(&mut own_transposed)),
                Candidate::new("bilevel 2", || two.install(|| back_by_chunks(&mut own_short))),
                Candidate::new("faer 1", || back_by_faer(&mut faer_short)),
                Candidate::new("sprs 1", || back_by_sprs(&mut short)),
            ],
        ),
    ];
    for (product, mut candidates) in tables {
        let seconds = common::measure(&mut candidates);
        for (candidate, seconds) in candidates.iter().zip(&seconds) {
            let [median, quiet] = [seconds.median, seconds.quiet].map(|seconds| seconds * 1e3);
            let (stored, candidate) = (matrix.stored(), &candidate.name);
            println!("{name}|{n}|{p}|{stored}|{product}|{}|{candidate}|{median:.4}|{quiet:.4}", T::NAME);
        }
    }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("name a folder for the matrices")?;
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/a9a.gz");
    let mut matrices = vec![("random".to_string(), random())];
    for path in std::iter::once(bundled).chain(arguments) {
        let DesignMatrix::CsrF32(matrix) = common::file(&path, None, Storage::Sparse)?.design else {
            return Err(format!("{}: no sparse rows", path.display()).into());
        };
        let name = path.file_name().ok_or("a file has a name")?.to_string_lossy();
        matrices.push((name.split('.').next().unwrap_or_default().to_string(), matrix));
    }
    println!("matrix|rows|columns|stored|product|precision|library, threads|median ms|quiet ms");
    for (name, matrix) in &matrices {
        write(&folder, name, matrix)?;
        measure::<f32>(name, matrix);
        measure::<f64>(name, matrix);
    }
    Ok(())
}
