//! Learning a task: the loop, from images to a task file.
//!
//! [`Trainer::train`] freezes the backbone, attaches masks, trains with Adam and keeps the epoch that
//! is best on validation data. Everything random comes from [`TrainConfig::seed`]; a run that is
//! stopped and resumed gives the same task file, bit for bit, as one that was not.

mod checkpoint;
mod config;
#[cfg(test)]
mod golden;
mod mask_layers;
mod mask_rate;
mod network;
mod optimizer;
mod run;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use piggyback_task::TaskFile;
use serde::{Deserialize, Serialize};

pub use config::{NormMode, Recipe, Schedule, TrainConfig};
pub use mask_layers::MaskLayers;
pub use mask_rate::{Auto, MaskRate};

use crate::backbone::Backbone;
use crate::data::{Augment, ImageFolder, Loader, LoaderConfig};
use crate::error::Result;
use crate::evaluate::Evaluation;
use checkpoint::{Identity, Position, State};
use network::{TaskDescription, TaskNetwork};
use optimizer::Adam;
use run::RunFolder;
use session::Session;

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

    /// Continues from the run folder's checkpoint, if there is one; otherwise an old checkpoint is
    /// removed as soon as the settings and images have been checked.
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
    /// [`Error::Interrupted`](crate::Error::Interrupted) when it was asked to stop.
    pub fn train(mut self, backbone: &Backbone, data: &ImageFolder) -> Result<Trained> {
        self.config.validate()?;
        let config = self.config.clone();
        let (train, validation) = match data.val() {
            Some(validation) => (data.train().clone(), validation.clone()),
            None => data
                .train()
                .split_validation(config.val_share, config.seed)?,
        };
        let preprocessing = config.preprocessing().apply(backbone.preprocessing())?;
        let identity = Identity::new(&config, backbone, &preprocessing, &train, &validation);
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
            run.begin(&config, &state.position.history, self.resume)?;
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
