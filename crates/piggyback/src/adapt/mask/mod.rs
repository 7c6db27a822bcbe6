//! Scores and masks: the paper's method, on any Burn module.
//!
//! A mask is a [`Reparameterization`](burn::module::Reparameterization) of a frozen parameter: a real-valued score for each weight,
//! thresholded each time the weight is used. Gradients pass straight through the threshold (Mallya
//! et al., *Piggyback*, ECCV 2018, section 3.2). Any optimiser that updates the parameters
//! `<weight>.mask.scores` therefore trains the mask, and [`masks`] reads the bits after training.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::LinearConfig;
//! use piggyback::mask::{self, MaskConfig};
//! use piggyback::Device;
//!
//! let device = Device::flex().autodiff();
//! let network = LinearConfig::new(8, 4).init(&device).freeze();
//! let config = MaskConfig::default();
//! let masked = mask::attach(network, &config, |tensor| tensor.name == "weight");
//!
//! // Scores start above the threshold: nothing is masked yet.
//! assert_eq!(mask::masks(&masked)?["weight"].zeros().count, 0);
//! # Ok::<(), piggyback::Error>(())
//! ```

mod apply;
mod config;
mod read;
mod score;
#[cfg(test)]
mod tests;

pub use apply::apply;
pub use config::{MaskConfig, MaskKind, ScoreInit};
pub use read::masks;
pub use score::{MaskScores, attach, attach_seeded};
pub(crate) use score::{SCORES_SUFFIX, attach_with, mean_magnitude};
