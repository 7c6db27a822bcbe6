//! Reads masks from scores.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};
use piggyback_task::{BitMask, Mask};

use super::score::{AFFINE_SUFFIX, READING_SUFFIX, Reading, SCORES_SUFFIX, units};
use crate::error::{Error, Result};
use crate::nn::{FieldPath, values};

/// The current masks of `module`'s scores, by weight name.
///
/// # Errors
///
/// The number of scores or affine factors does not match the weight, for example after loading
/// another network's record.
pub fn masks<M: Module>(module: &M) -> Result<BTreeMap<String, Mask>> {
    let mut reader = MaskReader {
        path: FieldPath::default(),
        weight: Weight::default(),
        masks: Ok(BTreeMap::new()),
    };
    module.visit(&mut reader);
    reader.masks
}

struct MaskReader {
    path: FieldPath,
    /// The weight visited last. Its scores and factors are visited next, its [`Reading`] last.
    weight: Weight,
    masks: Result<BTreeMap<String, Mask>>,
}

#[derive(Default)]
struct Weight {
    shape: Vec<usize>,
    scores: Vec<f32>,
    affine: Option<Vec<f32>>,
}

impl ModuleVisitor for MaskReader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        if name.ends_with(SCORES_SUFFIX) {
            self.weight.scores = values(param.base());
        } else if name.ends_with(AFFINE_SUFFIX) {
            self.weight.affine = Some(values(param.base()));
        } else {
            self.weight = Weight {
                shape: param.lazy_shape().to_vec(),
                ..Weight::default()
            };
        }
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let path = self.path.name();
        let (Some(name), Ok(masks)) = (path.strip_suffix(READING_SUFFIX), &mut self.masks) else {
            return;
        };
        let integers: Vec<i64> = param.val().into_data().iter::<i64>().collect();
        let weight = std::mem::take(&mut self.weight);
        match weight.mask(name, Reading::from_integers(&integers)) {
            Ok(mask) => drop(masks.insert(name.to_owned(), mask)),
            Err(error) => self.masks = Err(error),
        }
    }
}

impl Weight {
    /// The mask of the weight, which is called `name`.
    fn mask(self, name: &str, reading: Option<Reading>) -> Result<Mask> {
        let unfit = |what: &str| Error::Unfit {
            what: what.to_owned(),
            names: vec![name.to_owned()],
        };
        let Reading {
            threshold,
            ternary,
            unit,
        } = reading.ok_or_else(|| unfit("masks"))?;
        let scores = self.scores;
        let above = |i: usize| scores[i] > threshold;
        let below = |i: usize| scores[i] < 0.0 && !above(i);
        let mask = if ternary {
            let keep = BitMask::from_fn(scores.len(), |i| above(i) || below(i));
            Mask::ternary(self.shape, keep, BitMask::from_fn(scores.len(), below))?
        } else {
            Mask::binary(self.shape, BitMask::from_fn(scores.len(), above))?
        };
        let Some(factors) = self.affine else {
            return Ok(mask);
        };
        let factors = <[f32; 4]>::try_from(factors).map_err(|_| unfit("affine factors"))?;
        let units = units(unit);
        Ok(mask.with_affine(std::array::from_fn(|i| factors[i] * units[i]))?)
    }
}
