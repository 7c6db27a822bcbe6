//! Joint training: one network for several data sets, with one head each.
//!
//! The paper's joint training: a single network that sees all data together. Batches are drawn from
//! the union of all training images. Each image's loss uses its own data set's head.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use piggyback_task::{Head, Matrix, Precision, TrainingRecord};

use super::fine_tune::{FineTune, Keep};
use crate::data::DataSet;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::files::{MethodName, SharedNetwork, SharedTask, Sharing};
use crate::methods::masks::TaskNetwork;

/// A logit that excludes the classes of other data sets from the softmax.
const NEVER: f32 = -1e30;

/// The product is the network with its heads.
pub(super) struct Joint {
    sets: Vec<Set>,
}

/// A data set's part of the combined head.
struct Set {
    name: String,
    classes: Vec<String>,
    rows: Range<usize>,
}

impl Joint {
    /// # Errors
    ///
    /// Fewer than two data sets.
    pub(super) fn new(data: &[DataSet]) -> Result<Self> {
        if data.len() < 2 {
            let reason = format!(
                "method joint trains on several data sets, but {} is given; name all of them",
                data.len()
            );
            return Err(Error::setting("data", reason));
        }
        let mut first = 0;
        let sets = data.iter().map(|set| {
            let classes = set.images.classes().to_vec();
            let rows = first..first + classes.len();
            first = rows.end;
            Set {
                name: set.name.clone(),
                classes,
                rows,
            }
        });
        Ok(Self {
            sets: sets.collect(),
        })
    }

    /// Classes of all data sets.
    pub(super) fn classes(&self) -> usize {
        self.sets.last().map_or(0, |set| set.rows.end)
    }
}

impl Keep for Joint {
    type Product = SharedNetwork;

    const METHOD: MethodName = MethodName::Joint;
    const NAME: &'static str = "joint";

    fn product(&self, run: &FineTune<'_, Self>, network: &TaskNetwork) -> Result<SharedNetwork> {
        let Head { weight, bias } = network.head(Precision::F32)?;
        let weight = weight.to_f32();
        let features = run.backbone.architecture().features();
        let task = |set: &Set| {
            let Range { start, end } = set.rows;
            let rows = &weight[start * features..end * features];
            Ok(SharedTask {
                name: set.name.clone(),
                classes: set.classes.clone(),
                preprocessing: run.preprocessing.clone(),
                training: TrainingRecord::default(),
                head: Head {
                    weight: Matrix::new(end - start, features, rows, Precision::F32)?,
                    bias: bias[start..end].to_vec(),
                },
            })
        };
        Ok(SharedNetwork {
            origin: "joint network".into(),
            sharing: Sharing::Joint,
            architecture: run.backbone.architecture(),
            backbone: run.backbone.id(),
            tensors: network.tensors("joint network")?,
            owners: Default::default(),
            tasks: self.sets.iter().map(task).collect::<Result<_>>()?,
        })
    }

    fn engine(
        &self,
        run: &FineTune<'_, Self>,
        network: &SharedNetwork,
        _tasks: &[&str],
    ) -> Result<Engine> {
        network.engine(run.backbone.device(), str::to_owned)
    }

    fn own_logits(&self, logits: Tensor<2>, labels: &[u32]) -> Tensor<2> {
        let [batch, classes] = logits.dims();
        let mut others = vec![NEVER; batch * classes];
        for (row, label) in others.chunks_mut(classes).zip(labels) {
            let is_own = |set: &&Set| set.rows.contains(&(*label as usize));
            if let Some(set) = self.sets.iter().find(is_own) {
                row[set.rows.clone()].fill(0.0);
            }
        }
        let others = TensorData::new(others, [batch, classes]);
        let others = Tensor::from_data(others, &logits.device());
        logits + others
    }
}
