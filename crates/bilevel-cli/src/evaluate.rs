//! `bilevel evaluate`.

use std::path::PathBuf;
use std::process::ExitCode;

use bilevel::data::Origin;
use bilevel::problems::glm::Loss;
use bilevel::tune::{Diagnostics, SavedModel};
use bilevel::{Error, Result};
use clap::Args;
use serde::Serialize;

use crate::args::{DataArgs, rows_file};
use crate::mapped::{self, Verify};
use crate::predict::{check_margins, options_for};
use crate::table::TextTable;
use crate::{numbers, output};

/// What `--json` prints.
#[derive(Serialize)]
struct Evaluation<'a> {
    model: &'static str,
    classes: &'a [String],
    #[serde(flatten)]
    diagnostics: &'a Diagnostics,
}

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The file `model` in the folder that `bilevel tune` wrote.
    pub model: PathBuf,
    /// Rows with their target.
    #[arg(value_parser = rows_file())]
    pub data: PathBuf,
    /// Print JSON, with the confusion matrix, calibration and residuals.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub how: DataArgs,
}

pub fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    let saved = SavedModel::read(&args.model)?;
    let schema = &saved.about.schema;
    let (dataset, origin) = match mapped::open(&args.data, Verify::All)? {
        Some(rows) => {
            mapped::refuse_reading(&args.data, &args.how)?;
            (rows.dataset_like(schema)?, Origin::new(&args.data))
        }
        None => {
            let options = options_for(&saved, &args.how)?;
            refuse_without_target(&args.how, schema.target_name.as_deref())?;
            schema.read(&args.data, &options)?
        }
    };
    check_margins(&saved.model, &saved.model.margins(&dataset)?, &origin)?;
    let diagnostics = saved.model.diagnostics(&dataset, "rows of the file")?;
    let classes = schema.labels.names();
    if args.json {
        let evaluation = Evaluation { model: saved.model.loss.name(), classes, diagnostics: &diagnostics };
        let text = serde_json::to_string_pretty(&evaluation).expect("plain data can be written as JSON");
        output::print(&(text + "\n"))?;
    } else {
        output::print(&text(&saved, &diagnostics, classes))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses to leave out the column that is compared with the predictions.
fn refuse_without_target(how: &DataArgs, of_model: Option<&str>) -> Result<()> {
    let target = how.target.as_deref().or(of_model.filter(|_| how.labels.is_none()));
    match how.exclude.iter().find(|name| Some(name.as_str()) == target) {
        Some(name) => Err(Error::input(format!("column '{name}' is the target, which --exclude names"))
            .remedy("leave out --exclude, or name another target with --target")),
        None => Ok(()),
    }
}

fn text(saved: &SavedModel, found: &Diagnostics, classes: &[String]) -> String {
    let metrics = &found.metrics;
    let mut table = TextTable::default();
    table.row(["rows", &numbers::count(found.rows)]);
    let name = match saved.model.loss {
        Loss::Squared => "squared loss (half the mean square)".into(),
        other => format!("{} loss", other.name()),
    };
    table.row([name, numbers::loss(metrics.loss)]);
    for (name, value, write) in [
        ("accuracy", metrics.accuracy, numbers::percent as fn(f64) -> String),
        ("AUC", metrics.auc, numbers::unit),
        ("R²", metrics.r2, numbers::unit),
        ("deviance explained", metrics.deviance_explained, numbers::unit),
        ("calibration error", found.calibration.as_ref().map(|c| c.error), numbers::unit),
        ("mean absolute residual", found.residuals.as_ref().map(|r| r.mean_absolute), numbers::short),
        ("root mean square residual", found.residuals.as_ref().map(|r| r.root_mean_square), numbers::short),
    ] {
        if let Some(value) = value {
            table.row([name.into(), write(value)]);
        }
    }
    let mut text = table.render();
    if let Some(confusion) = found.confusion.as_ref().filter(|confusion| confusion.classes <= 12) {
        let mut table = TextTable::new(std::iter::once("true \\ predicted").chain(classes.iter().map(String::as_str)));
        for (truth, name) in classes.iter().enumerate() {
            let counts = (0..classes.len()).map(|c| numbers::count(confusion.count(truth, c) as usize));
            table.row(std::iter::once(name.clone()).chain(counts));
        }
        text += &format!("\n{}", table.render());
    }
    text
}
