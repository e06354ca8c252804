//! The page on made-up outcomes.

use super::*;
use bilevel::problems::glm::Loss;
use bilevel::tune::{Candidate, CandidateRole, Diagnostics, Ending, Law, LinearModel, Metrics, Penalties, TraceRow};

/// Reproducible numbers without a pattern.
fn noise(i: usize) -> f64 {
    ((i as f64 * 12.9898).sin() * 43_758.547).fract()
}

fn metrics(loss: f64, kind: Loss) -> Metrics {
    Metrics {
        loss,
        std_error: None,
        accuracy: kind.is_classifier().then_some(1.0 - loss / 2.0),
        auc: (kind == Loss::Logistic).then_some(0.9),
        r2: (kind == Loss::Squared).then_some(0.6),
        deviance_explained: (kind == Loss::Poisson).then_some(0.4),
    }
}

fn tuned(kind: Loss, features: usize, monitored: bool) -> Tuned {
    let candidate = |role, penalties, law, hyperparameters, loss: f64, chosen| Candidate {
        role,
        penalties,
        law,
        hyperparameters,
        rows: 100,
        train: metrics(loss - 0.02, kind),
        validation: metrics(loss, kind),
        monitor_loss: monitored.then_some(loss + 0.001),
        monitor_std_error: monitored.then_some(0.0004),
        test: Some(metrics(loss + 0.002, kind)),
        chosen,
    };
    let candidates = vec![
        candidate(CandidateRole::Untuned, Penalties::Shared, Law::Free, 1, 0.3312, false),
        candidate(CandidateRole::Tuned, Penalties::Shared, Law::Free, 1, 0.3204, false),
        candidate(CandidateRole::Tuned, Penalties::PerGroup, Law::Free, 14, 0.3199, false),
        candidate(CandidateRole::Tuned, Penalties::PerFeature, Law::Shrunk(0.01), features, 0.3187, true),
        candidate(CandidateRole::Tuned, Penalties::PerFeature, Law::Free, features, 0.3191, false),
    ];
    let mut trace = Vec::new();
    for (run, candidate) in candidates[1..].iter().enumerate() {
        for iteration in 0..12 + 5 * run {
            let loss = candidate.validation.loss + 0.4 * (-(iteration as f64) * 0.5 - 2.0 * run as f64).exp();
            trace.push(TraceRow {
                penalties: candidate.penalties,
                law: candidate.law,
                iteration,
                seconds: 0.1 * trace.len() as f64,
                validation_loss: loss,
                train_loss: loss - 0.015,
                projected_gradient: 0.1f64.powi(iteration as i32),
                passes: 7.0 * trace.len() as f64,
            });
        }
    }
    let outputs = kind.outputs();
    let rows = 4000;
    let margins: Vec<f64> = (0..rows * outputs).map(|i| 3.0 * noise(i)).collect();
    let y: Vec<f64> = (0..rows)
        .map(|i| match kind {
            Loss::Logistic => f64::from(u8::from(margins[i] + 2.0 * noise(i + 91_000) > 0.0)),
            Loss::Softmax { classes } => ((margins[i * classes].abs() * 1.7) as usize % classes) as f64,
            _ => margins[i] + noise(i + 7) + noise(i + 12_345),
        })
        .collect();
    Tuned {
        model: LinearModel {
            loss: kind,
            features,
            outputs,
            coef: (0..features * outputs).map(|i| noise(i) * noise(2 * i).powi(2)).collect(),
            intercept: vec![-0.3; outputs],
        },
        status: Ending::Converged,
        method: "exact".into(),
        penalties: Penalties::PerFeature,
        lambda: (0..features).map(|i| -6.0 + 5.0 * noise(i + 3)).collect(),
        lambda_names: names(features),
        candidates,
        diagnostics: Some(Diagnostics::compute(kind, &margins, &y, None, "test rows")),
        trace,
        rows: 32_561,
        features,
        criterion: "5 folds".into(),
        notes: vec!["2 constant columns keep the weight 0: <b>capital & loss</b>".into()],
        seconds: 3.214,
        passes: 412.5,
    }
}

fn names(features: usize) -> Vec<String> {
    (0..features)
        .map(|j| format!("column {}={}", j % 14, ["a", "<script>alert(1)</script>", "long name"][j % 3]))
        .collect()
}

fn page_of(kind: Loss, features: usize, classes: usize, monitored: bool) -> String {
    let tuned = tuned(kind, features, monitored);
    let strongest = bilevel::tune::strongest_weights(
        &tuned.model,
        &(0..features).map(|j| 1.0 + noise(j).abs()).collect::<Vec<f64>>(),
        30,
    );
    let groups = Groups {
        of_feature: (0..features as u32).map(|j| j % 14).collect(),
        names: (0..14).map(|g| format!("column {g}")).collect(),
    };
    let class_names: Vec<String> = (0..classes).map(|c| format!("<class> & {c}")).collect();
    let data = [("training".into(), "data/adult.csv.gz: 32,561 rows".into()), ("target".into(), "income <=50K".into())];
    Report {
        title: "adult<1>.csv.gz",
        data: &data,
        command: "bilevel tune 'data/a b<c>.csv' --target income --folds 5 --penalties auto --method auto --seed 0 --model auto",
        tuned: &tuned,
        feature_names: &names(features),
        groups: &groups,
        class_names: &class_names,
        strongest: &strongest,
    }
    .render()
}

fn all_pages() -> Vec<(&'static str, String)> {
    vec![
        ("logistic", page_of(Loss::Logistic, 108, 2, true)),
        ("softmax", page_of(Loss::Softmax { classes: 10 }, 40, 10, false)),
        ("many-classes", page_of(Loss::Softmax { classes: 40 }, 20, 40, true)),
        ("squared", page_of(Loss::Squared, 12, 0, true)),
        ("poisson", page_of(Loss::Poisson, 12, 0, false)),
    ]
}

#[test]
fn pages_are_self_contained_and_escaped() {
    for (name, page) in all_pages() {
        assert!(!page.contains("<script"), "{name}: text of the user must be escaped");
        assert!(!page.contains("<class>") && !page.contains("<b>capital"), "{name}: text of the user must be escaped");
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("@import"), "{name}");
        assert!(!page.contains("NaN") && !page.contains(">inf"), "{name}: only numbers may be shown");
        for tag in ["section", "figure", "table", "svg", "g", "div", "ul", "dl", "tr"] {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            let opened = page.matches(&open).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&close).count(), "{name}: every <{tag}> must be closed");
        }
    }
}

#[test]
fn rows_that_chose_penalties_are_not_called_unseen() {
    let mut outcome = tuned(Loss::Squared, 12, true);
    let diagnostics = outcome.diagnostics.clone().unwrap();
    let page = |outcome: &Tuned| quality::predictions(&diagnostics, outcome.chosen(), &[]);
    assert!(page(&outcome).contains("took no part in the tuning"), "test rows");
    outcome.candidates.iter_mut().for_each(|candidate| candidate.test = None);
    let text = page(&outcome);
    assert!(text.contains("flatters these figures a little") && !text.contains("had not seen"), "{text}");
    outcome.candidates.iter_mut().for_each(|candidate| candidate.hyperparameters = 500);
    let text = page(&outcome);
    assert!(text.contains("they chose 500 penalties") && !text.contains("had not seen"), "{text}");
}

#[test]
fn classes_that_begin_alike_can_be_told_apart() {
    let outcome = tuned(Loss::Softmax { classes: 3 }, 4, false);
    let classes = ["north", "south", "west"].map(|end| format!("customers of the segment in the {end}"));
    let confusion = outcome.diagnostics.clone().unwrap().confusion.unwrap();
    let table = quality::confusion_of(&confusion, &classes, ("true", "predicted", "right"));
    for (class, end) in classes.iter().zip(["north</th>", "south</th>", "west</th>"]) {
        assert_eq!(table.matches(end).count(), 2, "{table}");
        assert_eq!(table.matches(&format!("title=\"{class}\"")).count(), 2, "{table}");
    }
    let features = [1, 2, 3, 4].map(|j| format!("mean amount of all orders in the year before, {j}"));
    let strongest = bilevel::tune::strongest_weights(&outcome.model, &[1.0; 4], 12);
    let text = findings::weights(&outcome, &strongest, &features, &classes);
    for class in ["north", "south", "west"] {
        assert!(text.contains(&format!("{class}</td>")), "{text}");
    }
}

#[test]
fn the_choice_is_explained() {
    let mut outcome = tuned(Loss::Logistic, 20, true);
    let text = run::choice(&outcome);
    assert!(text.contains("per-feature, shrinkage 0.01") && text.contains("0.31970 against 0.32140"), "{text}");
    for candidate in &mut outcome.candidates {
        candidate.chosen = candidate.role == CandidateRole::Tuned && candidate.penalties == Penalties::Shared;
    }
    assert!(run::choice(&outcome).starts_with("Chosen: one shared penalty."));
    outcome.candidates.truncate(2);
    assert!(run::choice(&outcome).contains("as asked: shared"));
    for status in [Ending::TimeLimit, Ending::Interrupted] {
        outcome.status = status;
        let text = run::choice(&outcome);
        assert!(text.contains("before the run was cut short") && !text.contains("as asked"), "{text}");
    }
}
