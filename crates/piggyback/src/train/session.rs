//! One run: steps, epochs, and what is kept of them.

use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData, activation};
use piggyback_task::{Preprocessing, TaskFile, TrainingRecord};

use super::checkpoint::{self, Identity, Position, State, trained_tensors};
use super::config::{NormMode, TrainConfig};
use super::network::{TaskDescription, TaskNetwork};
use super::run::RunFolder;
use super::{EpochMetrics, Event, Trained, Trainer};
use crate::backbone::{Backbone, PRECISIONS};
use crate::data::{Batch, Loader, Samples};
use crate::engine::{Engine, images_tensor};
use crate::error::{Error, Result};
use crate::evaluate::{EvaluateConfig, Evaluation, evaluate_until};
use crate::mask;

/// The name under which a task is evaluated while it is trained.
const TASK: &str = "task";

/// Everything that a run needs besides its state.
pub(super) struct Session<'a, 'b> {
    pub(super) backbone: &'a Backbone,
    pub(super) about: TaskDescription,
    pub(super) config: &'a TrainConfig,
    pub(super) loader: Loader,
    pub(super) validation: Samples,
    pub(super) identity: Identity,
    pub(super) run: Option<RunFolder>,
    pub(super) trainer: &'a mut Trainer<'b>,
}

impl Session<'_, '_> {
    fn tell(&mut self, event: &Event) {
        (self.trainer.observe)(event);
    }

    /// Steps of the whole run.
    fn steps(&self) -> usize {
        self.config.epochs * self.loader.batches()
    }

    pub(super) fn start(&mut self, position: &Position) {
        self.tell(&Event::Start {
            epochs: self.config.epochs,
            steps_per_epoch: self.loader.batches(),
            first_step: position.step,
            train_images: self.loader.samples().len(),
            validation_images: self.validation.len(),
            classes: self.about.classes.len(),
        });
    }

    /// Trains to the end of the epoch under way, validates, and keeps the task if it is the best.
    pub(super) fn epoch(&mut self, mut state: State<TaskNetwork>) -> Result<State<TaskNetwork>> {
        let started = Instant::now();
        let steps = self.steps();
        let epoch = state.position.epoch;
        let batches = self.loader.epoch_from(epoch as u64, state.position.batch);
        for batch in batches {
            let batch = batch?;
            let reasons = batch.skipped.iter().map(|image| image.error.to_string());
            self.note_skipped(&mut state.position, reasons);
            // Skipped images can leave a batch too small to have a variance, or none at all.
            let least = if self.config.norm == NormMode::Task {
                2
            } else {
                1
            };
            if batch.len() >= least {
                state = self.step(state, batch, steps)?;
            }
            state.position.step += 1;
            state.position.batch += 1;
            if self.trainer.stop.load(Ordering::Relaxed) {
                state.position.seconds += started.elapsed().as_secs_f64();
                return Err(self.interrupt(&state));
            }
        }
        self.end_epoch(&mut state, started)?;
        Ok(state)
    }

    /// Tells of images that were left out, each once.
    fn note_skipped(&mut self, position: &mut Position, reasons: impl Iterator<Item = String>) {
        for reason in reasons {
            if !position.skipped.contains(&reason) {
                self.tell(&Event::Skipped(reason.clone()));
                position.skipped.push(reason);
            }
        }
    }

    /// One step of learning.
    fn step(
        &mut self,
        state: State<TaskNetwork>,
        batch: Batch,
        steps: usize,
    ) -> Result<State<TaskNetwork>> {
        let State {
            network,
            mut adam,
            mut position,
            best,
        } = state;
        let (count, shape) = (batch.len(), batch.shape());
        let device = self.backbone.device().clone().autodiff();
        let images = images_tensor(batch.images, shape, &device);
        let logits = network.forward_training(images, self.config.seed, position.step);
        let wrong = count_wrong(&logits, &batch.labels);
        let loss = cross_entropy(logits, &batch.labels);
        let loss_value = f64::from(mask::values(loss.clone())[0]);
        if !loss_value.is_finite() {
            return Err(self.diverged(format!("the loss became {loss_value}"), &position));
        }
        let share = self.config.rate_share(position.step, steps);
        let config = self.config;
        let rate_of = |name: &str| share * rate(config, steps, name);
        let network = adam.step(network, &mut loss.backward(), &rate_of);

        position.loss_sum += loss_value * count as f64;
        position.wrong += wrong;
        position.images += count;
        self.tell(&Event::Step {
            epoch: position.epoch + 1,
            step: position.step + 1,
            steps,
            loss: loss_value,
            error: 100.0 * position.wrong as f64 / position.images as f64,
        });
        Ok(State {
            network,
            adam,
            position,
            best,
        })
    }

    fn diverged(&self, what: String, position: &Position) -> Error {
        let TrainConfig {
            lr_norm, lr_head, ..
        } = self.config;
        let lr_mask = self.config.lr_mask.resolve(self.steps());
        Error::Diverged {
            what,
            epoch: position.epoch + 1,
            step: (position.batch + 1).min(self.loader.batches()),
            rates: format!("now lr-mask {lr_mask}, lr-norm {lr_norm}, lr-head {lr_head}"),
        }
    }

    fn interrupt(&self, state: &State<TaskNetwork>) -> Error {
        let steps = state.position.step;
        let Some(run) = &self.run else {
            return Error::Stopped { steps };
        };
        match checkpoint::save(&run.checkpoint(), state, &self.identity) {
            Ok(()) => Error::Interrupted {
                steps,
                run_dir: run.folder().to_owned(),
            },
            Err(error) => error,
        }
    }

    fn end_epoch(&mut self, state: &mut State<TaskNetwork>, started: Instant) -> Result<()> {
        if state.position.images == 0 {
            return Err(Error::setting(
                "data",
                "no batch had two readable images; repair the images, or give more of them",
            ));
        }
        let finite = |data: &Vec<f32>| data.iter().all(|value| value.is_finite());
        if let Some((name, _)) = trained_tensors(&state.network)
            .iter()
            .find(|(_, data)| !finite(data))
        {
            let what = format!("'{name}' became infinite or NaN");
            return Err(self.diverged(what, &state.position));
        }
        let mut task = state.network.to_task(&self.about, self.config)?;
        let validation = self.evaluate(&task, "validation", self.validation.clone())?;
        let Some(validation) = validation else {
            state.position.seconds += started.elapsed().as_secs_f64();
            return Err(self.interrupt(state));
        };
        self.note_skipped(&mut state.position, validation.skipped.iter().cloned());
        let position = &mut state.position;
        let metrics = EpochMetrics {
            epoch: position.epoch + 1,
            train_loss: position.loss_sum / position.images as f64,
            train_error: 100.0 * position.wrong as f64 / position.images as f64,
            validation_loss: validation.loss,
            validation_error: validation.top1_error,
            zeros: task.zeros().share(),
            seconds: position.seconds + started.elapsed().as_secs_f64(),
        };
        let better = position
            .history
            .get(position.best_epoch.wrapping_sub(1))
            .is_none_or(|best| {
                // Small validation sets tie often; the loss then tells the surer network.
                (metrics.validation_error, metrics.validation_loss)
                    < (best.validation_error, best.validation_loss)
            });
        if better {
            task.training = self.record(&metrics)?;
            state.best = Some(task);
            position.best_epoch = metrics.epoch;
        }
        *position = Position {
            epoch: position.epoch + 1,
            step: position.step,
            best_epoch: position.best_epoch,
            skipped: std::mem::take(&mut position.skipped),
            history: std::mem::take(&mut position.history),
            ..Position::default()
        };
        position.history.push(metrics.clone());
        if let Some(run) = &self.run {
            checkpoint::save(&run.checkpoint(), state, &self.identity)?;
            run.epoch_done(&state.position.history)?;
        }
        self.tell(&Event::Epoch(metrics));
        Ok(())
    }

    /// How the task was trained; nothing in it depends on time or machine.
    fn record(&self, metrics: &EpochMetrics) -> Result<TrainingRecord> {
        let mut record = TrainingRecord::default();
        record.insert(
            "settings",
            TrainingRecord::from_serialize(self.config)?
                .as_map()
                .clone(),
        );
        record.insert("program", concat!("piggyback ", env!("CARGO_PKG_VERSION")));
        let precisions = (self.backbone.fingerprints().iter())
            .map(|(precision, fingerprint)| (precision.to_string(), fingerprint.to_string().into()))
            .collect::<serde_json::Map<_, _>>();
        record.insert(PRECISIONS, precisions);
        record.insert("lr-mask", self.config.lr_mask.resolve(self.steps()));
        record.insert("train-images", self.identity.train_images);
        record.insert("validation-images", self.identity.validation_images);
        record.insert("best-epoch", metrics.epoch);
        record.insert("validation-error", metrics.validation_error);
        record.insert("validation-loss", metrics.validation_loss);
        record.insert("train-error", metrics.train_error);
        record.insert("train-loss", metrics.train_loss);
        Ok(record)
    }

    /// Evaluates a task as the engine will answer for it; `None` if it was asked to stop.
    fn evaluate(
        &mut self,
        task: &TaskFile,
        split: &'static str,
        samples: Samples,
    ) -> Result<Option<Evaluation>> {
        let engine = Engine::new(self.backbone.clone()).with_task(TASK, task.clone())?;
        let config = EvaluateConfig {
            skip_bad: self.config.skip_bad,
            ..EvaluateConfig::default()
        };
        let stop = self.trainer.stop.clone();
        let mut observe = |images, total| {
            (self.trainer.observe)(&Event::Evaluating {
                split,
                images,
                total,
            });
            !stop.load(Ordering::Relaxed)
        };
        evaluate_until(&engine, TASK, samples, &config, &mut observe)
    }

    /// Looks at the test images, once, and hands over what was learned.
    pub(super) fn finish(
        mut self,
        state: State<TaskNetwork>,
        test: Option<&Samples>,
    ) -> Result<Trained> {
        let State {
            mut position, best, ..
        } = state;
        let task = best.ok_or_else(|| Error::setting("epochs", "no epoch was trained"))?;
        let test = test.map(|test| match self.evaluate(&task, "test", test.clone())? {
            Some(evaluation) => Ok(evaluation),
            None => Err(Error::Stopped {
                steps: position.step,
            }),
        });
        if let Some(Ok(evaluation)) = &test {
            self.note_skipped(&mut position, evaluation.skipped.iter().cloned());
        }
        Ok(Trained {
            task,
            epochs: position.history,
            best_epoch: position.best_epoch,
            test,
            skipped: position.skipped,
        })
    }
}

impl Identity {
    pub(super) fn new(
        config: &TrainConfig,
        backbone: &Backbone,
        preprocessing: &Preprocessing,
        train: &Samples,
        validation: &Samples,
    ) -> Self {
        let mut files = blake3::Hasher::new();
        for samples in [train, validation] {
            for (path, class) in samples.iter() {
                let name = path.strip_prefix(samples.root()).unwrap_or(&path);
                files.update(name.as_os_str().as_encoded_bytes());
                files.update(&[0]);
                files.update(&class.to_le_bytes());
            }
        }
        Self {
            // Whether unreadable images stop a run does not change what it learns from the others.
            config: TrainConfig {
                skip_bad: false,
                ..config.clone()
            },
            fingerprint: backbone.id().fingerprint.to_string(),
            preprocessing: preprocessing.clone(),
            classes: train.classes().to_vec(),
            train_images: train.len(),
            validation_images: validation.len(),
            files: files.finalize().to_hex().to_string(),
        }
    }
}

/// The full learning rate of a tensor of [`TaskNetwork`] in a run of `steps`.
pub(super) fn rate(config: &TrainConfig, steps: usize, name: &str) -> f64 {
    if name.ends_with(".mask.scores") {
        config.lr_mask.resolve(steps)
    } else if name.starts_with("head.") {
        config.lr_head
    } else {
        config.lr_norm
    }
}

/// Mean cross-entropy of logits `[batch, classes]`, `[1]`.
pub(super) fn cross_entropy(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [batch, _] = logits.dims();
    let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    let labels = TensorData::new(labels, [batch, 1]);
    let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
    activation::log_softmax(logits, 1)
        .gather(1, labels)
        .mean()
        .neg()
}

/// How many images are taken for another class.
fn count_wrong(logits: &Tensor<2>, labels: &[u32]) -> usize {
    let [_, classes] = logits.dims();
    let logits = mask::values(logits.clone().without_autodiff());
    let likeliest =
        |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
    logits
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| likeliest(row) != Some(**label as usize))
        .count()
}
