//! The largest memory of `tune`: the stored matrix and little beside it.
//!
//! What is measured is the whole process, with the program itself. The data are made so that a fixed part of some megabytes does
//! not hide anything.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::common::Scratch;

/// The program as it is built for tests, its threads, buffers for reading and the workspaces of matrix products.
const FIXED: f64 = 21e6;

/// Runs `tune` on two threads to its end, and returns the largest memory that was resident, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
// It is waited for by `wait4`, which tells what it used.
#[allow(clippy::zombie_processes)]
fn peak_of_tune(file: &Path, out: &Path, more: &[&str]) -> f64 {
    use std::process::{Command, Stdio};

    let child = Command::new(assert_cmd::cargo_bin!("bilevel"))
        .arg("tune")
        .args([file, Path::new("--out"), out])
        .args(["--quiet", "--threads", "2", "--penalties", "shared"])
        // A short search.
        .args(["--max-iterations", "1", "--lambda-min", "0.05", "--lambda-max", "0.2"])
        .args(more)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: the child is ours and nobody else waits for it; all of the usage is plain numbers.
    let usage = unsafe {
        assert_eq!(libc::wait4(child.id().cast_signed(), &mut status, 0, usage.as_mut_ptr()), child.id().cast_signed());
        usage.assume_init()
    };
    assert_eq!(status, 0, "{}: wait status", file.display());
    usage.ru_maxrss as f64 * 1024.0
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn peak_of_tune(_: &Path, _: &Path, _: &[&str]) -> f64 {
    eprintln!("skipped: peak memory is measured on Linux with the GNU C library only");
    0.0
}

/// Numbers in [0, 1) that look random.
fn numbers() -> impl FnMut() -> f64 {
    let mut state = 88_172_645_463_325_252_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn within(peak: f64, bound: f64) {
    let [peak, bound] = [peak, bound].map(|bytes| bytes / 1e6);
    println!("{peak:.1} MB, at most {bound:.1}");
    assert!(peak <= bound, "{peak:.1} MB, at most {bound:.1} MB are expected");
}

#[test]
fn dense_numbers_take_at_most_1_3_of_their_matrix() {
    let (rows, cols) = (250_000_usize, 48_usize);
    let folder = Scratch::new();
    let path = folder.join("dense.csv");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let mut next = numbers();
    for _ in 0..rows {
        let mut sum = 0.0;
        for column in 0..cols {
            let x = next();
            sum += x / (1.0 + column as f64);
            write!(file, "{x:.3},").unwrap();
        }
        writeln!(file, "{:.3}", sum + next()).unwrap();
    }
    file.into_inner().unwrap();
    let peak = peak_of_tune(&path, &folder.join("out"), &["--model", "squared"]);
    within(peak, 1.3 * (rows * cols * size_of::<f32>()) as f64 + FIXED);
}

#[test]
fn sparse_text_takes_at_most_1_3_of_its_matrix() {
    let (rows, cols, entries) = (250_000_usize, 240_usize, 24_usize);
    let folder = Scratch::new();
    let path = folder.join("sparse.svm");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let mut next = numbers();
    for _ in 0..rows {
        let first = (next() * 10.0) as usize;
        let label = if next() * 9.0 > first as f64 { "+1" } else { "-1" };
        file.write_all(label.as_bytes()).unwrap();
        for entry in 0..entries {
            let spread = cols / entries;
            let place = if entry == 0 { first } else { (next() * spread as f64) as usize };
            write!(file, " {}:1", entry * spread + place + 1).unwrap();
        }
        writeln!(file).unwrap();
    }
    file.into_inner().unwrap();
    let peak = peak_of_tune(&path, &folder.join("out"), &["--storage", "sparse"]);
    within(peak, 1.3 * (rows * (entries * 8 + size_of::<usize>())) as f64 + FIXED);
}

/// Bytes with hundreds of columns, so that matrices of the size of the Hessian count.
#[test]
fn pixels_stay_bytes_and_gram_matrices_few() {
    let (rows, side) = (90_000_usize, 23_usize);
    let folder = Scratch::new();
    let (path, labels) = (folder.join("pixels"), folder.join("labels"));
    let mut file = BufWriter::new(File::create(&path).unwrap());
    file.write_all(&[0, 0, 8, 3]).unwrap();
    for extent in [rows, side, side] {
        file.write_all(&(extent as u32).to_be_bytes()).unwrap();
    }
    let mut classes = vec![0, 0, 8, 1];
    classes.extend((rows as u32).to_be_bytes());
    let mut next = numbers();
    for _ in 0..rows {
        let pixels: Vec<u8> = (0..side * side).map(|_| (next() * 256.0) as u8).collect();
        classes.push(u8::from(f64::from(pixels[0]) > 255.0 * next()));
        file.write_all(&pixels).unwrap();
    }
    file.into_inner().unwrap();
    std::fs::write(&labels, classes).unwrap();
    let peak = peak_of_tune(&path, &folder.join("out"), &["--labels", labels.to_str().unwrap()]);
    within(peak, 1.3 * (rows * side * side) as f64 + FIXED);
}

/// Many more weights than rows and entries: a few vectors of all weights at a time, and not some for each fold and thread. The
/// names of so many features take as much as two of them.
#[test]
fn weights_of_many_classes_are_there_few_times() {
    let (rows, cols, entries, classes) = (2000_usize, 150_000_usize, 60_usize, 10_usize);
    let folder = Scratch::new();
    let path = folder.join("wide.svm");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    let mut next = numbers();
    for row in 0..rows {
        let class = row % classes;
        write!(file, "{class}").unwrap();
        let mut last = 0;
        for entry in 0..entries {
            // The first feature tells of the class, the others are rare.
            let spread = cols / entries;
            let place = if entry == 0 { class } else { (next() * spread as f64) as usize };
            last = entry * spread + place + 1;
            write!(file, " {last}:{}", 1 + (next() * 3.0) as usize).unwrap();
        }
        writeln!(file, "{}", if last == cols { String::new() } else { format!(" {cols}:1") }).unwrap();
    }
    file.into_inner().unwrap();
    let peak = peak_of_tune(&path, &folder.join("out"), &[]);
    within(peak, 7.0 * (cols * classes * size_of::<f64>()) as f64 + FIXED);
}
