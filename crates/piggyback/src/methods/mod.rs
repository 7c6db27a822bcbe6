//! The methods by name: Piggyback, and what it is compared with.

mod bitdelta;
mod fine_tune;
mod from_scratch;
mod individual;
mod joint;
mod learner;
mod masks;
mod packnet;
mod settings;

pub use bitdelta::BitDeltaConfig;
pub use fine_tune::FineTuneConfig;
pub use from_scratch::{PretrainConfig, Pretrained, Pretrainer};
pub use learner::{Learner, Outcome};
#[cfg(test)]
pub(crate) use masks::TaskNetwork;
pub use masks::{
    Auto, MaskLayers, MaskRate, NormMode, Recipe, Schedule, TrainConfig, Trained, Trainer,
};
pub use packnet::PackNetConfig;
pub use settings::MethodSettings;
