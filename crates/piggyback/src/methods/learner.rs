//! The methods by name: Piggyback, and what it is compared with.
//!
//! | method | what learns | what is kept |
//! | --- | --- | --- |
//! | [`piggyback`](MethodName::Piggyback) | masks, batch norms, head | a task file |
//! | [`classifier-only`](MethodName::ClassifierOnly) | head | a task file without masks |
//! | [`norm-only`](MethodName::NormOnly) | batch norms, head | a task file without masks |
//! | [`bitdelta`](MethodName::Bitdelta) | every weight | a task file with a bit of each weight's change |
//! | [`individual`](MethodName::Individual) | every weight | a whole network |
//! | [`joint`](MethodName::Joint) | every weight, from several data sets | a network with a head for each |
//! | [`packnet`](MethodName::Packnet) | the weights that no task before owns | a file that tasks are added to |
//!
//! [`Learner`] runs any of them and gives an [`Artefact`], which answers for the tasks in it.
//!
//! ```no_run
//! use piggyback::data::DataSet;
//! use piggyback::files::MethodName;
//! use piggyback::methods::{Learner, MethodSettings, Recipe};
//! use piggyback::{Backbone, Device};
//!
//! let backbone = Backbone::load("mobilenet_v2.pth", &Device::flex())?;
//! let settings = MethodSettings::new(MethodName::Individual, Recipe::Paper)?;
//! let outcome = Learner::new(settings).learn(&backbone, &[DataSet::open("data/flags")?])?;
//! outcome.artefact.save(std::path::Path::new("flags.safetensors"))?;
//! let engine = (outcome.artefact).engine("flags", Some(&backbone), backbone.device())?;
//! # Ok::<(), piggyback::Error>(())
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::bitdelta::BitDelta;
use super::fine_tune::FineTune;
use super::individual::Individual;
use super::joint::Joint;
use super::packnet::PackNet;
use super::settings::MethodSettings;
use crate::checkpoint::Backbone;
use crate::data::DataSet;
use crate::engine::Evaluation;
use crate::error::{Error, Result};
use crate::files::EpochMetrics;
use crate::files::MethodName;
use crate::files::{Artefact, SharedNetwork, WholeNetwork};
use crate::learn::{Event, Learned, RunOptions, learn};
use crate::methods::masks::TrainConfig;
use crate::methods::masks::Trainer;

/// What a run of a method gives.
#[derive(Debug)]
pub struct Outcome {
    /// What was learned, of the epoch that was best on validation data.
    pub artefact: Artefact,
    /// Every epoch.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch that was kept, counted from 1.
    pub best_epoch: usize,
    /// For each data set, in their order, the error on its `test/`, where there is one: looked at
    /// once, after everything was chosen. What goes wrong there does not take the artefact with it.
    pub tests: Vec<Option<Result<Evaluation>>>,
    /// Images of any split left out because they could not be read, with the reason.
    pub skipped: Vec<String>,
}

impl Outcome {
    fn of<P>(learned: Learned<P>, artefact: impl FnOnce(P) -> Result<Artefact>) -> Result<Self> {
        Ok(Self {
            artefact: artefact(learned.product)?,
            epochs: learned.epochs,
            best_epoch: learned.best_epoch,
            tests: learned.tests,
            skipped: learned.skipped,
        })
    }
}

/// Runs a method.
pub struct Learner<'a> {
    settings: MethodSettings,
    file: Option<SharedNetwork>,
    options: RunOptions<'a>,
}

impl<'a> Learner<'a> {
    /// One that keeps nothing on disk and tells nobody how it goes.
    pub fn new(settings: MethodSettings) -> Self {
        Self {
            settings,
            file: None,
            options: RunOptions::default(),
        }
    }

    /// Adds the task to what a PackNet file holds instead of beginning a new one.
    #[must_use]
    pub fn add_to(mut self, file: SharedNetwork) -> Self {
        self.file = Some(file);
        self
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

    /// Learns from `data` on `backbone`, which stays as it is: from one data set, or for
    /// [`MethodName::Joint`] from several.
    ///
    /// Validation images come from `val/`, or are a share of `train/`. Of several data sets, errors
    /// count alike.
    ///
    /// # Errors
    ///
    /// Settings, a number of data sets, a backbone, images or checkpoints that the method cannot use,
    /// a loss that stops being a number, and [`Error::Interrupted`] when it was asked to stop.
    pub fn learn(self, backbone: &Backbone, data: &[DataSet]) -> Result<Outcome> {
        self.settings.validate()?;
        check_names(data)?;
        let Self {
            settings,
            file,
            mut options,
        } = self;
        let method = settings.method();
        if file.is_some() && method != MethodName::Packnet {
            let reason = format!("method {method} does not add to files; packnet does");
            return Err(Error::setting("method", reason));
        }
        match settings {
            MethodSettings::Piggyback(config)
            | MethodSettings::ClassifierOnly(config)
            | MethodSettings::NormOnly(config) => learn_masks(config, options, backbone, data),
            MethodSettings::Bitdelta(config) => {
                let classes = only(method, data)?.images.classes().to_vec();
                let run = BitDelta::new(backbone, classes, config)?;
                let (device, start) = (backbone.device(), || Ok(run.start()));
                let learned = learn(&run, &run.config, &mut options, data, device, start)?;
                Outcome::of(learned, |task| Ok(Artefact::Task(task)))
            }
            MethodSettings::Individual(config) => {
                let classes = only(method, data)?.images.classes().to_vec();
                let count = classes.len();
                let run = FineTune::new(backbone, config, Individual { classes })?;
                let learned = run.learn(count, &mut options, data)?;
                Outcome::of(learned, |state| {
                    Ok(Artefact::Network(WholeNetwork::new(state)?))
                })
            }
            MethodSettings::Joint(config) => {
                let keep = Joint::new(data)?;
                let count = keep.classes();
                let run = FineTune::new(backbone, config, keep)?;
                let learned = run.learn(count, &mut options, data)?;
                Outcome::of(learned, |shared| Ok(Artefact::Shared(shared)))
            }
            MethodSettings::Packnet(config) => {
                let run = PackNet::new(backbone, file, only(method, data)?, config)?;
                let (device, start) = (backbone.device(), || run.start());
                let learned = learn(&run, &run.config, &mut options, data, device, start)?;
                Outcome::of(learned, |shared| Ok(Artefact::Shared(shared)))
            }
        }
    }
}

/// Fails on data sets that could not be told apart.
fn check_names(data: &[DataSet]) -> Result<()> {
    let mut names = std::collections::BTreeSet::new();
    match data.iter().find(|set| !names.insert(&set.name)) {
        None => Ok(()),
        Some(set) => Err(Error::setting(
            "data",
            format!(
                "two data sets are called '{}'; give one of them another name",
                set.name
            ),
        )),
    }
}

fn learn_masks(
    config: TrainConfig,
    options: RunOptions<'_>,
    backbone: &Backbone,
    data: &[DataSet],
) -> Result<Outcome> {
    let method = config.method();
    let set = only(method, data)?;
    if method == MethodName::NormOnly && !backbone.architecture().has_norms() {
        let reason = format!(
            "norm-only trains batch norms, and {} has none; take a network with them, or \
             classifier-only",
            backbone.architecture()
        );
        return Err(Error::setting("method", reason));
    }
    let trained = Trainer::with_options(config, options).train(backbone, &set.images)?;
    Ok(Outcome {
        artefact: Artefact::Task(trained.task),
        epochs: trained.epochs,
        best_epoch: trained.best_epoch,
        tests: vec![trained.test],
        skipped: trained.skipped,
    })
}

/// The one data set of a method that learns from one.
fn only(method: MethodName, data: &[DataSet]) -> Result<&DataSet> {
    match data {
        [set] => Ok(set),
        _ => Err(Error::setting(
            "data",
            format!(
                "method {method} learns from one data set, and {} are given",
                data.len()
            ),
        )),
    }
}
