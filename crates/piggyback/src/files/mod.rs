//! Result files of the methods.

pub(crate) mod budget;
pub(crate) mod byte_size;
mod description;
mod entry;
mod learned_file;
mod method_name;
mod metrics;
mod network;
mod precisions;
mod shared;
mod size;
mod unpack;

pub use byte_size::parse as byte_size;
pub(crate) use description::{TaskDescription, head_values};
pub use learned_file::{LearnedFile, LearnedFileKind};
pub use method_name::MethodName;
pub use metrics::EpochMetrics;
pub use network::NetworkFile;
pub use precisions::Precisions;
pub(crate) use shared::{FREE, OF_BACKBONE, SharedTask, Sharing, owner_of};
pub use shared::{FreeWeights, SharedNetwork};
pub use size::paper_bits_of_network;
pub use unpack::unpack;
