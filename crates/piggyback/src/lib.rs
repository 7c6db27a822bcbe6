//! One frozen vision network learns any number of tasks, one bit per weight and task.
//!
//! The method is *Piggyback* (Mallya, Davis, Lazebnik, ECCV 2018): a pretrained network, the
//! **backbone**, is never changed. For a **task**, every weight `w` gets a real-valued **score** `s`;
//! the network computes with
//!
//! ```text
//! w where s > threshold, else 0        d loss / d s = d loss / d w_effective * w
//! ```
//!
//! and gradients pass straight through the comparison. After training only the bits are kept. A task
//! is then a small file: bits, the task's batch-norm values, its classifier **head**. No task can
//! disturb another, their order does not matter, and one process holds one backbone and hundreds of
//! tasks.
//!
//! # From images to answers
//!
//! ```no_run
//! use piggyback::data::ImageFolder;
//! use piggyback::image::Image;
//! use piggyback::learn::Run;
//! use piggyback::methods::TrainConfig;
//! use piggyback::task::TaskFile;
//! use piggyback::{Backbone, Device, Engine};
//!
//! let device = Device::flex();
//! let backbone = Backbone::load("mobilenet_v2.pth", &device)?;
//!
//! // `data/flags` has train/<class>/*.png, and val/ and test/ if you like.
//! let images = ImageFolder::open("data/flags")?;
//! let learned = Run::new().learn(&TrainConfig::default(), &backbone, &images)?;
//! learned.product.save("flags.task.safetensors")?;
//!
//! let engine = Engine::new(backbone)
//!     .with_task("flags", TaskFile::open("flags.task.safetensors")?)?;
//! let predictions = engine.predict("flags", &[Image::open("photo.jpg")?])?;
//! for (class, probability) in predictions[0].top(3) {
//!     println!("{class}: {probability}");
//! }
//! # Ok::<(), piggyback::Error>(())
//! ```
//!
//! # Where to look
//!
//! Each module knows those before it in this table, and none after it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`image`] | decoding, resizing, augmentation, how an image becomes a network's input |
//! | [`data`] | image folders, and batches in an order that a seed decides |
//! | [`checkpoint`] | the backbone: reading and writing weights, recognising and fingerprinting them |
//! | [`mask`] | scores and masks, on any Burn module |
//! | [`files`] | what methods leave: task files, whole networks, networks that tasks share |
//! | [`engine`] | one backbone, many tasks: prediction, answers of several files, errors per class, checks of files, task files of any Burn module |
//! | [`learn`] | the training loop, whatever the method |
//! | [`methods`] | Piggyback, what it is compared with, and training from scratch |
//! | [`mod@export`] | a task's own network as ONNX, safetensors or a PyTorch checkpoint |
//! | [`task`] | the task file (the crate `piggyback-task`, which needs no tensor library) |
//!
//! # What can be relied on
//!
//! - **Answers are a function of backbone, task file and image.** Other tasks, their order, the
//!   batch and the number of threads do not change a bit of them on the CPU. A masked weight is
//!   `+0.0`: masking selects, it does not multiply.
//! - **Runs are a function of their settings.** Everything random is drawn from
//!   [`RunSettings::seed`](learn::RunSettings::seed); a run that is stopped and resumed gives the
//!   same task file, bit for bit.
//! - **Files are checked before they are trusted**, and no code in a file is ever run.
//! - **Errors are values** that name the file, tensor or class and say what to do; nothing here
//!   prints, exits or panics on input.
//!
//! # Devices
//!
//! `Device::flex()` is the CPU, for which the convolutions, batch norms and masks have kernels of
//! their own. The features `cuda`, `wgpu`, `metal` and `rocm` add Burn's other devices, on which the
//! same networks run on Burn's operations; [`open_device`] opens one by name.

mod adapt;
pub mod checkpoint;
pub mod data;
mod device;
pub mod engine;
mod error;
pub mod export;
pub mod files;
pub mod image;
pub mod learn;
pub mod methods;
mod name;
mod networks;
mod nn;
#[doc(hidden)]
pub mod plot;
mod protobuf;
mod random;
#[cfg(test)]
mod test_support;
#[doc(hidden)]
pub mod text;
mod write;

pub use adapt::mask;
pub use checkpoint::Backbone;
pub use device::{Device, InstructionSet, names as device_names, open as open_device};
pub use engine::Engine;
pub use error::{Error, Result};
pub use files::Artefact;
pub use name::Named;
pub use networks::{Architecture, Network, Role};
pub use nn::{GradientScaling, NamedTensor, TensorKind, named_tensors};
pub use piggyback_task as task;

/// The guide's example is compiled with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide.md")]
struct Readme;
