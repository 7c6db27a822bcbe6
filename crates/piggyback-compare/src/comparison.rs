//! A checked plan: all units that are to be computed, with their identities.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use piggyback::Device;
use serde_json::{Map, Value, json};

use super::manifest::{DataSummary, RELATIVE};
use super::plan::{BackbonePlan, DataPlan, MethodPlan, Order, Plan};
use super::scope::Scope;
use super::settings;
use super::training::PRETRAINED_FILE;
use super::unit::{self, Job, JobBackbone, JobData, Unit, UnitKind};
use crate::error::{Error, Result, chain};
use piggyback::checkpoint::{LoadOptions, StateDict};
use piggyback::files::MethodName;
use piggyback::{Architecture, Backbone};

/// A plan whose networks and images were found and checked.
#[derive(Clone, Debug)]
pub struct Comparison {
    plan: Plan,
    path: PathBuf,
    output: PathBuf,
    backbones: Vec<Planned>,
    data: Vec<DataSummary>,
    units: Vec<Unit>,
}

/// A backbone as units refer to it.
#[derive(Clone, Debug)]
struct Planned {
    job: JobBackbone,
    /// What identities are made of: a fingerprint, or the identity of the unit that makes it.
    origin: String,
    /// The unit that makes it.
    need: Option<String>,
}

/// Forward and backward pass, in forward passes.
const PASSES: f64 = 3.0;

impl Comparison {
    /// Checks the networks and images of `plan`, read from `path`. Results go to `output`, by
    /// default the plan's.
    ///
    /// # Errors
    ///
    /// Networks and images that cannot be used, and methods that do not fit a network; errors use
    /// the names of the plan.
    pub fn new(path: &Path, plan: Plan, output: Option<&Path>) -> Result<Self> {
        let refuse = |reason: String| Error::Plan {
            path: path.to_owned(),
            reason,
        };
        let output = output.unwrap_or(&plan.output).to_owned();
        let mut data = Vec::new();
        for set in &plan.data {
            let summary = DataSummary::of(&set.path, set.layout)
                .map_err(|error| refuse(format!("data '{}': {}", set.name, chain(&error))))?;
            data.push(summary);
        }
        let mut comparison = Self {
            path: path.to_owned(),
            output,
            backbones: Vec::new(),
            data,
            units: Vec::new(),
            plan,
        };
        for backbone in comparison.plan.backbones.clone() {
            let planned = (comparison.planned(&backbone)).map_err(|error| {
                refuse(format!("backbone '{}': {}", backbone.name, chain(&error)))
            })?;
            comparison.backbones.push(planned);
        }
        comparison.expand().map_err(refuse)?;
        Ok(comparison)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The file that the plan was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of results and report.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// All units, each after those it needs. Equivalent entries of the plan have units of the same
    /// identity.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The images of each data set of the plan.
    pub fn data(&self) -> &[DataSummary] {
        &self.data
    }

    /// The architecture of a backbone of the plan.
    pub fn architecture(&self, backbone: &str) -> Option<Architecture> {
        let found = (self.backbones.iter()).find(|planned| planned.job.name == backbone)?;
        Some(found.job.architecture)
    }

    fn units_folder(&self) -> PathBuf {
        self.output.join("units")
    }

    /// Detects a backbone, or adds the unit that pretrains it.
    fn planned(&mut self, plan: &BackbonePlan) -> Result<Planned> {
        if let Some(pretrain) = &plan.pretrain {
            let settings = settings::resolve_pretraining(&pretrain.settings)
                .map_err(|error| Error::setting("pretrain", error))?;
            let data = (self.plan.data.iter().zip(&self.data))
                .find(|(data, _)| data.path == pretrain.data && data.layout == pretrain.layout)
                .map(|(_, summary)| summary.clone());
            let data = data.map_or_else(|| DataSummary::of(&pretrain.data, pretrain.layout), Ok)?;
            let identity = unit::identity(
                UnitKind::Pretrain,
                json!({
                    "arch": pretrain.arch,
                    "settings": settings,
                    "data": data.manifest,
                }),
            )?;
            let preprocessing = settings.images.apply(&pretrain.arch.preprocessing());
            let side = preprocessing.map_err(piggyback::Error::from)?;
            let images = settings.run.epochs * data.train_images;
            let backbone = JobBackbone {
                name: plan.name.clone(),
                path: unit::folder(&self.units_folder(), &identity).join(PRETRAINED_FILE),
                architecture: pretrain.arch,
                weights: None,
            };
            self.units.push(Unit {
                work: work(pretrain.arch, side.image_size, images),
                needs: Vec::new(),
                job: Job {
                    identity: identity.clone(),
                    kind: UnitKind::Pretrain,
                    backbone: backbone.clone(),
                    label: String::new(),
                    method: None,
                    data: vec![JobData {
                        name: pretrain.data.display().to_string(),
                        path: pretrain.data.clone(),
                        layout: pretrain.layout,
                        settings: Map::new(),
                    }],
                    seed: settings.run.seed,
                    order: None,
                    earlier: Vec::new(),
                    pretrain: Some(settings),
                    units: self.units_folder(),
                },
            });
            return Ok(Planned {
                job: backbone,
                origin: format!("pretrained {identity}"),
                need: Some(identity),
            });
        }
        let path = PathBuf::from(plan.path.clone().unwrap_or_default());
        if !path.exists() {
            let reason = format!(
                "there is no file {}; give a checkpoint, or hf:OWNER/NAME. {RELATIVE}",
                path.display()
            );
            return Err(Error::setting("path", reason));
        }
        let options = LoadOptions {
            architecture: plan.arch,
            precision: None,
        };
        // Networks are only looked at here, wherever they will be used.
        let choice = plan.weights_choice();
        let choice = choice.map_err(|reason| Error::setting("weights", reason))?;
        let state = StateDict::open_weights(&path, &choice)?;
        let loaded = Backbone::from_state_dict(state, options, &Device::flex())?;
        Ok(Planned {
            origin: loaded.fingerprint().to_string(),
            need: None,
            job: JobBackbone {
                name: plan.name.clone(),
                path,
                architecture: loaded.architecture(),
                weights: plan.weights.clone(),
            },
        })
    }

    fn expand(&mut self) -> Result<(), String> {
        let plan = self.plan.clone();
        for backbone in self.backbones.clone() {
            for method in &plan.methods {
                for &seed in method.seeds(&plan) {
                    for order in method.orders(&plan) {
                        self.expand_method(&backbone, method, seed, order)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn expand_method(
        &mut self,
        backbone: &Planned,
        method: &MethodPlan,
        seed: u64,
        order: Option<Order>,
    ) -> Result<(), String> {
        let mut sets: Vec<(DataPlan, DataSummary)> = self
            .plan
            .data
            .iter()
            .cloned()
            .zip(self.data.clone())
            .collect();
        if order == Some(Order::Reverse) {
            sets.reverse();
        }
        let groups: Vec<&[(DataPlan, DataSummary)]> = match Scope::of(method.method) {
            Scope::Each => sets.chunks(1).collect(),
            Scope::Joint | Scope::Sequence => vec![&sets],
        };
        let mut learned = Vec::new();
        for group in groups {
            let unit = self.learning(backbone, method, group, seed, order)?;
            learned.push(unit.job.identity.clone());
            self.units.push(unit);
        }
        // That nothing is forgotten is measured.
        if method.method == MethodName::Piggyback && learned.len() > 1 {
            let unit = self.together(backbone, method, seed, learned)?;
            self.units.push(unit);
        }
        Ok(())
    }

    /// The unit that learns `sets`.
    fn learning(
        &self,
        backbone: &Planned,
        method: &MethodPlan,
        sets: &[(DataPlan, DataSummary)],
        seed: u64,
        order: Option<Order>,
    ) -> Result<Unit, String> {
        let architecture = backbone.job.architecture;
        method.check_fit(architecture)?;
        let (mut data, mut total, mut parts) = (Vec::new(), 0.0, Vec::new());
        for (set, summary) in sets {
            let settings = self.plan.settings_of(method, set, seed)?;
            let number = |key: &str| settings.get(key).and_then(Value::as_u64);
            let side = number("image-size");
            let side = side.map_or(architecture.preprocessing().image_size, |side| side as u32);
            let epochs =
                number("epochs").unwrap_or(1) + number("retrain-epochs").unwrap_or_default();
            total += work(architecture, side, epochs as usize * summary.train_images);
            parts.push(json!({ "images": summary.manifest, "settings": settings }));
            data.push(JobData {
                name: set.name.clone(),
                path: set.path.clone(),
                layout: set.layout,
                settings,
            });
        }
        let parts = json!({
            "method": method.method,
            "backbone": backbone.origin,
            "data": parts,
            "seed": seed,
        });
        let job = self.job(UnitKind::Learn, parts, backbone, method, seed)?;
        Ok(Unit {
            needs: backbone.need.clone().into_iter().collect(),
            work: total,
            job: Job { data, order, ..job },
        })
    }

    /// The unit that measures all learned tasks again in one engine.
    fn together(
        &self,
        backbone: &Planned,
        method: &MethodPlan,
        seed: u64,
        learned: Vec<String>,
    ) -> Result<Unit, String> {
        let parts = json!({ "learned": learned });
        let job = self.job(UnitKind::Together, parts, backbone, method, seed)?;
        let is_test = |(set, summary): (&DataPlan, &DataSummary)| {
            let data = JobData {
                name: set.name.clone(),
                path: set.path.clone(),
                layout: set.layout,
                settings: Map::new(),
            };
            let side = set
                .settings
                .get("image-size")
                .or(self.plan.settings.get("image-size"));
            let side = side.and_then(toml::Value::as_integer).unwrap_or(224) as u32;
            let images = work(backbone.job.architecture, side, summary.test_images) / PASSES;
            (data, images)
        };
        let tests = self.plan.data.iter().zip(&self.data).map(is_test);
        let (data, tests): (Vec<JobData>, Vec<f64>) = tests.unzip();
        Ok(Unit {
            needs: (backbone.need.iter().chain(&learned)).cloned().collect(),
            work: tests.iter().sum(),
            job: Job {
                data,
                earlier: learned,
                ..job
            },
        })
    }

    fn job(
        &self,
        kind: UnitKind,
        parts: Value,
        backbone: &Planned,
        method: &MethodPlan,
        seed: u64,
    ) -> Result<Job, String> {
        Ok(Job {
            identity: unit::identity(kind, parts).map_err(|error| error.to_string())?,
            kind,
            backbone: backbone.job.clone(),
            label: method.label.clone(),
            method: Some(method.method),
            data: Vec::new(),
            seed,
            order: None,
            earlier: Vec::new(),
            pretrain: None,
            units: self.units_folder(),
        })
    }

    /// The units of shard `index` (from 1) of `count`, each identity once, with the pretraining
    /// that they need; all of them without a shard.
    pub fn shard(&self, shard: Option<(u64, u64)>) -> Vec<&Unit> {
        let chosen =
            |unit: &&Unit| shard.is_none_or(|(index, count)| unit.is_in_shard(index, count));
        let needed: BTreeSet<&String> = self
            .units
            .iter()
            .filter(chosen)
            .flat_map(|unit| &unit.needs)
            .collect();
        let mut seen = BTreeSet::new();
        (self.units.iter())
            .filter(|unit| {
                let pretrains = unit.job.kind == UnitKind::Pretrain;
                chosen(unit) || (pretrains && needed.contains(&unit.job.identity))
            })
            .filter(|unit| seen.insert(&unit.job.identity))
            .collect()
    }
}

/// Multiply-adds of training on `images`.
fn work(architecture: Architecture, side: u32, images: usize) -> f64 {
    type Known = BTreeMap<(Architecture, u32), u64>;
    static KNOWN: std::sync::Mutex<Known> = std::sync::Mutex::new(BTreeMap::new());
    let mut known = KNOWN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let one = *(known.entry((architecture, side)))
        .or_insert_with(|| architecture.multiply_adds(side as usize));
    PASSES * one as f64 * images as f64
}
