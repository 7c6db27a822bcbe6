//! Training with a method chosen by name.

use super::delta::Deltas;
use super::fine_tune::FineTune;
use super::individual::Individual;
use super::joint::Joint;
use super::low_rank::LowRank;
use super::masks::TrainConfig;
use super::packnet::PackNet;
use super::settings::MethodSettings;
use crate::checkpoint::Backbone;
use crate::data::DataSet;
use crate::error::{Error, Result};
use crate::files::{LearnedFile, MethodName, NetworkFile, SharedNetwork};
use crate::learn::{Learn, Learned, Run, learn};

/// Trains on one data set, or for [`MethodName::Joint`] on several, whose errors have equal weight.
/// The backbone is not changed.
///
/// Those of every run, and a backbone or number of data sets that the method cannot use.
impl Learn for MethodSettings {
    type Start<'s> = &'s Backbone;
    type Data = [DataSet];
    type Product = LearnedFile;

    fn learn(
        &self,
        run: Run<'_>,
        backbone: &Backbone,
        data: &[DataSet],
    ) -> Result<Learned<LearnedFile>> {
        by_name(self, None, run, backbone, data)
    }
}

/// Adds a task to a PackNet file: [`MethodSettings::adding_to`].
#[derive(Clone, Debug)]
pub struct AddTo<'m> {
    settings: &'m MethodSettings,
    file: SharedNetwork,
}

impl MethodSettings {
    /// Adds the task to an existing PackNet file instead of starting a new one.
    pub fn adding_to(&self, file: SharedNetwork) -> AddTo<'_> {
        AddTo {
            settings: self,
            file,
        }
    }
}

impl Learn for AddTo<'_> {
    type Start<'s> = &'s Backbone;
    type Data = [DataSet];
    type Product = LearnedFile;

    fn learn(
        &self,
        run: Run<'_>,
        backbone: &Backbone,
        data: &[DataSet],
    ) -> Result<Learned<LearnedFile>> {
        by_name(self.settings, Some(&self.file), run, backbone, data)
    }
}

fn by_name(
    settings: &MethodSettings,
    file: Option<&SharedNetwork>,
    mut run: Run<'_>,
    backbone: &Backbone,
    data: &[DataSet],
) -> Result<Learned<LearnedFile>> {
    settings.validate()?;
    check_names(data)?;
    let method = settings.method();
    if file.is_some() && method != MethodName::Packnet {
        let reason = format!("method {method} cannot add a task to a file; only packnet can");
        return Err(Error::setting("method", reason));
    }
    match settings {
        MethodSettings::Piggyback(config)
        | MethodSettings::ClassifierOnly(config)
        | MethodSettings::NormOnly(config) => {
            let set = only(method, data)?;
            check_norms(config, backbone)?;
            let learned = run.learn(config, backbone, &set.images)?;
            learned.try_map(|task| Ok(LearnedFile::Task(task)))
        }
        MethodSettings::Bitdelta(config) | MethodSettings::SignDelta(config) => {
            let classes = only(method, data)?.images.classes().to_vec();
            let method = Deltas::new(method, backbone, classes, config.clone())?;
            let (device, start) = (backbone.device(), || Ok(method.start()));
            let learned = learn(&method, &method.config, &mut run, data, device, start)?;
            learned.try_map(|task| Ok(LearnedFile::Task(task)))
        }
        MethodSettings::LowRank(config) => {
            let classes = only(method, data)?.images.classes().to_vec();
            let method = LowRank::new(backbone, classes, config.clone())?;
            let (device, start) = (backbone.device(), || Ok(method.start()));
            let learned = learn(&method, &method.config, &mut run, data, device, start)?;
            learned.try_map(|task| Ok(LearnedFile::Task(task)))
        }
        MethodSettings::Individual(config) => {
            let classes = only(method, data)?.images.classes().to_vec();
            let count = classes.len();
            let method = FineTune::new(backbone, config.clone(), Individual { classes })?;
            let learned = method.learn(count, &mut run, data)?;
            learned.try_map(|state| Ok(LearnedFile::Network(NetworkFile::new(state)?)))
        }
        MethodSettings::Joint(config) => {
            let keep = Joint::new(data)?;
            let count = keep.classes();
            let method = FineTune::new(backbone, config.clone(), keep)?;
            let learned = method.learn(count, &mut run, data)?;
            learned.try_map(|shared| Ok(LearnedFile::Shared(shared)))
        }
        MethodSettings::Packnet(config) => {
            let set = only(method, data)?;
            let method = PackNet::new(backbone, file.cloned(), set, config.clone())?;
            let (device, start) = (backbone.device(), || method.start());
            let learned = learn(&method, &method.config, &mut run, data, device, start)?;
            learned.try_map(|shared| Ok(LearnedFile::Shared(shared)))
        }
    }
}

/// Fails for norm-only training of a network without batch norms.
fn check_norms(config: &TrainConfig, backbone: &Backbone) -> Result<()> {
    let architecture = backbone.architecture();
    if config.method() != MethodName::NormOnly || architecture.has_norms() {
        return Ok(());
    }
    let reason = format!(
        "norm-only trains batch norms, but {architecture} has none; use a network with batch \
         norms, or classifier-only"
    );
    Err(Error::setting("method", reason))
}

/// Fails if two data sets have the same name.
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

/// The data set of a method that trains on exactly one.
fn only(method: MethodName, data: &[DataSet]) -> Result<&DataSet> {
    match data {
        [set] => Ok(set),
        _ => Err(Error::setting(
            "data",
            format!(
                "method {method} trains on one data set, but {} are given",
                data.len()
            ),
        )),
    }
}
