//! The frozen network: reading and writing weights, architecture detection, fingerprints.

mod about;
mod backbone;
mod classes;
mod convert;
mod digest;
mod hints;
mod identity;
mod lookalikes;
mod mmap;
mod origin;
mod recognise;
mod state;
mod weights;

pub use about::{About, imagenet_classes};
pub use backbone::{Backbone, LoadOptions};
pub use classes::{ClassSource, HeadClasses};
pub use convert::{Converted, convert};
pub use lookalikes::Lookalike;
pub(crate) use origin::record_precisions;
pub(crate) use recognise::recognise;
pub(crate) use state::{
    ByteTensor, Content as SafetensorsContent, open_safetensors, read_safetensors,
    safetensors_metadata,
};
pub use state::{Precision, StateDict, StoredTensor, WeightSets, WeightsChoice};
pub(crate) use weights::{Entry, write_entries};
pub use weights::{WeightInfo, write_weights};
