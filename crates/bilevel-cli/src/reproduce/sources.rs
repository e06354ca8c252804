//! The data sets of the experiments and their settings.

use std::path::{Path, PathBuf};

use bilevel::data::TfIdf;
use bilevel::tune::{Criterion, GlmProblem, LossChoice, Penalties, TuneOptions};
use bilevel::{Error, Result};
use clap::Parser;

use super::ReproduceArgs;
use crate::args::ProblemArgs;
use crate::mapped::Verify;
use crate::plan::Part;
use crate::problem::{self, Inputs};

/// One setting of the first experiment, at one penalty for all weights or one per feature.
pub struct ErrorSetting {
    pub name: &'static str,
    pub penalties: Penalties,
    /// The penalty, where hypergradients are looked at.
    pub at: f64,
    pub batch: usize,
    /// Steps t = k of the longest sampled hypergradient.
    pub steps: usize,
    pub replicates: u64,
    /// Epochs of the batch methods.
    pub batch_epochs: f64,
    pub etas: &'static [f64],
}

/// One data set of the second experiment.
pub struct DescentSetting {
    pub name: &'static str,
    pub epochs: f64,
    pub batch: usize,
    /// Epochs of one sampled hypergradient.
    pub sampled_epochs: f64,
    /// Steps t = k of one batch hypergradient.
    pub batch_steps: usize,
    /// Range of the penalties, and the one to start from.
    pub penalties: [f64; 3],
    /// Mean move of a log-penalty in the first step.
    pub first_move: f64,
}

/// Everything that is repeated.
pub struct Plan {
    pub title: &'static str,
    /// Odd and even digits.
    pub digits: Files,
    pub errors: Vec<ErrorSetting>,
    pub descents: Vec<(Files, DescentSetting)>,
}

/// Training and test files.
#[derive(Clone)]
pub struct Files {
    pub train: PathBuf,
    train_labels: Option<PathBuf>,
    test: PathBuf,
    test_labels: Option<PathBuf>,
    /// Counts of words, to be weighted.
    words: bool,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    problem: ProblemArgs,
}

const NEWS_TRAIN: &str = "20news-counts.train.svm.xz";
/// Words of fewer training documents are left out.
const MIN_DOCUMENTS: usize = 20;

impl Plan {
    /// What can be done with the data that are there.
    pub fn find(args: &ReproduceArgs) -> Result<Self> {
        let folder = |name: &str| [args.data.join(name), args.data.clone()];
        let find = |name: &str, file: &str| folder(name).into_iter().find(|folder| folder.join(file).is_file());
        let mnist = find("mnist", "train-images-idx3-ubyte.gz").filter(|_| !args.quick);
        let news = find("20news", NEWS_TRAIN).filter(|_| !args.quick);
        let replicates = |n: f64| (n * args.budget).round().max(2.0) as u64;
        let Some(mnist) = mnist else {
            let Some(folder) = find("svmlight", "pendigits.gz") else {
                return Err(Error::input("holds neither mnist/train-images-idx3-ubyte.gz nor pendigits.gz")
                    .in_file(&args.data)
                    .remedy("name the folder of the data with --data, such as --data data"));
            };
            let files = Files::svmlight(&folder, "pendigits.gz", "pendigits.t.gz", false);
            let error = |name, penalties, n| ErrorSetting {
                replicates: replicates(n),
                batch_epochs: 60.0,
                etas: &[0.08, 0.04, 0.02],
                ..ErrorSetting::mnist(name, penalties)
            };
            let descent = DescentSetting {
                name: "pendigits",
                epochs: 60.0 * args.budget,
                batch: 16,
                penalties: [1e-6, 0.1, 1e-3],
                ..DescentSetting::MNIST
            };
            return Ok(Plan {
                title: "small version on pendigits",
                digits: files.clone(),
                errors: vec![error("one", Penalties::Shared, 40.0), error("per-feature", Penalties::PerFeature, 20.0)],
                descents: vec![(files, descent)],
            });
        };
        let files = Files {
            train: mnist.join("train-images-idx3-ubyte.gz"),
            train_labels: Some(mnist.join("train-labels-idx1-ubyte.gz")),
            test: mnist.join("t10k-images-idx3-ubyte.gz"),
            test_labels: Some(mnist.join("t10k-labels-idx1-ubyte.gz")),
            words: false,
        };
        let error =
            |name, penalties, n| ErrorSetting { replicates: replicates(n), ..ErrorSetting::mnist(name, penalties) };
        let descent = DescentSetting { epochs: 120.0 * args.budget, ..DescentSetting::MNIST };
        let mut descents = vec![(files.clone(), descent)];
        if let Some(news) = news {
            let files = Files::svmlight(&news, NEWS_TRAIN, "20news-counts.test.svm.xz", true);
            let descent =
                DescentSetting { name: "20news", epochs: 240.0 * args.budget, batch: 128, ..DescentSetting::MNIST };
            descents.push((files, descent));
        }
        Ok(Plan {
            title: "MNIST and 20 Newsgroups",
            digits: files,
            errors: vec![error("one", Penalties::Shared, 60.0), error("per-feature", Penalties::PerFeature, 12.0)],
            descents,
        })
    }
}

impl ErrorSetting {
    /// As on MNIST, two replicates.
    fn mnist(name: &'static str, penalties: Penalties) -> Self {
        ErrorSetting {
            name,
            penalties,
            at: 0.1,
            batch: 4,
            steps: 10_000,
            replicates: 2,
            batch_epochs: 50.0,
            etas: &[0.2, 0.1, 0.05],
        }
    }
}

impl DescentSetting {
    /// As on MNIST.
    const MNIST: Self = DescentSetting {
        name: "mnist",
        epochs: 120.0,
        batch: 64,
        sampled_epochs: 1.0,
        batch_steps: 5,
        penalties: [1e-7, 0.01, 1e-3],
        first_move: 0.5,
    };
}

impl Files {
    fn svmlight(folder: &Path, train: &str, test: &str, words: bool) -> Self {
        Files { train: folder.join(train), train_labels: None, test: folder.join(test), test_labels: None, words }
    }

    /// Reads both files; rows are scaled to unit length, columns are left as they are.
    pub fn read(&self, odd_even: bool, phase: impl FnMut(&str)) -> Result<Inputs> {
        let mut words = vec!["bilevel".into(), self.train.clone().into_os_string()];
        if let Some(labels) = &self.train_labels {
            words.extend(["--labels".into(), labels.clone().into_os_string()]);
        }
        if odd_even {
            words.extend(["--classes", "odd=1,3,5,7,9", "--classes", "even=*"].map(Into::into));
        }
        if !self.words {
            words.push("--normalize-rows".into());
        }
        let arguments = Arguments::try_parse_from(words).map_err(|error| Error::input(error.to_string()))?;
        let test = Part::File(self.test.clone());
        let mut inputs = problem::read(&arguments.problem, None, Some((&test, &self.test_labels)), Verify::All, phase)?;
        if self.words {
            let weights = TfIdf::learn(&inputs.train.design, MIN_DOCUMENTS)?;
            inputs.train = weights.apply(&inputs.train)?;
            inputs.test = inputs.test.as_ref().map(|test| weights.apply(test)).transpose()?;
        }
        Ok(inputs)
    }
}

/// Half of the rows to fit, half to judge.
pub fn halves(inputs: &Inputs, penalties: Penalties) -> Result<GlmProblem> {
    let options = TuneOptions {
        loss: LossChoice::Auto,
        penalties,
        criterion: Criterion::HeldOut(0.5),
        standardize: false,
        ..TuneOptions::default()
    };
    GlmProblem::new(&inputs.train, None, &options)
}
