//! Result files of the methods.

mod description;
mod entry;
mod learned_file;
mod method_name;
mod metrics;
mod network;
mod shared;
mod size;

pub(crate) use description::{TaskDescription, head_values};
pub use learned_file::{LearnedFile, LearnedFileKind};
pub use method_name::MethodName;
pub use metrics::EpochMetrics;
pub use network::NetworkFile;
pub(crate) use shared::{FREE, OF_BACKBONE, SharedTask, Sharing, owner_of};
pub use shared::{FreeWeights, SharedNetwork};
pub use size::paper_bits_of_network;
