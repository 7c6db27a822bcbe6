//! The training loss.

use burn::tensor::{Int, Tensor, TensorData, activation};

use crate::nn::values;

/// Mean cross-entropy of logits `[batch, classes]`, as `[1]`, with label smoothing like PyTorch's
/// `label_smoothing` (Szegedy et al., CVPR 2016).
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u32], smoothing: f64) -> Tensor<1> {
    let [batch, _] = logits.dims();
    let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    let labels = TensorData::new(labels, [batch, 1]);
    let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
    let logarithms = activation::log_softmax(logits, 1);
    let of_labels = logarithms.clone().gather(1, labels).mean().neg();
    if smoothing == 0.0 {
        return of_labels;
    }
    of_labels * (1.0 - smoothing) + logarithms.mean().neg() * smoothing
}

/// Counts the misclassified images.
pub(super) fn count_wrong(logits: &Tensor<2>, labels: &[u32]) -> usize {
    let [_, classes] = logits.dims();
    let logits = values(logits.clone().without_autodiff());
    let likeliest =
        |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
    logits
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| likeliest(row) != Some(**label as usize))
        .count()
}
