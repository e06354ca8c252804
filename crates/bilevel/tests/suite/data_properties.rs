//! Properties of encoding, splitting, standardizing and recognising.

use crate::common::Scratch;
use bilevel::data::*;
use proptest::prelude::*;

fn all_rows(rows: std::ops::Range<usize>) -> RowRanges {
    RowRanges::new(std::iter::once(rows))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn splits_are_stratified_partitions(
        counts in proptest::collection::vec(8usize..60, 1..5),
        fractions in proptest::collection::vec(0.1f64..1.0, 1..5),
        folds in 1usize..8,
        equal: bool,
        seed: u64,
    ) {
        let sum: f64 = fractions.iter().sum();
        let fractions: Vec<f64> = fractions.iter().map(|fraction| fraction / sum).collect();
        let (parts, shares) = if equal {
            (Parts::Folds(folds), vec![1.0 / folds as f64; folds])
        } else {
            (Parts::Fractions(&fractions), fractions.clone())
        };
        let codes: Vec<u32> = (0u32..).zip(&counts).flat_map(|(code, &count)| vec![code; count]).collect();
        let names = (0..counts.len()).map(|code| code.to_string()).collect();
        let target = Target::Classes { codes: codes.clone().into(), names };
        let order = stratified_order(&target, parts, seed).unwrap();
        prop_assert_eq!(&order, &stratified_order(&target, parts, seed).unwrap());
        let mut all = order.concat();
        all.sort();
        prop_assert_eq!(all, (0..codes.len() as u32).collect::<Vec<_>>());
        for (part, share) in order.iter().zip(&shares) {
            for (code, &count) in counts.iter().enumerate() {
                let found = part.iter().filter(|&&row| codes[row as usize] == code as u32).count();
                prop_assert!(found >= 1);
                // One row off by rounding, or more where another part had to get its only row from this one.
                let tolerance = if equal { 1.0 } else { 1.0 + shares.len() as f64 };
                prop_assert!((found as f64 - share * count as f64).abs() <= tolerance, "{found} of {count} at {share}");
            }
            if equal {
                prop_assert!((part.len() as f64 - share * codes.len() as f64).abs() <= 1.0 + 1e-9);
            }
        }
    }

    #[test]
    fn splits_of_numbers_have_their_size(n in 8usize..200, folds in 1usize..8, seed: u64) {
        let order = stratified_order(&Target::Values(vec![0.0; n].into()), Parts::Folds(folds), seed).unwrap();
        let mut all = order.concat();
        all.sort();
        prop_assert_eq!(all, (0..n as u32).collect::<Vec<_>>());
        prop_assert!(order.iter().all(|part| part.len() == n / folds || part.len() == n / folds + 1));
    }

    #[test]
    fn categories_can_be_read_off_their_indicators(
        cells in proptest::collection::vec((0usize..4, -5i32..5), 1..40),
        storage in prop_oneof![Just(Storage::Dense), Just(Storage::Sparse)],
    ) {
        let levels = ["red", "green", "blue, dark", "7"];
        let mut text = String::from("colour,x,y\n");
        for (colour, x) in &cells {
            text += &format!("\"{}\",{x},1\n", levels[*colour]);
        }
        text += "red,0,1\n";
        let file = Scratch::new("a.csv", text);
        let table = read(&file.0, &ReadOptions { header: Some(true), ..ReadOptions::default() }).unwrap();
        let encoder = Encoder::learn(&table, &EncodeOptions { storage, ..Default::default() }).unwrap();
        let encoded = encoder.encode(table).unwrap();
        prop_assert_eq!(encoded.feature_names.len(), encoded.design.cols());
        prop_assert_eq!(&encoded.groups.names, &["colour".to_string(), "x".into()]);
        let p = encoded.design.cols();
        for (i, (colour, x)) in cells.iter().enumerate() {
            let row: Vec<f32> = match &encoded.design {
                DesignMatrix::DenseF32(matrix) => matrix.row(i).to_vec(),
                DesignMatrix::CsrF32(matrix) => {
                    let mut row = vec![0.0; p];
                    let (indices, values) = matrix.row(i);
                    indices.iter().zip(values).for_each(|(&j, &value)| row[j as usize] = value);
                    row
                }
                _ => panic!("single precision is asked for"),
            };
            prop_assert_eq!(row[p - 1], *x as f32);
            let set: Vec<&str> = (0..p - 1).filter(|&j| row[j] == 1.0).map(|j| encoded.feature_names[j].as_str()).collect();
            prop_assert_eq!(set, [format!("colour={}", levels[*colour])]);
        }
    }

    #[test]
    fn folded_back_coefficients_predict_the_same(
        values in proptest::collection::vec(-100.0f64..100.0, 12),
        coef in proptest::collection::vec(-2.0f64..2.0, 6),
        intercept in proptest::collection::vec(-2.0f64..2.0, 2),
        with_intercept: bool,
    ) {
        // Columns: any numbers, a constant, indicators; two outputs.
        let rows: Vec<f64> = values.iter().enumerate().flat_map(|(i, x)| [*x, 3.0, (i % 2) as f64]).collect();
        let original = DesignMatrix::DenseF64(DenseMatrix::new(12, 3, rows.clone()));
        let scaling = Standardization::learn(&original, &all_rows(0..12), None, with_intercept, &[true; 3]);
        prop_assert_eq!((scaling.shift[2], scaling.scale[2]), (0.0, 1.0), "indicators stay");
        prop_assert_eq!(scaling.constant[1], with_intercept);
        let mut scaled = original.clone();
        scaling.apply(&mut scaled).unwrap();
        let DesignMatrix::DenseF64(scaled) = &scaled else { panic!() };
        let intercept = if with_intercept { intercept } else { Vec::new() };
        let (mut coef_back, mut intercept_back) = (coef.clone(), intercept.clone());
        scaling.fold_back(&mut coef_back, &mut intercept_back);
        let predict = |row: &[f64], coef: &[f64], intercept: &[f64], c: usize| {
            row.iter().enumerate().map(|(j, x)| x * coef[j * 2 + c]).sum::<f64>() + intercept.get(c).unwrap_or(&0.0)
        };
        for i in 0..12 {
            for c in 0..2 {
                let a = predict(scaled.row(i), &coef, &intercept, c);
                let b = predict(&rows[i * 3..i * 3 + 3], &coef_back, &intercept_back, c);
                prop_assert!((a - b).abs() < 1e-9 * (1.0 + a.abs()) + 1e-8, "{a} {b}");
            }
        }
    }
}

#[test]
fn standardized_columns_have_mean_zero_and_deviation_one() {
    let values: Vec<f64> = (0..50).flat_map(|i| [1e6 + f64::from(i), f64::from(i * i)]).collect();
    let mut design = DesignMatrix::DenseF64(DenseMatrix::new(50, 2, values));
    let scaling = Standardization::learn(&design, &all_rows(0..50), None, true, &[true; 2]);
    scaling.apply(&mut design).unwrap();
    let DesignMatrix::DenseF64(matrix) = &design else { panic!() };
    for j in 0..2 {
        let column: Vec<f64> = (0..50).map(|i| matrix.row(i)[j]).collect();
        let mean = column.iter().sum::<f64>() / 50.0;
        let variance = column.iter().map(|x| x * x).sum::<f64>() / 50.0;
        assert!(mean.abs() < 1e-9 && (variance - 1.0).abs() < 1e-9, "{mean} {variance}");
    }
    let text = serde_json::to_string(&scaling).unwrap();
    assert_eq!(serde_json::from_str::<Standardization>(&text).unwrap(), scaling);
}

/// Four columns: a measurement, an indicator, a constant, counts of which nothing is known; in both storages.
fn four_columns(n: u32) -> [DesignMatrix; 2] {
    let row = |i: u32| [1e5 + f64::from(i * i % 97), f64::from(i % 3 % 2), 7.0, f64::from(i % 11 / 9)];
    let dense: Vec<f64> = (0..n).flat_map(row).collect();
    let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for i in 0..n {
        for (j, x) in (0u32..).zip(row(i)).filter(|(_, x)| *x != 0.0) {
            indices.push(j);
            values.push(if j == 3 { 5.0 * x } else { x });
        }
        offsets.push(indices.len());
    }
    let mut dense = DenseMatrix::new(n as usize, 4, dense);
    dense.values_mut().chunks_exact_mut(4).for_each(|row| row[3] *= 5.0);
    [DesignMatrix::DenseF64(dense), DesignMatrix::CsrF64(CsrMatrix::new(4, offsets, indices, values))]
}

#[test]
fn sparse_measurements_are_scaled_as_in_dense_storage_and_nothing_else_is() {
    let [dense, sparse] = four_columns(60);
    let rows = RowRanges::new([0..20, 30..60]);
    for intercept in [true, false] {
        let of_dense = Standardization::learn(&dense, &rows, None, intercept, &[false; 4]);
        let all = Standardization::learn(&sparse, &rows, None, intercept, &[true; 4]);
        for j in 0..4 {
            let (a, b) = (of_dense.scale[j], all.scale[j]);
            assert!((a - b).abs() <= 1e-11 * a, "column {j}: {a} {b}");
        }
        assert_eq!(all.constant, of_dense.constant);
        assert_eq!(all.shift, [0.0; 4]);
        let some = Standardization::learn(&sparse, &rows, None, intercept, &[true, true, true, false]);
        assert_eq!(some.scale, [all.scale[0], 1.0, 1.0, 1.0]);

        let mut scaled = sparse.clone();
        some.apply(&mut scaled).unwrap();
        let (DesignMatrix::CsrF64(before), DesignMatrix::CsrF64(after)) = (&sparse, &scaled) else { panic!() };
        let (mut coef, mut back) = (vec![2.0, -3.0, 0.0, 0.5], vec![0.25]);
        let weights = coef.clone();
        some.fold_back(&mut coef, &mut back);
        for i in 0..60 {
            let product = |matrix: &CsrMatrix<f64>, w: &[f64]| {
                let (indices, values) = matrix.row(i);
                indices.iter().zip(values).map(|(&j, x)| w[j as usize] * x).sum::<f64>()
            };
            let (a, b) = (product(after, &weights), product(before, &coef));
            assert!((a - b).abs() < 1e-12 * a.abs(), "{a} {b}");
        }
        assert_eq!(back, [0.25], "nothing was shifted");
    }
}

#[test]
fn a_sparse_matrix_is_never_shifted() {
    let mut design = DesignMatrix::CsrF64(CsrMatrix::new(2, vec![0, 1, 2], vec![0, 1], vec![3.0, 4.0]));
    let before = design.clone();
    let scaling = Standardization::learn(&design, &all_rows(0..2), None, true, &[false; 2]);
    assert!(scaling.is_identity());
    scaling.apply(&mut design).unwrap();
    assert_eq!(design, before);
    let shifting = Standardization { shift: vec![1.0, 0.0], ..scaling };
    assert!(shifting.apply(&mut design).is_err());
}

#[test]
fn numeric_columns_are_measurements_until_rows_are_normalized() {
    let file = Scratch::new("a.csv", "age,job,y\n10,a,0\n20,b,1\n");
    let table = || read(&file.0, &ReadOptions::default()).unwrap();
    for (normalize_rows, expected) in [(false, [true, false, false]), (true, [false; 3])] {
        let options = EncodeOptions { normalize_rows, ..Default::default() };
        let encoded = Encoder::learn(&table(), &options).unwrap().encode(table()).unwrap();
        assert_eq!(encoded.measured, expected);
    }
    // Of a matrix nothing is known but how many entries there are.
    let rows: String = (0..20).map(|i| format!("{} 1:{} {}\n", i % 2, i + 2, if i < 2 { "2:9" } else { "" })).collect();
    let file = Scratch::new("a.svm", rows);
    let table = read(&file.0, &ReadOptions::default()).unwrap();
    let encoded = Encoder::learn(&table, &Default::default()).unwrap().encode(table).unwrap();
    assert_eq!(encoded.measured, [true, false]);
}

#[test]
fn columns_are_matched_by_name_in_any_order() {
    let table = |text: &str| {
        let file = Scratch::new("a.csv", text);
        read(&file.0, &ReadOptions { target_required: text.contains('y'), ..ReadOptions::default() }).unwrap()
    };
    let train = table("age,job,y\n10,a,0\n20,b,1\n");
    let encoder = Encoder::learn(&train, &EncodeOptions { storage: Storage::Dense, ..Default::default() }).unwrap();
    let DesignMatrix::DenseF32(matrix) = encoder.encode(table("extra,job,age\n1,b,5\n1,c,6\n1,a,7\n")).unwrap().design
    else {
        panic!()
    };
    assert_eq!(matrix.values(), [5.0, 0.0, 1.0, 6.0, 0.0, 0.0, 7.0, 1.0, 0.0], "the unseen category c is zero");
}

#[test]
fn categories_that_look_like_numbers_in_a_later_file() {
    let table = |text: &str| {
        let file = Scratch::new("a.csv", text);
        read(&file.0, &ReadOptions { header: Some(true), target_required: false, ..ReadOptions::default() }).unwrap()
    };
    let encoder =
        Encoder::learn(&table("code\n1\nx\n20\n"), &EncodeOptions { storage: Storage::Dense, ..Default::default() })
            .unwrap();
    let DesignMatrix::DenseF32(matrix) = encoder.encode(table("code\n20\n1\n3\n")).unwrap().design else { panic!() };
    assert_eq!(matrix.values(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn rows_of_unit_length() {
    for storage in [Storage::Dense, Storage::Sparse] {
        let file = Scratch::new("a.svm", "1 1:3 2:4\n0\n1 3:2\n");
        let table = read(&file.0, &ReadOptions::default()).unwrap();
        let options = EncodeOptions { storage, normalize_rows: true, ..Default::default() };
        let encoded = Encoder::learn(&table, &options).unwrap().encode(table).unwrap();
        match encoded.design {
            DesignMatrix::DenseF32(matrix) => assert_eq!(matrix.values(), [0.6, 0.8, 0., 0., 0., 0., 0., 0., 1.]),
            DesignMatrix::CsrF32(matrix) => assert_eq!(matrix.values(), [0.6, 0.8, 1.0]),
            _ => panic!("single precision is the default"),
        }
    }
}

#[test]
fn a_narrower_sparse_file_is_widened() {
    let table = |text: &str| {
        let file = Scratch::new("a.svm", text);
        read(&file.0, &ReadOptions::default()).unwrap()
    };
    let train = table("1 1:1 9:2\n0 3:1\n");
    for storage in [Storage::Dense, Storage::Sparse] {
        let encoder = Encoder::learn(&train, &EncodeOptions { storage, ..Default::default() }).unwrap();
        assert_eq!(encoder.encode(table("1 1:1 2:2\n")).unwrap().design.cols(), 9);
    }
}

fn kind(values: impl IntoIterator<Item = i32>) -> TargetKind {
    Target::recognise(&Labels::Numbers(values.into_iter().map(f64::from).collect()))
}

#[test]
fn kinds_of_target() {
    assert_eq!(kind([-1, 1, 1]), TargetKind::Binary);
    assert_eq!(kind([2, 4, 4]), TargetKind::Binary);
    assert_eq!(kind((0..100).map(|i| i % 3)), TargetKind::Classes);
    assert_eq!(kind((0..11314).map(|i| i % 20)), TargetKind::Classes, "20 newsgroups");
    assert_eq!(kind((0..15000).map(|i| i % 26 + 1)), TargetKind::Classes, "letters");
    assert_eq!(kind((0..2720).map(|i| i / 20)), TargetKind::Classes, "136 characters of 20 images");
    assert_eq!(kind((0..1000).map(|i| if i < 995 { i % 6 + 1 } else { 7 })), TargetKind::Classes, "a rare class");
    let poisson = [(0, 368), (1, 368), (2, 184), (3, 61), (4, 15), (5, 3), (6, 1)];
    assert_eq!(kind(poisson.iter().flat_map(|&(value, count)| vec![value; count])), TargetKind::Counts, "Poisson");
    assert_eq!(kind((0..500).map(|i| i * i / 500)), TargetKind::Counts, "skewed counts");
    assert_eq!(kind((0..506).map(|i| 100 - i * i / 2600)), TargetKind::Real, "leans to the left");
    assert_eq!(kind((0..506).map(|i| 50000 + 37 * i)), TargetKind::Real, "prices");
    let fractions = Labels::Numbers((0..50).map(|i| f64::from(i) / 10.0).collect());
    assert_eq!(Target::recognise(&fractions), TargetKind::Real);
    let text = Labels::Text { codes: vec![0, 1, 2], levels: ["a", "b", "c"].map(String::from).to_vec() };
    assert_eq!(Target::recognise(&text), TargetKind::Classes);
}

#[test]
fn labels_there_and_back() {
    let origin = Origin::new("a");
    let numbers = Labels::Numbers(vec![1.0, -1.0, 1.0]);
    let map = LabelMap::learn(&numbers, None, &origin).unwrap();
    assert_eq!(map.names(), ["-1", "1"]);
    let codes = |labels: &Labels| match map.apply(labels, &origin).unwrap() {
        Target::Classes { codes, .. } => codes.to_vec(),
        Target::Values(_) => panic!("classes are expected"),
    };
    assert_eq!(codes(&numbers), [1, 0, 1]);
    let texts = Labels::Text { codes: vec![0, 1], levels: vec!["+1".into(), "-1.0".into()] };
    assert_eq!(codes(&texts), [1, 0], "numbers that are written as texts");
    let text = serde_json::to_string(&map).unwrap();
    assert_eq!(serde_json::from_str::<LabelMap>(&text).unwrap(), map);
    let counts = LabelMap::learn(&Labels::Numbers(vec![0.0, 3.0]), Some(TargetKind::Counts), &origin).unwrap();
    assert_eq!(counts.apply(&Labels::Numbers(vec![5.0]), &origin).unwrap(), Target::Values(vec![5.0].into()));
}
