//! Training a network from scratch, to be a backbone.
//!
//! The paper compares backbones trained on ImageNet, on Places and not at all (Mallya et al., ECCV
//! 2018, section 5.1). [`Pretrainer`] makes such networks of one's own: every weight learns, by
//! stochastic gradient descent. The result is a checkpoint like those that are downloaded, with its
//! classes, its preprocessing and how it was trained in the metadata.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::tensor::Device;
use piggyback_task::TrainingRecord;

use super::config::PretrainConfig;
use super::whole::Whole;
use crate::checkpoint::{About, StateDict};
use crate::data::{DataSet, ImageFolder};
use crate::engine::Evaluation;
use crate::error::Result;
use crate::files::EpochMetrics;
use crate::learn::{Event, Learned, Method, RunOptions, learn};
use crate::networks::Architecture;

/// What pretraining gives.
#[derive(Debug)]
pub struct Pretrained {
    /// The network of the epoch that was best on validation data, its head included;
    /// [`convert`](crate::checkpoint::convert) writes it.
    pub network: StateDict,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch that was kept, counted from 1; 0 for a network that was not trained.
    pub best_epoch: usize,
    /// The error on `test/`, where there is one: looked at once, after everything was chosen. What
    /// goes wrong there does not take the network with it.
    pub test: Option<Result<Evaluation>>,
    /// Images of any split left out because they could not be read, with the reason.
    pub skipped: Vec<String>,
}

/// Trains a network from scratch.
///
/// ```no_run
/// use piggyback::checkpoint::{LoadOptions, convert};
/// use piggyback::data::ImageFolder;
/// use piggyback::methods::{PretrainConfig, Pretrainer};
/// use piggyback::{Architecture, Device};
///
/// let config = PretrainConfig { image_size: 64.into(), ..PretrainConfig::default() };
/// let pretrained = Pretrainer::new(config).pretrain(
///     Architecture::ResNet18,
///     &ImageFolder::open("data/places")?,
///     &Device::flex(),
/// )?;
/// let out = "places.safetensors".as_ref();
/// convert(&pretrained.network, LoadOptions::default(), out)?;
/// # Ok::<(), piggyback::Error>(())
/// ```
pub struct Pretrainer<'a> {
    config: PretrainConfig,
    options: RunOptions<'a>,
}

impl<'a> Pretrainer<'a> {
    /// One that keeps nothing on disk and tells nobody how it goes.
    pub fn new(config: PretrainConfig) -> Self {
        Self {
            config,
            options: RunOptions::default(),
        }
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

    /// Draws a network of `architecture` from the seed and trains it to tell the classes of `data`
    /// apart, on `device`.
    ///
    /// Validation images come from `val/`, or are a share of `train/`,
    /// [`PretrainConfig::val_share`]. With no epochs, images are not looked at: the network is the
    /// random one.
    ///
    /// # Errors
    ///
    /// Settings, images or checkpoints that cannot be used, a loss that stops being a number, and
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) when it was asked to stop.
    pub fn pretrain(
        mut self,
        architecture: Architecture,
        data: &ImageFolder,
        device: &Device,
    ) -> Result<Pretrained> {
        self.config.validate()?;
        let config = self.config.clone();
        let preprocessing = (config.preprocessing()).apply(&architecture.preprocessing())?;
        let about = About {
            classes: Some(data.classes().to_vec()),
            preprocessing: Some(preprocessing.clone()),
            training: None,
        };
        let method = Whole {
            architecture,
            about,
            preprocessing,
            config,
            device: device.clone().without_autodiff(),
        };
        if self.config.epochs == 0 {
            let mut network = method.initial(data.classes().len())?;
            let mut record = TrainingRecord::default();
            record.insert(
                "settings",
                TrainingRecord::from_serialize(&method.settings())?
                    .as_map()
                    .clone(),
            );
            record.insert("program", concat!("piggyback ", env!("CARGO_PKG_VERSION")));
            method.describe(&mut record, 0);
            network.about.training = Some(record);
            return Ok(Pretrained {
                network,
                epochs: Vec::new(),
                best_epoch: 0,
                test: None,
                skipped: Vec::new(),
            });
        }
        let start = || method.start(data.classes().len());
        let options = &mut self.options;
        let data = [DataSet {
            name: "network".into(),
            images: data.clone(),
        }];
        let learned = learn(&method, &self.config, options, &data, &method.device, start)?;
        let Learned {
            product: network,
            epochs,
            best_epoch,
            tests,
            skipped,
        } = learned;
        Ok(Pretrained {
            network,
            epochs,
            best_epoch,
            test: tests.into_iter().flatten().next(),
            skipped,
        })
    }
}
