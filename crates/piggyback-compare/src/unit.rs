//! The units of a plan, each with an identity.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::plan::Order;
use crate::error::{Error, Result};
use piggyback::Architecture;
use piggyback::data::Layout;
use piggyback::files::MethodName;
use piggyback::methods::PretrainConfig;

/// Digits of an identity that name a unit's folder and stand in messages.
const SHORT: usize = 16;

/// Version of the lines of `results.jsonl`, and of what identities are made of.
pub const RESULTS_VERSION: u32 = 1;

/// What a unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// Trains a network from scratch, to be a backbone.
    Pretrain,
    /// Learns one data set, or all of them, with one method.
    Learn,
    /// Measures all tasks of a method again, with all of them in one engine.
    Together,
}

/// A part of a comparison that is computed on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// What it needs to be computed.
    pub job: Job,
    /// Identities of the units whose files it reads.
    pub needs: Vec<String>,
    /// How much there is to compute: images times multiply-adds, forward and backward.
    pub work: f64,
}

/// Everything that a process needs to compute a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// BLAKE3 of everything that determines the result, hexadecimal.
    pub identity: String,
    /// The kind of work.
    pub kind: UnitKind,
    /// The network it is done with, or that comes out.
    pub backbone: JobBackbone,
    /// Label of the method in the plan; empty where a network is pretrained.
    pub label: String,
    /// The method, unless a network is pretrained.
    pub method: Option<MethodName>,
    /// The data sets, in the order they are learned in.
    pub data: Vec<JobData>,
    /// Random seed.
    pub seed: u64,
    /// The order of the tasks, where it matters.
    pub order: Option<Order>,
    /// Identities of the units whose tasks are put together.
    pub earlier: Vec<String>,
    /// Settings of pretraining.
    pub pretrain: Option<PretrainConfig>,
    /// The folder that has a folder for each unit.
    pub units: PathBuf,
}

/// The network of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobBackbone {
    /// Its name in the plan.
    pub name: String,
    /// The checkpoint.
    pub path: PathBuf,
    /// Its architecture.
    pub architecture: Architecture,
    /// The name of its weights, if the checkpoint holds several sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

/// A data set of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobData {
    /// Its name in the plan.
    pub name: String,
    /// The image folder.
    pub path: PathBuf,
    /// Folder layout.
    pub layout: Layout,
    /// Settings of the method on it.
    pub settings: Map<String, Value>,
}

impl Job {
    /// The folder of this unit's files.
    pub fn folder(&self) -> PathBuf {
        folder(&self.units, &self.identity)
    }

    /// What it is, for people: `Piggyback, flags, seed 0`.
    pub fn title(&self) -> String {
        if self.kind == UnitKind::Pretrain {
            return format!("pretraining of {}", self.backbone.name);
        }
        let data = match self.data.len() {
            1 => self.data[0].name.clone(),
            number => format!("{number} data sets"),
        };
        let mut parts = vec![self.backbone.name.clone(), self.label.clone(), data];
        parts.extend(self.order.map(|order| order.to_string()));
        parts.push(format!("seed {}", self.seed));
        if self.kind == UnitKind::Together {
            parts.push("all in one engine".into());
        }
        parts.join(", ")
    }

    /// The first digits of the identity.
    pub fn short(&self) -> &str {
        short(&self.identity)
    }
}

impl Unit {
    /// Whether this unit belongs to shard `index` (from 1) of `count`: the same on every machine
    /// with the same plan and data.
    pub fn is_in_shard(&self, index: u64, count: u64) -> bool {
        let number = u64::from_str_radix(short(&self.job.identity), 16).unwrap_or_default();
        number % count.max(1) == index.wrapping_sub(1)
    }
}

/// The folder of a unit's files.
pub(super) fn folder(units: &Path, identity: &str) -> PathBuf {
    units.join(short(identity))
}

pub(super) fn short(identity: &str) -> &str {
    identity.get(..SHORT).unwrap_or(identity)
}

/// The identity of a unit: BLAKE3 of the format version and of everything that determines the
/// result.
pub(super) fn identity(kind: UnitKind, parts: Value) -> Result<String> {
    let mut whole = json!({ "format": RESULTS_VERSION, "kind": kind, "of": parts });
    whole.sort_all_objects();
    let text =
        serde_json::to_vec(&whole).map_err(|error| Error::setting("plan", error.to_string()))?;
    Ok(blake3::hash(&text).to_hex().to_string())
}
