//! The plan of a comparison: a TOML file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Table;

use super::paper::PaperData;
use super::scope::Scope;
use super::settings;
use crate::error::{Error, Result};
use piggyback::checkpoint::WeightsChoice;
use piggyback::data::Layout;
use piggyback::files::MethodName;
use piggyback::methods::Layer;
use piggyback::{Architecture, text};

/// A comparison: every method on every backbone and data set, once for each seed.
///
/// Paths are relative to the folder that the program runs in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// Title of the report.
    pub title: String,
    /// Purpose of the comparison: a paragraph at the top of the report.
    #[serde(default)]
    pub about: Option<String>,
    /// The folder that results and report are written to.
    pub output: PathBuf,
    /// Random seeds; everything is run once per seed.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// Orders of the tasks, for methods whose result depends on the order.
    #[serde(default = "forward")]
    pub orders: Vec<Order>,
    /// Settings of all methods: image preprocessing, epochs, batch size.
    #[serde(default)]
    pub settings: Table,
    /// The backbones.
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

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        })
    }
}

/// A network of a plan: a checkpoint, or one that is pretrained first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackbonePlan {
    /// Its name in the report.
    pub name: String,
    /// The checkpoint, or `hf:OWNER/NAME` for one of the Hugging Face hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The architecture of the checkpoint; detected by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Architecture>,
    /// Which weights to load if the checkpoint holds several sets: `ema`, `raw`, or a set's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// How to train the network from scratch first.
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
    /// Folder layout.
    #[serde(default)]
    pub layout: Layout,
    /// Settings of `piggyback pretrain`; with `epochs = 0` the network stays random.
    #[serde(default)]
    pub settings: Table,
}

/// A data set of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataPlan {
    /// Its name in the report.
    pub name: String,
    /// The image folder, with `train/` and `test/`.
    pub path: PathBuf,
    /// Folder layout.
    #[serde(default)]
    pub layout: Layout,
    /// Settings of all methods on this data set.
    #[serde(default)]
    pub settings: Table,
    /// The paper's data set that it corresponds to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<PaperData>,
}

/// A method of a plan, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MethodPlan {
    /// Its name in the report.
    pub label: String,
    /// The method.
    pub method: MethodName,
    /// Settings of this method; they override those of data sets and plan.
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

    /// The orders in which the method learns the tasks; only `None` if the order does not matter.
    pub fn orders(&self, plan: &Plan) -> Vec<Option<Order>> {
        if Scope::of(self.method) != Scope::Sequence {
            return vec![None];
        }
        let orders = self.orders.as_ref().unwrap_or(&plan.orders);
        orders.iter().copied().map(Some).collect()
    }
}

impl Plan {
    /// Reads a plan and checks everything but its networks and images.
    ///
    /// # Errors
    ///
    /// [`Error::Plan`] with file, key, mistake and remedy; or a file that cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let text = text::read(path)?;
        Self::parse(path, &text)
    }

    /// Parses the text of a plan; errors name the file `path`.
    ///
    /// # Errors
    ///
    /// The same as [`Plan::open`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Plan {
            path: path.to_owned(),
            reason,
        };
        let plan: Self = toml::from_str(text)
            .map_err(|error| refuse(piggyback::text::toml_reason_in(text, &error)))?;
        plan.check().map_err(refuse)?;
        Ok(plan)
    }

    /// The settings of a method on a data set. Later layers override earlier ones: preset, plan,
    /// data set, method. A method that learns all data sets at once ignores the settings of data
    /// sets.
    pub(super) fn settings_of(
        &self,
        method: &MethodPlan,
        data: &DataPlan,
        seed: u64,
    ) -> Result<Map<String, Value>, String> {
        let of_data = format!("data '{}': settings", data.name);
        let of_method = format!("method '{}': settings", method.label);
        let mut layers = vec![Layer::new("[settings]", &self.settings)];
        if Scope::of(method.method) != Scope::Joint {
            layers.push(Layer::new(&of_data, &data.settings));
        }
        let own = Layer::new(&of_method, &method.settings);
        settings::check_own(method.method, &own)?;
        layers.push(own);
        settings::resolve(method.method, &layers, seed)
    }

    fn check(&self) -> Result<(), String> {
        let lists = [
            ("seeds", self.seeds.is_empty(), "seeds = [0]"),
            (
                "orders",
                self.orders.is_empty(),
                "orders = [\"forward\", \"reverse\"], or remove the key",
            ),
            (
                "backbones",
                self.backbones.is_empty(),
                "a section [[backbone]] with name and path",
            ),
            (
                "data sets",
                self.data.is_empty(),
                "a section [[data]] with name and path",
            ),
            (
                "methods",
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
        settings::check_shared(&Layer::new("[settings]", &self.settings))?;
        for data in &self.data {
            let place = format!("data '{}': settings", data.name);
            settings::check_shared(&Layer::new(&place, &data.settings))?;
        }
        for method in &self.methods {
            let depends = Scope::of(method.method) == Scope::Sequence;
            if method.orders.is_some() && !depends {
                return Err(format!(
                    "method '{}': orders: {} does not depend on the order of tasks; remove the key",
                    method.label, method.method
                ));
            }
            if Scope::of(method.method) == Scope::Joint && self.data.len() < 2 {
                return Err(format!(
                    "method '{}': joint learns several data sets at once, but there is only one; remove it, \
                     or add more [[data]]",
                    method.label
                ));
            }
            for data in &self.data {
                self.settings_of(method, data, 0)?;
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
                refuse("arch: for a pretrained network, set it in pretrain = { arch = ... }")
            }
            (None, Some(_)) if self.weights.is_some() => {
                refuse("weights: a pretrained network has only one set; remove the key")
            }
            (None, Some(pretrain)) => match settings::resolve_pretraining(&pretrain.settings) {
                Ok(_) => Ok(()),
                Err(reason) => refuse(&format!("pretrain: {reason}")),
            },
            (Some(_), None) => match self.weights_choice() {
                Ok(_) => Ok(()),
                Err(reason) => refuse(&format!("weights: {reason}")),
            },
        }
    }

    /// Which weights of the checkpoint to load.
    pub(super) fn weights_choice(&self) -> Result<WeightsChoice, String> {
        (self.weights.as_deref()).map_or(Ok(WeightsChoice::Usual), str::parse)
    }
}

impl MethodPlan {
    /// Fails if the method does not work on an architecture.
    pub(super) fn check_fit(&self, architecture: Architecture) -> Result<(), String> {
        if architecture.has_norms() {
            return Ok(());
        }
        let asked = self.settings.get("norm").and_then(toml::Value::as_str) == Some("task");
        let reason = match self.method {
            MethodName::NormOnly => "has nothing to train there",
            _ if asked => "cannot have norm = \"task\"",
            _ => return Ok(()),
        };
        Err(format!(
            "method '{}' ({}) {reason}: {architecture} has no batch norms; remove it, or use a \
             backbone that has them",
            self.label, self.method
        ))
    }

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
                "{section}: the {key} '{text}' is used twice; give each its own"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
        title = "t"
        output = "out"
        seeds = [0, 1]
        settings = { epochs = 3 }
        [[backbone]]
        name = "ImageNet"
        path = "mobilenet_v2.pth"
        [[data]]
        name = "flags"
        path = "data/flags"
        settings = { image-size = 96, epochs = 4 }
        [[method]]
        label = "Piggyback"
        method = "piggyback"
        settings = { preset = "paper", lr-head = 0.5 }
    "#;

    fn message(text: &str) -> String {
        let error = Plan::parse(Path::new("a.toml"), text)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("a.toml: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn settings_are_the_presets_then_the_plans_the_data_sets_and_the_methods() {
        let plan = Plan::parse(Path::new("a.toml"), PLAN).unwrap();
        let settings = plan
            .settings_of(&plan.methods[0], &plan.data[0], 7)
            .unwrap();
        assert_eq!(settings["epochs"], 4);
        assert_eq!(settings["image-size"], 96);
        assert_eq!(settings["lr-head"], 0.5);
        assert_eq!(settings["norm"], "frozen");
        assert_eq!(settings["seed"], 7);
        assert_eq!(plan.methods[0].seeds(&plan), [0, 1]);
        assert_eq!(plan.methods[0].orders(&plan), [None]);
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let cases = [
            ("seeds = [0, 1]", "seeds = []", "seeds = [0]"),
            (
                "seeds = [0, 1]",
                "seeds = [0, 0]",
                "the seed '0' is used twice",
            ),
            (
                "seeds = [0, 1]",
                "seed = [0]",
                "line 4: unknown field 'seed', expected one of",
            ),
            ("seeds = [0, 1]", "seeds = = 1", "line 4: "),
            (
                "epochs = 3 }",
                "lr-mask = 1 }",
                "[settings]: unknown key 'lr-mask'",
            ),
            (
                "epochs = 4",
                "epochs = 'x'",
                "data 'flags': settings: epochs = \"x\"",
            ),
            (
                "epochs = 4",
                "epochs = 0",
                "data 'flags': settings: epochs: 0 is less than 1",
            ),
            (
                "lr-head = 0.5",
                "lr-neck = 0.5",
                "settings: unknown key 'lr-neck'; method piggyback has ",
            ),
            ("lr-head = 0.5", "seed = 5", "give the seeds of a method"),
            (
                "\"piggyback\"",
                "\"piggy\"",
                "unknown variant 'piggy', expected one of",
            ),
            (
                "\"piggyback\"",
                "\"individual\"",
                "unknown key 'lr-head'; method individual has",
            ),
            (
                "\"piggyback\"",
                "\"joint\"",
                "joint learns several data sets at once",
            ),
            (
                "method = \"piggyback\"",
                "method = \"piggyback\"\norders = [\"reverse\"]",
                "does not depend on the order",
            ),
            ("label = \"Piggyback\"", "label = \" \"", "a label is empty"),
            ("path = \"mobilenet_v2.pth\"", "", "path is missing"),
        ];
        for (from, to, expected) in cases {
            assert!(PLAN.contains(from), "{from}");
            let error = message(&PLAN.replace(from, to));
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        }
    }

    #[test]
    fn two_of_one_name_are_refused() {
        for section in ["[[backbone]]", "[[data]]", "[[method]]"] {
            let start = PLAN.find(section).unwrap();
            let rest = &PLAN[start..];
            let end = rest[2..].find("[[").map_or(rest.len(), |end| end + 2);
            let error = message(&format!("{PLAN}\n{}", &rest[..end]));
            assert!(
                error.contains("is used twice; give each its own"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for section in ["backbone", "data", "method"] {
            let other = PLAN.replace(&format!("[[{section}]]"), "[[other]]");
            let error = message(&other);
            assert!(error.contains("unknown field 'other'"), "{error}");
            assert!(error.ends_with("; correct or remove the key"), "{error}");
        }
        assert!(message("title = 't'").contains("missing field 'output'; add it"));
        let error = message("title = 't'\noutput = 'o'\nseeds = [1]");
        assert!(
            error.contains("there are no backbones: give a section [[backbone]]"),
            "{error}"
        );
    }

    /// Every plan of the workspace says what the program understands.
    #[test]
    fn the_plans_of_the_paper_are_plans() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans");
        let mut outputs = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let plan = Plan::open(&path).unwrap_or_else(|error| panic!("{error}"));
            assert!(outputs.insert(plan.output), "{}", path.display());
        }
        assert!(outputs.len() >= 10);
    }
}
