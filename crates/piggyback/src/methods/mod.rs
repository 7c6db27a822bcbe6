//! The methods: Piggyback and its baselines.
//!
//! | method | what is trained | product |
//! | --- | --- | --- |
//! | [`piggyback`](crate::files::MethodName::Piggyback) | masks, batch norms, head | a task file |
//! | [`classifier-only`](crate::files::MethodName::ClassifierOnly) | head | a task file without masks |
//! | [`norm-only`](crate::files::MethodName::NormOnly) | batch norms, head | a task file without masks |
//! | [`bitdelta`](crate::files::MethodName::Bitdelta) | every weight | a task file with the sign of each weight's change |
//! | [`sign-delta`](crate::files::MethodName::SignDelta) | every weight | a task file with the signs of the largest changes |
//! | [`low-rank`](crate::files::MethodName::LowRank) | one-bit low-rank changes, batch norms, head | a task file with the factors |
//! | [`individual`](crate::files::MethodName::Individual) | every weight | a full network |
//! | [`joint`](crate::files::MethodName::Joint) | every weight, on several data sets | a network with one head each |
//! | [`packnet`](crate::files::MethodName::Packnet) | the weights that no earlier task owns | a file to which tasks are added |
//!
//! A method is a value that is passed to a [`Run`](crate::learn::Run): [`TrainConfig`] trains
//! masks, [`PretrainConfig`] trains a network from scratch, and [`MethodSettings`] is any method of
//! the table, with its settings by name. The result is a [`LearnedFile`](crate::LearnedFile), which
//! predicts with its tasks.
//!
//! ```no_run
//! use piggyback::data::DataSet;
//! use piggyback::files::MethodName;
//! use piggyback::learn::Run;
//! use piggyback::methods::{MethodSettings, Preset};
//! use piggyback::{Backbone, Device};
//!
//! let backbone = Backbone::load("mobilenet_v2.pth", &Device::flex())?;
//! let settings = MethodSettings::new(MethodName::Individual, Preset::Paper);
//! let learned = Run::new().learn(&settings, &backbone, &[DataSet::open("data/flags")?][..])?;
//! learned.product.save("flags.safetensors")?;
//! let engine = (learned.product).engine("flags", Some(&backbone), backbone.device())?;
//! # Ok::<(), piggyback::Error>(())
//! ```

mod by_name;
mod compress;
mod delta;
mod fine_tune;
mod from_scratch;
mod individual;
mod joint;
mod layers;
mod low_rank;
mod masks;
mod packnet;
mod settings;

pub use by_name::AddTo;
pub use compress::{Compressed, CompressionLoss, Settle, compress};
pub use delta::DeltaConfig;
pub use fine_tune::FineTuneConfig;
pub use from_scratch::PretrainConfig;
pub use layers::{Layer, Settings};
pub use low_rank::LowRankConfig;
#[cfg(test)]
pub(crate) use masks::TaskNetwork;
pub use masks::{MaskLayers, NormMode, Preset, Schedule, TrainConfig};
pub use packnet::PackNetConfig;
pub use settings::MethodSettings;
