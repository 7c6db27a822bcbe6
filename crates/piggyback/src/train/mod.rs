//! Learning a task: the loop, from images to a task file.
//!
//! [`Trainer::train`] freezes the backbone, attaches masks, trains with Adam and keeps the epoch that
//! is best on validation data. Everything random comes from [`TrainConfig::seed`]; a run that is
//! stopped and resumed gives the same task file, bit for bit, as one that was not.

mod check;
mod checkpoint;
mod config;
mod events;
#[cfg(test)]
mod exact;
#[cfg(test)]
mod golden;
mod images;
mod loss;
mod mask_layers;
mod mask_rate;
mod masks;
mod method;
mod network;
mod optimizer;
mod readable;
mod run;
mod session;
mod split;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use piggyback_task::TaskFile;
use serde::{Deserialize, Serialize};

pub use config::{NormMode, Recipe, Schedule, TrainConfig};
pub use mask_layers::MaskLayers;
pub use mask_rate::{Auto, MaskRate};

pub use run::{CHECKPOINT_FILE, RUN_FILES, UNSAVED_FILE, check_run_folder};

pub(crate) use check::{MOST_EPOCHS, check_batch_size, check_epochs, check_rate, check_share};
pub(crate) use loss::cross_entropy;
pub(crate) use masks::task_engine;
pub(crate) use method::{Learned, Method, Product, RunSettings, Trainee};
pub(crate) use network::{TaskDescription, TaskNetwork, head_values, norm_modules, owner};
pub(crate) use optimizer::{Adam, Sgd, SgdRates};
pub(crate) use session::learn;

use crate::backbone::Backbone;
use crate::data::{DataSet, ImageFolder};
use crate::error::Result;
use crate::evaluate::Evaluation;
use masks::Masks;

/// How often a run leaves a checkpoint within an epoch unless it is asked otherwise. Of the
/// training steps, a power cut costs these ten minutes at most.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);

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
    /// Share of the masked layers' weights that are zeroed after the epoch; `None` without masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zeros: Option<f64>,
    /// The learning rates of the epoch's last step, by the names of their settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rates: BTreeMap<String, f64>,
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
    /// The headers of images are being looked at, before the first step.
    LookingAtImages {
        /// Images done.
        images: usize,
        /// Images in all.
        total: usize,
    },
    /// Something that the user should know of the images; a sentence.
    Note(String),
    /// An image was left out; the reason names it.
    Skipped(String),
    /// A checkpoint within an epoch could not be written, for this reason. Training goes on, and the
    /// checkpoint before stays.
    NotSaved(String),
}

/// What training gives.
#[derive(Debug)]
pub struct Trained {
    /// The task of the epoch that was best on validation data.
    pub task: TaskFile,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch that was kept, counted from 1.
    pub best_epoch: usize,
    /// The error on `test/`, where there is one: looked at once, after everything was chosen. What
    /// goes wrong there does not take the task with it.
    pub test: Option<Result<Evaluation>>,
    /// Images of any split left out because they could not be read, with the reason.
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
/// let config = TrainConfig { image_size: 96.into(), ..TrainConfig::default() };
/// let trained = Trainer::new(config).train(&backbone, &ImageFolder::open("data/flags")?)?;
/// trained.task.save("flags.task.safetensors")?;
/// # Ok::<(), piggyback::Error>(())
/// ```
pub struct Trainer<'a> {
    config: TrainConfig,
    options: RunOptions<'a>,
}

/// Where a run keeps what it needs, who may stop it and who is told how it goes.
pub(crate) struct RunOptions<'a> {
    pub(crate) run_dir: Option<PathBuf>,
    pub(crate) resume: bool,
    pub(crate) checkpoint_every: Duration,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) observe: Box<dyn FnMut(&Event) + 'a>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            run_dir: None,
            resume: false,
            checkpoint_every: CHECKPOINT_EVERY,
            stop: Arc::default(),
            observe: Box::new(|_| {}),
        }
    }
}

impl<'a> Trainer<'a> {
    /// A trainer that keeps nothing on disk and tells nobody how it goes.
    pub fn new(config: TrainConfig) -> Self {
        Self {
            config,
            options: RunOptions::default(),
        }
    }

    pub(crate) fn with_options(config: TrainConfig, options: RunOptions<'a>) -> Self {
        Self { config, options }
    }

    /// Keeps settings, metrics, curves and checkpoints in this folder, which is made if needed.
    #[must_use]
    pub fn run_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.run_dir = Some(folder.into());
        self
    }

    /// Continues from the run folder's checkpoint, if there is one; otherwise an old checkpoint is
    /// removed as soon as the settings and images have been checked.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.options.resume = resume;
        self
    }

    /// Leaves a checkpoint in the run folder this often within an epoch, [`CHECKPOINT_EVERY`] if not
    /// asked otherwise; zero means at each step. There is always one at the end of an epoch.
    #[must_use]
    pub fn checkpoint_every(mut self, time: Duration) -> Self {
        self.options.checkpoint_every = time;
        self
    }

    /// Stops after the step during which this becomes true, and leaves a checkpoint.
    #[must_use]
    pub fn stop_when(mut self, stop: Arc<AtomicBool>) -> Self {
        self.options.stop = stop;
        self
    }

    /// Is told how it goes.
    #[must_use]
    pub fn observe(mut self, observe: impl FnMut(&Event) + 'a) -> Self {
        self.options.observe = Box::new(observe);
        self
    }

    /// Trains a task of `data` on `backbone`.
    ///
    /// Validation images come from `val/`, or are a share of `train/`, [`TrainConfig::val_share`].
    ///
    /// # Errors
    ///
    /// Settings, images or checkpoints that cannot be used, a loss that stops being a number, and
    /// [`Error::Interrupted`](crate::Error::Interrupted) when it was asked to stop.
    pub fn train(mut self, backbone: &Backbone, data: &ImageFolder) -> Result<Trained> {
        self.config.validate()?;
        let config = self.config.clone();
        let preprocessing = config.preprocessing().apply(backbone.preprocessing())?;
        let method = Masks {
            backbone,
            about: TaskDescription {
                backbone: backbone.id(),
                classes: data.classes().to_vec(),
                preprocessing,
            },
            config: config.clone(),
        };
        let start = || TaskNetwork::new(backbone, data.classes().len(), &config);
        let options = &mut self.options;
        let data = [DataSet {
            name: "task".into(),
            images: data.clone(),
        }];
        let learned = learn(&method, &config, options, &data, backbone.device(), start)?;
        let Learned {
            product: task,
            epochs,
            best_epoch,
            tests,
            skipped,
        } = learned;
        Ok(Trained {
            task,
            epochs,
            best_epoch,
            test: tests.into_iter().flatten().next(),
            skipped,
        })
    }
}
