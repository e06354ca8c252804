//! Slice kernels against their definitions, at lengths around the block size.

use bilevel::sample::{Purpose, Rng};
use bilevel::vector;

#[test]
fn kernels_agree_with_their_definitions() {
    let mut rng = Rng::stream(1, Purpose::Start, 0);
    for n in [0, 1, 7, 31, 32, 33, 64, 100, 1000] {
        let x: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let y: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "n = {n}: {a} {b}");
        let pairs = || x.iter().zip(&y);
        near(vector::dot(&x, &y), pairs().map(|(x, y)| x * y).sum());
        near(vector::dot_abs(&x, &y), pairs().map(|(x, y)| (x * y).abs()).sum());
        near(vector::norm(&x), x.iter().map(|x| x * x).sum::<f64>().sqrt());
        near(vector::distance(&x, &y), pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt());
        assert_eq!(vector::max_abs(&x), x.iter().fold(0.0, |a: f64, b| a.max(b.abs())));
        let changed = |f: &dyn Fn(&mut [f64])| {
            let mut out = y.clone();
            f(&mut out);
            out
        };
        let expected = |f: &dyn Fn(f64, f64) -> f64| pairs().map(|(x, y)| f(*x, *y)).collect::<Vec<_>>();
        assert_eq!(changed(&|y| vector::axpy(0.5, &x, y)), expected(&|x, y| y + 0.5 * x));
        assert_eq!(changed(&|y| vector::xpby(&x, 0.5, y)), expected(&|x, y| x + 0.5 * y));
        assert_eq!(changed(&|y| vector::scale(3.0, y)), expected(&|_, y| 3.0 * y));
        assert_eq!(changed(&|y| vector::scaled_copy(3.0, &x, y)), expected(&|x, _| 3.0 * x));
        assert_eq!(changed(&|out| vector::subtract(&x, &y, out)), expected(&|x, y| x - y));
        assert_eq!(changed(&|out| vector::multiply(&x, &y, out)), expected(&|x, y| x * y));
        let combined = changed(&|out| vector::add_combination(&x, &x, 2.0, &x, out));
        assert_eq!(combined, expected(&|x, y| y + (x * x + 2.0 * x)));
        assert_eq!(changed(&|y| vector::move_towards(0.25, &x, y)), expected(&|x, y| y + 0.25 * (x - y)));
    }
}

#[test]
fn non_finite_elements_are_seen_wherever_they_stand() {
    for n in [1, 33, 100] {
        for at in [0, n / 2, n - 1] {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut x = vec![1.0; n];
                assert!(vector::all_finite(&x));
                x[at] = bad;
                assert!(!vector::all_finite(&x));
                assert!(!vector::max_abs(&x).is_finite());
                assert_eq!(vector::max_abs(&x).is_nan(), bad.is_nan());
            }
        }
    }
}

#[test]
#[should_panic]
fn lengths_must_agree() {
    vector::dot(&[1.0, 2.0], &[1.0]);
}
