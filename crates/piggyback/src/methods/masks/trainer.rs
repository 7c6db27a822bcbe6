//! Learning masks: the method Piggyback.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use piggyback_task::TaskFile;

use super::config::TrainConfig;
use super::method::Masks;
use super::network::TaskNetwork;
use crate::checkpoint::Backbone;
use crate::data::{DataSet, ImageFolder};
use crate::engine::Evaluation;
use crate::error::Result;
use crate::files::{EpochMetrics, TaskDescription};
use crate::learn::{Event, Learned, RunOptions, learn};

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
/// use piggyback::data::ImageFolder;
/// use piggyback::methods::TrainConfig;
/// use piggyback::{Backbone, Device, Trainer};
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

    /// Leaves a checkpoint in the run folder this often within an epoch, [`CHECKPOINT_EVERY`](crate::learn::CHECKPOINT_EVERY) if not
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
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) when it was asked to stop.
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
