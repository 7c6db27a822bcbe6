//! Applies masks to weights.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use piggyback_task::Mask;
use rayon::prelude::*;

use super::score::combined;
use crate::adapt::check_fit;
use crate::error::Result;
use crate::nn::{Bits, Replace, map_tensors, ops};

/// Applies trained masks to the weights of `module`: each weight is kept, negated, or set to +0.0.
///
/// # Errors
///
/// [`Error::Unfit`](crate::Error::Unfit) with the names of masks that fit no parameter.
pub fn apply<M: Module>(module: M, masks: &BTreeMap<String, Mask>) -> Result<M> {
    check_fit(&module, "masks", masks, Mask::shape)?;
    // Decoded beforehand, on all cores: layers are visited one by one.
    let decode = |(name, mask): (&String, &Mask)| {
        let bits = Bits {
            keep: mask.keep().to_bits().as_bytes().into(),
            sign: mask.sign().map(|sign| sign.as_bytes().into()),
        };
        (name.clone(), (bits, mask.affine().copied()))
    };
    let masks: BTreeMap<String, (Bits, Option<[f32; 4]>)> = masks.par_iter().map(decode).collect();
    Ok(map_tensors(module, &mut Applying { masks }))
}

struct Applying {
    /// Bits and affine factors by weight name.
    masks: BTreeMap<String, (Bits, Option<[f32; 4]>)>,
}

impl Replace for Applying {
    fn replace(&mut self, name: &str, current: &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>> {
        let (bits, factors) = self.masks.remove(name)?;
        let base = current();
        let masked = ops::apply_bits(base.clone(), &bits);
        let Some(factors) = factors else {
            return Some(masked);
        };
        let factors = Tensor::from_data(factors, &base.device());
        let bits = ops::apply_bits(base.ones_like(), &bits);
        Some(combined(base, masked, bits, factors))
    }
}
