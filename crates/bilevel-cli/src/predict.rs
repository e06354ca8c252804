//! `bilevel predict`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bilevel::data::{Origin, ReadOptions};
use bilevel::problems::glm::Loss;
use bilevel::tune::{LinearModel, SavedModel, predicted_classes};
use bilevel::{Error, Result};
use clap::Args;

use crate::args::{DataArgs, rows_file, written_file};
use crate::input::read_options;
use crate::mapped::{self, Verify};
use crate::{csv, numbers, output};

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The file `model` in the folder that `bilevel tune` wrote.
    pub model: PathBuf,
    /// Rows to predict; the target may be absent. Of a converted file predictions come in its random order.
    #[arg(value_parser = rows_file())]
    pub data: PathBuf,
    /// Give the probability of each class instead of the class.
    #[arg(long)]
    pub proba: bool,
    /// Write to this file instead of standard output, which is `-`.
    #[arg(long, value_name = "FILE", value_parser = written_file())]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub how: DataArgs,
}

pub fn run(args: &PredictArgs) -> Result<ExitCode> {
    if let Some(out) = &args.out {
        output::check_file(out, [&args.model, &args.data].into_iter().chain(&args.how.labels).map(PathBuf::as_path))?;
    }
    let saved = SavedModel::read(&args.model)?;
    let loss = saved.model.loss;
    if args.proba && !matches!(loss, Loss::Logistic | Loss::Softmax { .. }) {
        return Err(Error::input(format!("a {} model gives no probabilities", loss.name()))
            .in_file(&args.model)
            .remedy("leave out --proba"));
    }
    let (margins, origin) = match mapped::open(&args.data, Verify::All)? {
        Some(rows) => {
            mapped::refuse_reading(&args.data, &args.how)?;
            let dataset = rows.dataset_like(&saved.about.schema)?;
            eprintln!("note: {}", random_order(&args.data));
            (saved.model.margins(&dataset)?, Origin::new(&args.data))
        }
        None => {
            let options = options_for(&saved, &args.how)?;
            saved.margins_in_file(&args.data, &options)?
        }
    };
    check_margins(&saved.model, &margins, &origin)?;
    let text = table(&saved.model, margins, saved.about.schema.labels.names(), args.proba);
    match &args.out {
        Some(out) => output::write_file(out, text.as_bytes())?,
        None => output::print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses rows whose predictions are beyond all numbers.
pub fn check_margins(model: &LinearModel, margins: &[f64], origin: &Origin) -> Result<()> {
    let too_large = |m: &f64| !m.is_finite() || (model.loss == Loss::Poisson && m.exp().is_infinite());
    let Some(at) = margins.iter().position(too_large) else { return Ok(()) };
    let message = match margins[at].is_finite() {
        true => {
            format!("the predicted rate, e to the power {}, is too large for a number", numbers::short(margins[at]))
        }
        false => "the features are too large to predict from".into(),
    };
    Err(origin.error(at / model.outputs, message).remedy("check the row"))
}

/// How to read a file for a model: as its training file, unless told otherwise.
///
/// # Errors
/// Input, where a column shall be left out that the model predicts from.
pub fn options_for(saved: &SavedModel, how: &DataArgs) -> Result<ReadOptions> {
    let known = saved.about.schema.known_columns();
    let columns = known.iter().flat_map(|known| &known.columns);
    let names: Vec<&str> = columns.map(|(name, _)| name.as_str()).collect();
    let named = known.as_ref().is_some_and(|known| known.named);
    // Columns without names have those of their numbers; which name a number stands for is not known before the file is read.
    let by_number = |asked: &String| asked.parse::<usize>().ok().map(|number| format!("x{number}")).filter(|_| !named);
    for asked in &how.exclude {
        let needed = by_number(asked).unwrap_or_else(|| asked.clone());
        let message = if names.contains(&needed.as_str()) {
            format!("the model predicts from column '{needed}', which --exclude names")
        } else if named && asked.parse::<usize>().is_ok() {
            format!("the model knows its columns by name, and --exclude {asked} is a number")
        } else {
            continue;
        };
        return Err(
            Error::input(message).remedy("leave out --exclude: columns that the model does not use are ignored")
        );
    }
    Ok(read_options(how))
}

/// Predictions of a converted file cannot be put beside the rows that it was made of.
fn random_order(path: &Path) -> String {
    let path = path.display();
    format!("predictions are in the order of {path}, which is random; for another give the file it was converted from")
}

/// Predictions as CSV.
fn table(model: &LinearModel, mut margins: Vec<f64>, classes: &[String], probabilities: bool) -> String {
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        text.push_str(&cells.join(","));
        text.push('\n');
    };
    if probabilities {
        line(&classes.iter().map(|name| csv::cell(name).into_owned()).collect::<Vec<_>>());
        // Of two classes both come from the margin: 1 less a probability close to 1 is no small probability.
        let mut others: Vec<f64> = if model.outputs == 1 { margins.iter().map(|m| -m).collect() } else { Vec::new() };
        model.loss.predict(&mut others);
        model.loss.predict(&mut margins);
        for (at, row) in margins.chunks_exact(model.outputs).enumerate() {
            line(&others.get(at).into_iter().chain(row).map(|&p| csv::number(p)).collect::<Vec<_>>());
        }
        return text;
    }
    line(&["prediction".into()]);
    if model.loss.is_classifier() {
        for class in predicted_classes(model.loss, &margins) {
            line(&[csv::cell(&classes[class as usize]).into_owned()]);
        }
    } else {
        model.loss.predict(&mut margins);
        margins.iter().for_each(|&prediction| line(&[csv::number(prediction)]));
    }
    text
}
