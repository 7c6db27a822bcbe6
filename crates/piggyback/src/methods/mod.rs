//! The methods by name: Piggyback, and what it is compared with.
//!
//! | method | what learns | what is kept |
//! | --- | --- | --- |
//! | [`piggyback`](crate::files::MethodName::Piggyback) | masks, batch norms, head | a task file |
//! | [`classifier-only`](crate::files::MethodName::ClassifierOnly) | head | a task file without masks |
//! | [`norm-only`](crate::files::MethodName::NormOnly) | batch norms, head | a task file without masks |
//! | [`bitdelta`](crate::files::MethodName::Bitdelta) | every weight | a task file with a bit of each weight's change |
//! | [`individual`](crate::files::MethodName::Individual) | every weight | a whole network |
//! | [`joint`](crate::files::MethodName::Joint) | every weight, from several data sets | a network with a head for each |
//! | [`packnet`](crate::files::MethodName::Packnet) | the weights that no task before owns | a file that tasks are added to |
//!
//! Each is a value that a [`Run`](crate::learn::Run) learns with: [`TrainConfig`] learns masks, [`PretrainConfig`] trains a
//! network from scratch, and [`MethodSettings`] is any of the table's methods, with its settings from a table of names.
//! An [`LearnedFile`](crate::LearnedFile) answers for the tasks in it.
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

mod bitdelta;
mod by_name;
mod fine_tune;
mod from_scratch;
mod individual;
mod joint;
mod layers;
mod masks;
mod packnet;
mod settings;

pub use bitdelta::BitDeltaConfig;
pub use by_name::AddTo;
pub use fine_tune::FineTuneConfig;
pub use from_scratch::PretrainConfig;
pub use layers::{Layer, Settings};
#[cfg(test)]
pub(crate) use masks::TaskNetwork;
pub use masks::{MaskLayers, NormMode, Preset, Schedule, TrainConfig};
pub use packnet::PackNetConfig;
pub use settings::MethodSettings;
