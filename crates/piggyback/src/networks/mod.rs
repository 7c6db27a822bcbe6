//! The networks that are known, a file for each family.

mod architecture;
mod densenet;
mod efficientnet;
mod init;
mod mobilenet;
mod resnet;
mod vgg;

pub(crate) use architecture::Family;
pub use architecture::{Architecture, Network};
pub(crate) use init::initial_tensors;
