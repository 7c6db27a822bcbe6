//! The prediction of a task for one image.

use std::sync::Arc;

/// The logits and probabilities of a task's classes for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Shared with the task and all its other predictions.
    classes: Arc<[String]>,
    /// The head's outputs, one per class.
    pub logits: Vec<f32>,
    /// Their softmax.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// The prediction for `logits`, one per class.
    pub(crate) fn new(classes: Arc<[String]>, logits: Vec<f32>) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f64> = logits
            .iter()
            .map(|&logit| f64::from(logit - largest).exp())
            .collect();
        let total: f64 = exponentials.iter().sum();
        let probabilities = exponentials
            .iter()
            .map(|value| (value / total) as f32)
            .collect();
        Self {
            classes,
            logits,
            probabilities,
        }
    }

    /// Names of the task's classes; class `i` has logit `i` and probability `i`.
    pub fn classes(&self) -> &Arc<[String]> {
        &self.classes
    }

    /// The `count` most likely classes with their probabilities, most likely first. Ties are in
    /// class order.
    pub fn top(&self, count: usize) -> Vec<(&str, f32)> {
        let named = |class: usize| {
            let name = self.classes.get(class)?.as_str();
            Some((name, *self.probabilities.get(class)?))
        };
        self.top_indices(count)
            .into_iter()
            .filter_map(named)
            .collect()
    }

    /// The indices of the `count` most likely classes, in the order of [`top`](Self::top).
    pub fn top_indices(&self, count: usize) -> Vec<usize> {
        let mut classes: Vec<usize> = (0..self.logits.len()).collect();
        classes.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]).then(a.cmp(&b)));
        classes.truncate(count);
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_by_name_and_equal_ones_in_their_order() {
        let classes: Arc<[String]> = ["a", "b", "c", "d"].map(str::to_owned).into();
        let prediction = Prediction::new(classes.clone(), vec![0.0, 2.0, -1.0, 2.0]);
        assert_eq!(prediction.top_indices(3), [1, 3, 0]);
        let [b, d, a] = prediction.top(3)[..] else {
            panic!("three were asked for");
        };
        assert_eq!([b.0, d.0, a.0], ["b", "d", "a"]);
        let expected = 1.0 / (2.0 + (-2.0_f64).exp() + (-3.0_f64).exp());
        assert_eq!([b.1, d.1], [expected as f32; 2]);
        assert_eq!(prediction.top(9).len(), 4);
        assert!(Arc::ptr_eq(prediction.classes(), &classes));
    }
}
