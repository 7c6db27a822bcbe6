//! What is to be compared, as a TOML file says it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::learn;
use super::method::MethodName;
use super::paper::PaperData;
use crate::backbone::Architecture;
use crate::error::{Error, Result};
use crate::name::named;

/// A comparison: every method on every backbone and data set, once for each seed.
///
/// Paths are relative to the folder that the program runs in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// What the report is called.
    pub title: String,
    /// What the comparison is for, a paragraph at the head of the report.
    #[serde(default)]
    pub about: Option<String>,
    /// The folder that results and report are written to.
    pub output: PathBuf,
    /// What every random choice comes from; everything is done once for each.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// The orders in which methods whose tasks depend on each other learn them.
    #[serde(default = "forward")]
    pub orders: Vec<Order>,
    /// Settings of all methods: how images are prepared, epochs, batches.
    #[serde(default)]
    pub settings: Table,
    /// The networks that tasks are learned on.
    #[serde(default, rename = "backbone")]
    pub backbones: Vec<BackbonePlan>,
    /// The data sets, in order.
    #[serde(default)]
    pub data: Vec<DataPlan>,
    /// The methods.
    #[serde(default, rename = "method")]
    pub methods: Vec<MethodPlan>,
}

fn forward() -> Vec<Order> {
    vec![Order::Forward]
}

/// The order in which tasks are learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// As the plan lists the data sets.
    Forward,
    /// The other way round.
    Reverse,
}

named!(Order);

/// A network of a plan: a checkpoint, or one that is pretrained first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackbonePlan {
    /// What the report calls it.
    pub name: String,
    /// The checkpoint, or `hf:OWNER/NAME` for one of the Hugging Face hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The architecture of the checkpoint, if it should not be recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Architecture>,
    /// How the network is trained from scratch before anything is learned on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrain: Option<PretrainPlan>,
}

/// A network that is trained from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PretrainPlan {
    /// The architecture.
    pub arch: Architecture,
    /// The image folder.
    pub data: PathBuf,
    /// Settings as `piggyback pretrain` has them; with `epochs = 0` the network stays random.
    #[serde(default)]
    pub settings: Table,
}

/// A data set of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataPlan {
    /// What the report calls it.
    pub name: String,
    /// The image folder, with `train/` and `test/`.
    pub path: PathBuf,
    /// Settings of all methods on this data set.
    #[serde(default)]
    pub settings: Table,
    /// The data set of the paper that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<PaperData>,
}

/// A method of a plan, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MethodPlan {
    /// What the report calls it.
    pub label: String,
    /// The method.
    pub method: MethodName,
    /// Settings of this method; they win over those of data sets and plan.
    #[serde(default)]
    pub settings: Table,
    /// Seeds, if not those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Vec<u64>>,
    /// Orders, if not those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<Vec<Order>>,
}

impl MethodPlan {
    /// The seeds that the method is run with.
    pub fn seeds<'a>(&'a self, plan: &'a Plan) -> &'a [u64] {
        self.seeds.as_deref().unwrap_or(&plan.seeds)
    }

    /// The orders in which the method learns the tasks; `None` alone where it does not matter.
    pub fn orders(&self, plan: &Plan) -> Vec<Option<Order>> {
        if !self.method.depends_on_order() {
            return vec![None];
        }
        let orders = self.orders.as_ref().unwrap_or(&plan.orders);
        orders.iter().copied().map(Some).collect()
    }
}

impl Plan {
    /// Reads a plan and checks what can be checked without its networks and images.
    ///
    /// # Errors
    ///
    /// [`Error::Plan`], [`Error::Read`]: what is wrong in which file, under which key, and what to do.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
        Self::parse(path, &text)
    }

    /// Understands the text of a plan, whose mistakes are told with the name of its file.
    ///
    /// # Errors
    ///
    /// As [`Plan::open`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Plan {
            path: path.to_owned(),
            reason,
        };
        let plan: Self = toml::from_str(text).map_err(|error| refuse(in_a_line(&error, text)))?;
        plan.check().map_err(refuse)?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        let lists = [
            ("seeds", self.seeds.is_empty(), "seeds = [0]"),
            (
                "orders",
                self.orders.is_empty(),
                "orders = [\"forward\", \"reverse\"], or leave the key out",
            ),
            (
                "backbone",
                self.backbones.is_empty(),
                "a section [[backbone]] with name and path",
            ),
            (
                "data",
                self.data.is_empty(),
                "a section [[data]] with name and path",
            ),
            (
                "method",
                self.methods.is_empty(),
                "a section [[method]] with label and method",
            ),
        ];
        for (key, is_empty, example) in lists {
            if is_empty {
                return Err(format!("there are no {key}: give {example}"));
            }
        }
        distinct("backbone", "name", self.backbones.iter().map(|b| &b.name))?;
        distinct("data", "name", self.data.iter().map(|data| &data.name))?;
        distinct("method", "label", self.methods.iter().map(|m| &m.label))?;
        distinct("seeds", "seed", &self.seeds)?;
        distinct("orders", "order", &self.orders)?;
        self.backbones.iter().try_for_each(BackbonePlan::check)?;
        self.methods.iter().try_for_each(MethodPlan::check)?;
        for method in &self.methods {
            let depends = method.method.depends_on_order();
            if method.orders.is_some() && !depends {
                return Err(format!(
                    "method '{}': orders: {} does not depend on the order of tasks; leave the key out",
                    method.label, method.method
                ));
            }
            for data in &self.data {
                learn::resolve(self, method, data, 0)?;
            }
        }
        Ok(())
    }
}

impl BackbonePlan {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let refuse = |reason: &str| Err(format!("backbone '{name}': {reason}"));
        match (&self.path, &self.pretrain) {
            (None, None) => refuse("path is missing: give the checkpoint, or pretrain = {...}"),
            (Some(_), Some(_)) => refuse("give path or pretrain, not both"),
            (None, Some(_)) if self.arch.is_some() => {
                refuse("arch: a network that is pretrained has it in pretrain = { arch = ... }")
            }
            (None, Some(pretrain)) => match learn::resolve_pretraining(&pretrain.settings) {
                Ok(_) => Ok(()),
                Err(reason) => refuse(&format!("pretrain: {reason}")),
            },
            (Some(_), None) => Ok(()),
        }
    }
}

impl MethodPlan {
    fn check(&self) -> Result<(), String> {
        let label = &self.label;
        let named = |error: String| format!("method '{label}': {error}");
        if let Some(seeds) = &self.seeds {
            if seeds.is_empty() {
                return Err(named("there are no seeds: give seeds = [0]".into()));
            }
            distinct("seeds", "seed", seeds).map_err(named)?;
        }
        if let Some(orders) = &self.orders {
            if orders.is_empty() {
                return Err(named(
                    "there are no orders: give orders = [\"forward\"]".into(),
                ));
            }
            distinct("orders", "order", orders).map_err(named)?;
        }
        Ok(())
    }
}

/// Fails if two of `values` are the same, or one is empty text.
fn distinct<T: Ord + ToString>(
    section: &str,
    key: &str,
    values: impl IntoIterator<Item = T>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for value in values {
        let text = value.to_string();
        if text.trim().is_empty() {
            return Err(format!("{section}: a {key} is empty; give it a name"));
        }
        if !seen.insert(value) {
            return Err(format!(
                "{section}: the {key} '{text}' is there twice; give each its own"
            ));
        }
    }
    Ok(())
}

/// `settings` over those that `S` serialises to, one key at a time, so that a wrong one is told with
/// its key.
pub(super) fn over<S: Serialize + DeserializeOwned>(
    base: &S,
    settings: &Table,
) -> Result<S, String> {
    let mut table = Table::try_from(base).map_err(|error| error.to_string())?;
    for (key, value) in settings {
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        (alone.try_into::<S>().map(drop)).map_err(|error: toml::de::Error| {
            let reason = error.message().replace('`', "'");
            format!("settings: {key} = {value}: {reason}")
        })?;
        table.insert(key.clone(), value.clone());
    }
    (table.try_into()).map_err(|error: toml::de::Error| format!("settings: {}", error.message()))
}

/// What is wrong with a file, and in which line.
fn in_a_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.unwrap_or_default().matches('\n').count() + 1;
    let reason = error.message().replace('\n', ", ").replace('`', "'");
    match error.span() {
        Some(_) => format!("line {line}: {reason}"),
        None => reason,
    }
}
