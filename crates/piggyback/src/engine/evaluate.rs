//! Evaluation of a task on labelled images.

use serde::Serialize;

use super::predict::Engine;
use super::prediction::Prediction;
use crate::data::{Loader, LoaderConfig, Samples};
use crate::error::{Error, Result};
use crate::text::csv;

/// The top-5 error is reported for more classes than this.
const TOP5_CLASSES: usize = 5;

/// How to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluateConfig {
    /// Images per batch.
    pub batch_size: usize,
    /// Skip images that cannot be read instead of stopping.
    pub skip_bad: bool,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self {
            batch_size: 64,
            skip_bad: false,
        }
    }
}

/// The errors of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassResult {
    /// The class.
    pub class: String,
    /// Its images.
    pub images: usize,
    /// Share of its images that were misclassified, %; `None` without images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

/// The errors of a task on a set of images.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Images evaluated.
    pub images: usize,
    /// Top-1 error, %.
    pub top1_error: f64,
    /// Top-5 error, %; `None` for five classes or fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5_error: Option<f64>,
    /// Mean cross-entropy, nats.
    pub loss: f64,
    /// Every class, in the task's order.
    pub classes: Vec<ClassResult>,
    /// Images by true class (rows) and predicted class (columns).
    pub confusion: Vec<Vec<u64>>,
    /// Images skipped because they could not be read, with the reason.
    pub skipped: Vec<String>,
    /// BLAKE3 of all outputs in the order of the images, hexadecimal. Equal if and only if all
    /// outputs are bit-identical.
    #[serde(skip)]
    pub outputs: String,
}

impl Evaluation {
    /// The confusion matrix as CSV: a header of predicted classes, and one row per true class.
    pub fn confusion_csv(&self) -> String {
        let names = || self.classes.iter().map(|class| class.class.clone());
        let mut csv = csv::row(std::iter::once("true\\predicted".to_owned()).chain(names()));
        for (name, row) in names().zip(&self.confusion) {
            let counts = row.iter().map(u64::to_string);
            csv.push_str(&csv::row(std::iter::once(name).chain(counts)));
        }
        csv
    }
}

/// Running counts of an evaluation.
pub(crate) struct Tally {
    confusion: Vec<Vec<u64>>,
    images: usize,
    wrong_of_five: usize,
    loss: f64,
    outputs: blake3::Hasher,
}

impl Tally {
    pub(crate) fn new(classes: usize) -> Self {
        Self {
            confusion: vec![vec![0; classes]; classes],
            images: 0,
            wrong_of_five: 0,
            loss: 0.0,
            outputs: blake3::Hasher::new(),
        }
    }

    pub(crate) fn add(&mut self, prediction: &Prediction, label: usize) {
        let best = prediction.top_indices(TOP5_CLASSES);
        if let Some(&class) = best.first() {
            self.confusion[label][class] += 1;
        }
        self.wrong_of_five += usize::from(!best.contains(&label));
        self.loss += cross_entropy(&prediction.logits, label);
        for logit in &prediction.logits {
            self.outputs.update(&logit.to_le_bytes());
        }
        self.images += 1;
    }

    pub(crate) fn finish(self, classes: &[String], skipped: Vec<String>) -> Evaluation {
        let percent = |count: u64, of: u64| 100.0 * count as f64 / (of.max(1)) as f64;
        let right: u64 = (0..self.confusion.len())
            .map(|class| self.confusion[class][class])
            .sum();
        let images = self.images as u64;
        let classes = (classes.iter().zip(&self.confusion).enumerate())
            .map(|(index, (class, row))| {
                let images: u64 = row.iter().sum();
                ClassResult {
                    class: class.clone(),
                    images: images as usize,
                    error: (images > 0).then(|| percent(images - row[index], images)),
                }
            })
            .collect();
        let five = self.confusion.len() > TOP5_CLASSES;
        Evaluation {
            images: self.images,
            top1_error: percent(images - right, images),
            top5_error: five.then(|| percent(self.wrong_of_five as u64, images)),
            loss: self.loss / images.max(1) as f64,
            classes,
            confusion: self.confusion,
            skipped,
            outputs: self.outputs.finalize().to_hex().to_string(),
        }
    }
}

/// Cross-entropy of one image, nats.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - largest).exp())
        .sum();
    let below = logits[label] - largest;
    let below = match below.is_finite() {
        true => f64::from(below),
        // So far apart that 32 bits cannot hold the difference.
        false => f64::from(logits[label]) - f64::from(largest),
    };
    total.ln() - below
}

/// Evaluates the task called `name` on labelled images. Their classes must be the task's.
///
/// `go_on` is called after each batch with the number of images done and the total. Returning
/// `false` stops the evaluation.
///
/// # Errors
///
/// [`Error::UnknownTask`], classes that differ from the task's, [`Error::NotNumbers`],
/// [`Error::Stopped`], and, unless skipped, images that cannot be read.
pub fn evaluate(
    engine: &Engine,
    name: &str,
    samples: Samples,
    config: &EvaluateConfig,
    mut go_on: impl FnMut(usize, usize) -> bool,
) -> Result<Evaluation> {
    let task = engine.task(name)?;
    if samples.classes() != task.classes {
        return Err(Error::Misfit {
            task: name.to_owned(),
            reason: "the images' classes differ from the task's".into(),
        });
    }
    let total = samples.len();
    let loader_config = LoaderConfig {
        skip_bad: config.skip_bad,
        ..LoaderConfig::evaluation(config.batch_size)
    };
    let loader = Loader::new(samples, task.preprocessing.clone(), loader_config)?;
    let mut tally = Tally::new(task.classes.len());
    let (mut skipped, mut done) = (Vec::new(), 0);
    for batch in loader.epoch(0) {
        let batch = batch?;
        done += batch.len() + batch.skipped.len();
        skipped.extend(batch.skipped.iter().map(|image| image.error.to_string()));
        let shape = batch.shape();
        let image = |place: usize| {
            let sample = loader.samples().get(batch.indices[place]);
            sample.map(|(path, _)| path.display().to_string())
        };
        let predictions = engine.predict_pixels(name, batch.images, shape, &image)?;
        for (prediction, &label) in predictions.iter().zip(&batch.labels) {
            tally.add(prediction, label as usize);
        }
        if !go_on(done, total) {
            return Err(Error::Stopped { steps: 0 });
        }
    }
    if tally.images == 0 {
        return Err(match skipped.into_iter().next() {
            Some(first) => crate::data::Error::NoneReadable { count: done, first }.into(),
            None => Error::internal("there are no images to evaluate on"),
        });
    }
    Ok(tally.finish(&task.classes, skipped))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn evaluation() -> Evaluation {
        let classes = [
            "plain",
            "with, comma",
            "with \"quotes\"",
            "d",
            "e",
            "f",
            "empty",
        ];
        let names: Arc<[String]> = classes.map(str::to_owned).into();
        let mut tally = Tally::new(classes.len());
        // Right, wrong but among the five likeliest, wrong altogether.
        for (label, best) in [(0, 0), (1, 0), (2, 3)] {
            let mut logits = vec![0.0, 1.0, -9.0, 2.0, 3.0, 1.5, 0.5];
            logits[best] = 5.0;
            tally.add(&Prediction::new(names.clone(), logits), label);
        }
        let images = vec!["a.png: broken".to_owned()];
        tally.finish(&names, images)
    }

    #[test]
    fn errors_are_counted_by_class() {
        let evaluation = evaluation();
        assert_eq!(evaluation.images, 3);
        assert!((evaluation.top1_error - 200.0 / 3.0).abs() < 1e-9);
        assert!((evaluation.top5_error.unwrap() - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!(evaluation.classes[0].error, Some(0.0));
        assert_eq!(evaluation.classes[1].error, Some(100.0));
        assert_eq!(evaluation.classes[6].images, 0);
        assert_eq!(evaluation.classes[6].error, None);
        assert_eq!(evaluation.confusion[2][3], 1);
        assert_eq!(evaluation.skipped, ["a.png: broken"]);
    }

    #[test]
    fn the_loss_is_the_mean_cross_entropy() {
        let logits = [1.0, 2.0, 3.0_f32];
        let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = total.ln() - 2.0;
        assert!((cross_entropy(&logits, 1) - expected).abs() < 1e-9);
    }

    #[test]
    fn a_class_without_images_has_no_error() {
        let json = serde_json::to_value(evaluation()).unwrap();
        let class = &json["classes"][6];
        assert_eq!(*class, serde_json::json!({"class": "empty", "images": 0}));
        let few = Tally::new(2).finish(&["a", "b"].map(str::to_owned), Vec::new());
        let json = serde_json::to_value(few).unwrap();
        assert!(json.get("top5_error").is_none(), "{json}");
    }

    #[test]
    fn the_loss_is_a_number_as_long_as_the_logits_are() {
        let loss = cross_entropy(&[f32::MAX, f32::MIN], 1);
        assert_eq!(loss, f64::from(f32::MAX) - f64::from(f32::MIN));
        assert_eq!(cross_entropy(&[f32::MAX, f32::MIN], 0), 0.0);
    }

    #[test]
    fn csv_fields_are_quoted_where_needed() {
        let csv = evaluation().confusion_csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 8);
        assert!(
            lines[0].starts_with("true\\predicted,plain,\"with, comma\",\"with \"\"quotes\"\"\",")
        );
        assert_eq!(lines[2], "\"with, comma\",1,0,0,0,0,0,0");
    }
}
