//! What stands out in a fitted model: its strongest weights, and its penalties group by group.

use serde::Serialize;

use super::model::LinearModel;
use crate::data::{Dataset, DesignMatrix, Element, Groups};

/// A weight that matters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StrongWeight {
    /// The feature.
    pub feature: usize,
    /// The output (class of a softmax model).
    pub output: usize,
    /// The weight, in the scale of the feature as given.
    pub weight: f64,
    /// Change of the margin per standard deviation of the feature.
    pub per_deviation: f64,
}

/// The `count` weights that move the margin most per standard deviation of their feature, strongest first; `deviations`
/// are those of [`feature_deviations`].
///
/// Weights as such say nothing about strength: a feature in metres has a thousand times the weight of the same feature
/// in millimetres.
pub fn strongest_weights(model: &LinearModel, deviations: &[f64], count: usize) -> Vec<StrongWeight> {
    let place = |weight: &StrongWeight| weight.feature * model.outputs + weight.output;
    let by_strength = |a: &StrongWeight, b: &StrongWeight| {
        b.per_deviation.abs().total_cmp(&a.per_deviation.abs()).then(place(a).cmp(&place(b)))
    };
    // There may be millions: only the strongest so far are kept, and as many again.
    let mut strongest: Vec<StrongWeight> = Vec::with_capacity(2 * count + 1);
    let mut least = 0.0;
    for (at, &weight) in model.coef.iter().enumerate() {
        let (feature, output) = (at / model.outputs, at % model.outputs);
        let per_deviation = weight * deviations[feature];
        if per_deviation != 0.0 && per_deviation.abs() >= least {
            strongest.push(StrongWeight { feature, output, weight, per_deviation });
        }
        if strongest.len() > 2 * count {
            strongest.select_nth_unstable_by(count, by_strength);
            strongest.truncate(count);
            least = strongest.iter().map(|weight| weight.per_deviation.abs()).fold(f64::INFINITY, f64::min);
        }
    }
    strongest.sort_by(by_strength);
    strongest.truncate(count);
    strongest
}

/// Standard deviation of each feature, in the units in which it came.
pub fn feature_deviations(data: &Dataset) -> Vec<f64> {
    let mut deviations = standard_deviations(&data.design);
    if let Some(done) = data.arrangement.as_ref().and_then(|arrangement| arrangement.standardization.as_ref()) {
        deviations.iter_mut().zip(&done.scale).for_each(|(deviation, scale)| *deviation *= scale);
    }
    deviations
}

/// Standard deviation of each column.
fn standard_deviations(design: &DesignMatrix) -> Vec<f64> {
    fn dense<T: Element>(row: &[T], add: &mut dyn FnMut(usize, f64)) {
        row.iter().enumerate().for_each(|(j, x)| add(j, x.to_f64()));
    }
    fn sparse<T: Element>((indices, values): (&[u32], &[T]), add: &mut dyn FnMut(usize, f64)) {
        indices.iter().zip(values).for_each(|(&j, x)| add(j as usize, x.to_f64()));
    }
    // Sums of differences from a value of the column itself: a large mean costs no digits. An entry that is not stored
    // is 0, so the reference of a sparse column must be 0 too.
    let reference: Vec<f64> = match design {
        DesignMatrix::DenseF32(m) if m.rows() > 0 => m.row(0).iter().map(|x| x.to_f64()).collect(),
        DesignMatrix::DenseF64(m) if m.rows() > 0 => m.row(0).to_vec(),
        DesignMatrix::Coded(m) if m.rows() > 0 => m.decoded_row(0).map(f64::from).collect(),
        _ => vec![0.0; design.cols()],
    };
    let mut sums = vec![(0.0, 0.0); design.cols()];
    let mut add = |j: usize, x: f64| {
        let difference = x - reference[j];
        sums[j].0 += difference;
        sums[j].1 += difference * difference;
    };
    for i in 0..design.rows() {
        match design {
            DesignMatrix::DenseF32(m) => dense(m.row(i), &mut add),
            DesignMatrix::DenseF64(m) => dense(m.row(i), &mut add),
            DesignMatrix::Coded(m) => m.decoded_row(i).enumerate().for_each(|(j, x)| add(j, x.into())),
            DesignMatrix::CsrF32(m) => sparse(m.row(i), &mut add),
            DesignMatrix::CsrF64(m) => sparse(m.row(i), &mut add),
        }
    }
    let rows = design.rows().max(1) as f64;
    sums.iter().map(|&(sum, squares)| (squares / rows - (sum / rows) * (sum / rows)).max(0.0).sqrt()).collect()
}

/// The log-penalties of the features of one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupPenalties {
    /// Name of the group.
    pub name: String,
    /// Number of its features.
    pub features: usize,
    /// Smallest log-penalty.
    pub min: f64,
    /// Median log-penalty.
    pub median: f64,
    /// Largest log-penalty.
    pub max: f64,
}

/// Log-penalties of single features gathered by group, in the order of the groups.
pub fn penalties_by_group(lambda: &[f64], groups: &Groups) -> Vec<GroupPenalties> {
    let mut members = vec![Vec::new(); groups.len()];
    for (&lambda, &group) in lambda.iter().zip(&groups.of_feature) {
        members[group as usize].push(lambda);
    }
    (members.iter_mut().zip(&groups.names))
        .filter(|(members, _)| !members.is_empty())
        .map(|(members, name)| {
            members.sort_by(f64::total_cmp);
            let middle = members.len() / 2;
            let median =
                if members.len() % 2 == 1 { members[middle] } else { 0.5 * (members[middle - 1] + members[middle]) };
            let (min, max) = (members[0], members[members.len() - 1]);
            GroupPenalties { name: name.clone(), features: members.len(), min, median, max }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{CsrMatrix, DenseMatrix};
    use crate::problems::glm::Loss;

    #[test]
    fn strength_is_measured_in_deviations() {
        let coef = vec![1.0, 100.0, -3.0, 5.0];
        let model = LinearModel { loss: Loss::Squared, features: 4, outputs: 1, coef, intercept: vec![0.0] };
        let values = vec![1e6, 0.5, 1.0, 7.0, 1e6 + 2.0, 0.51, 3.0, 7.0];
        let dense = DesignMatrix::DenseF64(DenseMatrix::new(2, 4, values));
        let strongest = strongest_weights(&model, &standard_deviations(&dense), 2);
        assert_eq!(strongest.iter().map(|w| w.feature).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(strongest[0].per_deviation, -3.0);
        let sparse = DesignMatrix::CsrF64(CsrMatrix::new(4, vec![0, 1, 1], vec![2], vec![2.0]));
        let strongest = strongest_weights(&model, &standard_deviations(&sparse), 2);
        assert_eq!((strongest.len(), strongest[0].per_deviation), (1, -3.0), "constant columns have no strength");
    }

    #[test]
    fn groups() {
        let groups = Groups { of_feature: vec![0, 1, 1, 0, 1], names: vec!["a".into(), "b".into()] };
        let by_group = penalties_by_group(&[1.0, 5.0, 3.0, 2.0, 4.0], &groups);
        assert_eq!(by_group[0], GroupPenalties { name: "a".into(), features: 2, min: 1.0, median: 1.5, max: 2.0 });
        assert_eq!((by_group[1].min, by_group[1].median, by_group[1].max), (3.0, 4.0, 5.0));
    }
}
