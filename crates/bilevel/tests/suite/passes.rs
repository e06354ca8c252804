//! Passes and Gram matrices against their definitions, at shapes where they take another way than usual.

use bilevel::data::{CsrMatrix, DenseMatrix, DesignMatrix, Pass, RowPick, RowRanges};
use bilevel::sample::{Purpose, Rng};

/// Few entries for many weights: partial sums would take longer than the product.
#[test]
fn the_transposed_product_of_few_entries_and_many_columns_is_that_of_its_definition() {
    let (n, p) = (1300, 5000);
    let mut rng = Rng::stream(3, Purpose::Start, 0);
    let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for _ in 0..n {
        let mut row: Vec<u32> = (0..3).map(|_| rng.below(p) as u32).collect();
        row.sort_unstable();
        row.dedup();
        values.extend(row.iter().map(|_| rng.normal()));
        indices.extend(row);
        offsets.push(values.len());
    }
    let matrix = CsrMatrix::new(p, offsets, indices, values);
    let design = DesignMatrix::CsrF64(matrix.clone());
    let rows = RowRanges::new([10..700, 720..1290]);
    for outputs in [1, 3] {
        let weights: Vec<f64> = (0..p * outputs).map(|_| rng.normal()).collect();
        let intercept: Vec<f64> = (0..outputs).map(|_| rng.normal()).collect();
        let before: Vec<f64> = (0..p * outputs).map(|_| rng.normal()).collect();
        let (mut expected, mut expected_intercept, mut expected_sum) = (before.clone(), vec![0.5; outputs], 0.0);
        for (position, row) in rows.ranges().iter().cloned().flatten().enumerate() {
            let (indices, values) = matrix.row(row);
            for c in 0..outputs {
                let products = indices.iter().zip(values).map(|(&j, x)| x * weights[j as usize * outputs + c]);
                let margin = intercept[c] + products.sum::<f64>();
                let g = margin * (1.0 + position as f64);
                indices.iter().zip(values).for_each(|(&j, x)| expected[j as usize * outputs + c] += x * g);
                expected_intercept[c] += g;
                expected_sum += margin;
            }
        }
        let (mut found, mut found_intercept) = (before, vec![0.5; outputs]);
        let visit = |rows: std::ops::Range<usize>, position: usize, margins: &mut [f64]| {
            assert_eq!(margins.len(), rows.len() * outputs);
            let sum = margins.iter().sum();
            for (i, row) in margins.chunks_exact_mut(outputs).enumerate() {
                row.iter_mut().for_each(|m| *m *= 1.0 + (position + i) as f64);
            }
            sum
        };
        let sum = Pass::new(&design, &rows).margins_and_transpose(
            &weights,
            &intercept,
            visit,
            &mut found,
            &mut found_intercept,
        );
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
        assert!(near(sum, expected_sum), "{sum} {expected_sum}");
        assert!(found.iter().zip(&expected).all(|(a, b)| near(*a, *b)), "{outputs} outputs");
        assert!(found_intercept.iter().zip(&expected_intercept).all(|(a, b)| near(*a, *b)), "{outputs} outputs");
    }
}

/// So many columns that the Gram matrix is made by panels, the last of them narrower.
#[test]
fn gram_matrices_of_many_columns_are_those_of_their_definition() {
    let (n, p) = (70, 530);
    let mut rng = Rng::stream(4, Purpose::Start, 0);
    let x: Vec<f64> = (0..n * p).map(|_| rng.normal()).collect();
    let design = DesignMatrix::DenseF64(DenseMatrix::new(n, p, x.clone()));
    let d: Vec<f64> = (5..n).map(|_| rng.uniform()).collect();
    let mut found = vec![0.25; p * p];
    design.add_block_gram(&RowPick::Span(5..n), &d, &mut found);
    for j in 0..p {
        for k in 0..=j {
            let sum: f64 = (5..n).map(|i| d[i - 5] * x[i * p + j] * x[i * p + k]).sum();
            assert!((found[j * p + k] - 0.25 - sum).abs() < 1e-12, "{j} {k}");
        }
    }
}
