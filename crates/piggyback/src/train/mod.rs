//! Learning a task: the loop, from images to a task file.
//!
//! [`Trainer::train`] freezes the backbone, attaches masks, trains with Adam and keeps the epoch that
//! is best on validation data. Everything random comes from [`TrainConfig::seed`]; a run that is
//! stopped and resumed gives the same task file, bit for bit, as one that was not.

mod checkpoint;
mod config;
#[cfg(test)]
mod golden;
mod network;
mod optimizer;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData, activation};
use piggyback_task::{TaskFile, TrainingRecord};
use serde::{Deserialize, Serialize};

pub use config::{MaskLayers, NormMode, Recipe, ResizeMode, Schedule, TrainConfig};

use crate::backbone::Backbone;
use crate::data::{Augment, Batch, ImageFolder, Loader, LoaderConfig, Samples};
use crate::engine::{Engine, images_tensor};
use crate::error::{Error, Result};
use crate::evaluate::{EvaluateConfig, Evaluation, evaluate};
use checkpoint::{Identity, Position, State};
use network::{TaskDescription, TaskNetwork};
use optimizer::Adam;
use run::RunFolder;

/// The name under which a task is evaluated while it is trained.
const TASK: &str = "task";

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the training images as they were seen, nats.
    pub train_loss: f64,
    /// Share of the training images taken for another class as they were seen, %.
    pub train_error: f64,
    /// Mean cross-entropy of the validation images after the epoch, nats.
    pub validation_loss: f64,
    /// Share of the validation images taken for another class after the epoch, %.
    pub validation_error: f64,
    /// Share of the masked layers' weights that are zeroed after the epoch.
    pub zeros: f64,
    /// Duration, validation included, seconds.
    pub seconds: f64,
}

/// What a run tells its observer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Training begins or goes on.
    Start {
        /// Epochs in all.
        epochs: usize,
        /// Steps in an epoch.
        steps_per_epoch: usize,
        /// Steps that a resumed run had done.
        first_step: usize,
        /// Training images.
        train_images: usize,
        /// Validation images.
        validation_images: usize,
        /// Classes.
        classes: usize,
    },
    /// A step is done.
    Step {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Steps done in all.
        step: usize,
        /// Steps to do in all.
        steps: usize,
        /// Loss of the step's images, nats.
        loss: f64,
        /// Error over the epoch so far, %.
        error: f64,
    },
    /// An epoch is done.
    Epoch(EpochMetrics),
    /// Images are being evaluated.
    Evaluating {
        /// `validation` or `test`.
        split: &'static str,
        /// Images done.
        images: usize,
        /// Images in all.
        total: usize,
    },
    /// An image was left out; the reason names it.
    Skipped(String),
}

/// What training gives.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The task of the epoch that was best on validation data.
    pub task: TaskFile,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch that was kept, counted from 1.
    pub best_epoch: usize,
    /// The error on `test/`, where there is one: looked at once, after everything was chosen.
    pub test: Option<Evaluation>,
    /// Images left out because they could not be read.
    pub skipped: Vec<String>,
}

/// Trains a task.
///
/// ```no_run
/// use burn::tensor::Device;
/// use piggyback::Backbone;
/// use piggyback::data::ImageFolder;
/// use piggyback::train::{TrainConfig, Trainer};
///
/// let backbone = Backbone::load("mobilenet_v2.pth", &Device::flex())?;
/// let config = TrainConfig { image_size: 96, ..TrainConfig::default() };
/// let trained = Trainer::new(config).train(&backbone, &ImageFolder::open("data/flags")?)?;
/// trained.task.save("flags.task.safetensors")?;
/// # Ok::<(), piggyback::Error>(())
/// ```
pub struct Trainer<'a> {
    config: TrainConfig,
    run_dir: Option<PathBuf>,
    resume: bool,
    stop: Arc<AtomicBool>,
    observe: Box<dyn FnMut(&Event) + 'a>,
}

impl<'a> Trainer<'a> {
    /// A trainer that keeps nothing on disk and tells nobody how it goes.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            run_dir: None,
            resume: false,
            stop: Arc::default(),
            observe: Box::new(|_| {}),
        }
    }

    /// Keeps settings, metrics, curves and checkpoints in this folder, which is made if needed.
    #[must_use]
    pub fn run_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.run_dir = Some(folder.into());
        self
    }

    /// Continues from the run folder's checkpoint, if there is one.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Stops after the step during which this becomes true, and leaves a checkpoint.
    #[must_use]
    pub fn stop_when(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Is told how it goes.
    #[must_use]
    pub fn observe(mut self, observe: impl FnMut(&Event) + 'a) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Trains a task of `data` on `backbone`.
    ///
    /// Validation images come from `val/`, or are a share of `train/`, [`TrainConfig::val_share`].
    ///
    /// # Errors
    ///
    /// Settings, images or checkpoints that cannot be used, a loss that stops being a number, and
    /// [`Error::Interrupted`] when it was asked to stop.
    pub fn train(mut self, backbone: &Backbone, data: &ImageFolder) -> Result<Trained> {
        self.config.validate()?;
        let config = self.config.clone();
        let (train, validation) = match data.val() {
            Some(validation) => (data.train().clone(), validation.clone()),
            None => data
                .train()
                .split_validation(config.val_share, config.seed)?,
        };
        let identity = Identity::new(&config, backbone, &train, &validation);
        let preprocessing = config.preprocessing(&backbone.architecture().preprocessing());
        let loader_config = LoaderConfig {
            skip_bad: config.skip_bad,
            ..LoaderConfig::training(
                config.batch_size,
                config.seed,
                Some(Augment::preset(&config.augment)?),
            )
        };
        let loader = Loader::new(train, preprocessing.clone(), loader_config)?;
        let run = self.run_dir.clone().map(RunFolder::open).transpose()?;

        let device = backbone.device().clone();
        let network = TaskNetwork::new(backbone, data.classes().len(), &config)?;
        let saved = run
            .as_ref()
            .map(RunFolder::checkpoint)
            .filter(|path| path.exists());
        let mut state = match saved.filter(|_| self.resume) {
            Some(path) => checkpoint::load(&path, network, &identity, &device)?,
            None => State {
                network,
                adam: Adam::default(),
                position: Position::default(),
                best: None,
            },
        };
        if let Some(run) = &run {
            run.begin(&config, &state.position.history)?;
        }
        let mut session = Session {
            backbone,
            about: TaskDescription {
                backbone: backbone.id(),
                classes: data.classes().to_vec(),
                preprocessing,
            },
            config: &config,
            loader,
            validation,
            identity,
            run,
            trainer: &mut self,
        };
        session.start(&state.position);
        while state.position.epoch < config.epochs {
            state = session.epoch(state)?;
        }
        session.finish(state, data.test())
    }
}

/// Everything that a run needs besides its state.
struct Session<'a, 'b> {
    backbone: &'a Backbone,
    about: TaskDescription,
    config: &'a TrainConfig,
    loader: Loader,
    validation: Samples,
    identity: Identity,
    run: Option<RunFolder>,
    trainer: &'a mut Trainer<'b>,
}

impl Session<'_, '_> {
    fn tell(&mut self, event: &Event) {
        (self.trainer.observe)(event);
    }

    fn start(&mut self, position: &Position) {
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
    fn epoch(&mut self, mut state: State<TaskNetwork>) -> Result<State<TaskNetwork>> {
        let started = Instant::now();
        let steps = self.config.epochs * self.loader.batches();
        let epoch = state.position.epoch;
        let batches = self.loader.epoch_from(epoch as u64, state.position.batch);
        for batch in batches {
            let batch = batch?;
            for skipped in &batch.skipped {
                let reason = skipped.error.to_string();
                self.tell(&Event::Skipped(reason.clone()));
                if !state.position.skipped.contains(&reason) {
                    state.position.skipped.push(reason);
                }
            }
            // Skipped images can leave a batch too small to have a variance.
            if batch.len() > 1 {
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
        let loss_value = f64::from(crate::mask::values(loss.clone())[0]);
        if !loss_value.is_finite() {
            return Err(self.diverged(format!("the loss became {loss_value}"), &position));
        }
        let share = self.config.rate_share(position.step, steps);
        let config = self.config;
        let rate_of = |name: &str| share * rate(config, name);
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
            lr_mask,
            lr_norm,
            lr_head,
            ..
        } = self.config;
        Error::Diverged {
            what,
            epoch: position.epoch + 1,
            step: position.batch + 1,
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
        let network = &state.network;
        let mut task = network.to_task(&self.about, self.config).map_err(|_| {
            // Shapes are the network's own, so what a task file can refuse is a number.
            self.diverged(
                "a trained value became infinite or NaN".into(),
                &state.position,
            )
        })?;
        let validation = self.evaluate(&task, "validation", self.validation.clone())?;
        let position = &mut state.position;
        if position.images == 0 {
            return Err(Error::setting(
                "data",
                "none of the training images could be read",
            ));
        }
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
        record.insert("train-images", self.identity.train_images);
        record.insert("validation-images", self.identity.validation_images);
        record.insert("best-epoch", metrics.epoch);
        record.insert("validation-error", metrics.validation_error);
        record.insert("validation-loss", metrics.validation_loss);
        record.insert("train-error", metrics.train_error);
        record.insert("train-loss", metrics.train_loss);
        Ok(record)
    }

    /// Evaluates a task as the engine will answer for it.
    fn evaluate(
        &mut self,
        task: &TaskFile,
        split: &'static str,
        samples: Samples,
    ) -> Result<Evaluation> {
        let engine = Engine::new(self.backbone.clone()).with_task(TASK, task.clone())?;
        let config = EvaluateConfig {
            skip_bad: self.config.skip_bad,
            ..EvaluateConfig::default()
        };
        let mut observe = |images, total| {
            (self.trainer.observe)(&Event::Evaluating {
                split,
                images,
                total,
            });
        };
        evaluate(&engine, TASK, samples, &config, &mut observe)
    }

    fn finish(mut self, state: State<TaskNetwork>, test: Option<&Samples>) -> Result<Trained> {
        let State { position, best, .. } = state;
        let task = best.ok_or_else(|| Error::setting("epochs", "no epoch was trained"))?;
        let test = test
            .map(|test| self.evaluate(&task, "test", test.clone()))
            .transpose()?;
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
    fn new(
        config: &TrainConfig,
        backbone: &Backbone,
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
            config: config.clone(),
            fingerprint: backbone.id().fingerprint.to_string(),
            classes: train.classes().to_vec(),
            train_images: train.len(),
            validation_images: validation.len(),
            files: files.finalize().to_hex().to_string(),
        }
    }
}

/// The full learning rate of a tensor of [`TaskNetwork`].
fn rate(config: &TrainConfig, name: &str) -> f64 {
    if name.ends_with(".mask.scores") {
        config.lr_mask
    } else if name.starts_with("head.") {
        config.lr_head
    } else {
        config.lr_norm
    }
}

/// Mean cross-entropy of logits `[batch, classes]`, `[1]`.
fn cross_entropy(logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
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
    let logits = crate::mask::values(logits.clone().without_autodiff());
    let likeliest =
        |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
    logits
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| likeliest(row) != Some(**label as usize))
        .count()
}
