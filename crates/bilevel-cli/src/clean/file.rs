//! The files of a cleaning: weights, model, summary, report.

use bilevel::Result;
use bilevel::clean::Cleaned;
use bilevel::data::Dataset;
use bilevel::tune::{About, Metrics, Penalties, SavedModel};
use serde_json::{Value, json};

use super::{CleanArgs, label, page, suggestion, weighed_down};
use crate::csv;
use crate::names::name_of;
use crate::output::Files;
use crate::problem::Inputs;
use crate::words::Words;

/// What is written.
pub const NAMES: [&str; 4] = ["model", "weights.csv", "summary.json", "report.html"];

pub fn write(args: &CleanArgs, inputs: &Inputs, cleaned: &Cleaned) -> Result<()> {
    let command = command(args, inputs.schema.target_name.as_deref());
    let saved = SavedModel {
        model: cleaned.model.clone(),
        lambda: vec![cleaned.strength.ln()],
        about: About {
            schema: inputs.schema.clone(),
            penalties: Penalties::Shared,
            lambda_names: vec!["shared".into()],
            status: cleaned.status,
            method: cleaned.method.clone(),
            criterion: "trusted rows".into(),
            command: command.clone(),
        },
    };
    let page = page::Page { args, inputs, cleaned, command: &command };
    let summary = serde_json::to_string_pretty(&summary(args, cleaned)).expect("plain data can be written as JSON");
    let [model_name, weights_name, summary_name, report_name] = NAMES;
    let mut files = Files::new(&args.out)?;
    files.add(model_name, &saved.to_bytes()?)?;
    files.add(weights_name, weights(&inputs.train, cleaned).as_bytes())?;
    files.add(summary_name, (summary + "\n").as_bytes())?;
    files.add(report_name, page.render().as_bytes())?;
    files.publish()
}

/// One line a row, in the order of the training file.
fn weights(train: &Dataset, cleaned: &Cleaned) -> String {
    let mut rank = vec![None; train.rows()];
    cleaned.suspicious.iter().enumerate().for_each(|(at, &row)| rank[row as usize] = Some(at + 1));
    let mut text = String::from("row,label,weight,rank,suggested_label,label_probability,trusted_loss\n");
    for (row, rank) in rank.iter().enumerate() {
        text += &format!(
            "{},{},{},{},{},{},{}\n",
            row + 1,
            csv::cell(&label(train, row)),
            csv::number(cleaned.weights[row]),
            rank.map_or(String::new(), |rank| rank.to_string()),
            csv::cell(suggestion(train, cleaned, row).unwrap_or_default()),
            cleaned.probability.get(row).map_or(String::new(), |&p| csv::number(p)),
            csv::number(cleaned.trusted_losses[row]),
        );
    }
    text
}

/// What `summary.json` holds. Keys are only ever added; what does not apply is `null`.
fn summary(args: &CleanArgs, cleaned: &Cleaned) -> Value {
    let figures = |metrics: Option<&Metrics>| {
        json!({
            "loss": metrics.map(|m| m.loss),
            "accuracy": metrics.and_then(|m| m.accuracy),
            "auc": metrics.and_then(|m| m.auc),
            "r2": metrics.and_then(|m| m.r2),
            "deviance_explained": metrics.and_then(|m| m.deviance_explained),
        })
    };
    let fits: Vec<Value> = (cleaned.fits.iter())
        .map(|fit| json!({"of": fit.of, "trusted": figures(Some(&fit.trusted)), "test": figures(fit.test.as_ref())}))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "status": cleaned.status,
        "model": cleaned.model.loss.name(),
        "method": cleaned.method,
        "strength": cleaned.strength,
        "rows": cleaned.training_rows,
        "trusted_rows": cleaned.trusted_rows,
        "features": cleaned.features,
        "below_one_half": weighed_down(cleaned),
        "fits": fits,
        "start": args.start,
        "kept_step": cleaned.kept,
        "steps": cleaned.trace,
        "seconds": cleaned.seconds,
        "passes": cleaned.passes,
        "notes": cleaned.notes,
    })
}

/// The command that repeats the run.
fn command(args: &CleanArgs, target: Option<&str>) -> String {
    let mut words = Words::new("clean", &args.train);
    words.path("trusted", Some(&args.trusted));
    words.path("trusted-labels", args.trusted_labels.as_ref());
    words.option("monitor", Some(args.monitor.to_string()));
    words.path("test", args.test.as_ref());
    words.path("test-labels", args.test_labels.as_ref());
    words.rows(&args.train, &args.data, &args.encoding, target);
    words.option("model", Some(name_of(&args.model)));
    words.option("penalty", args.penalty.map(|x| format!("{x:e}")));
    words.option("method", Some(name_of(&args.method)));
    words.option("start", Some(name_of(&args.start)));
    words.option("max-iterations", args.max_iterations.map(|n| n.to_string()));
    words.option("max-time", args.max_time.map(|time| format!("{}s", time.as_secs_f64())));
    words.option("seed", Some(args.seed.to_string()));
    words.option("threads", args.threads.map(|n| n.to_string()));
    words.path("out", Some(&args.out));
    words.flags(&[
        ("normalize-rows", args.encoding.normalize_rows),
        ("no-standardize", args.encoding.no_standardize),
        ("no-intercept", args.no_intercept),
    ]);
    words.text()
}
