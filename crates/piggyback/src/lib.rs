//! Train any number of image-classification tasks on one frozen network, with one bit per weight
//! and task.
//!
//! The method is *Piggyback* (Mallya, Davis, Lazebnik, ECCV 2018). A pretrained network, the
//! **backbone**, is never changed. For each **task**, every weight `w` gets a real-valued **score**
//! `s`, and the network computes with
//!
//! ```text
//! w where s > threshold, else 0        d loss / d s = d loss / d w_effective * w
//! ```
//!
//! Gradients pass straight through the threshold (a straight-through estimator). After training
//! only the bits are kept. A task is then a small file: the mask bits, the task's batch norms and
//! its classifier **head**. Tasks cannot affect each other, their order does not matter, and one
//! process can serve hundreds of tasks with one backbone.
//!
//! # From images to answers
//!
//! ```no_run
//! use piggyback::data::ImageFolder;
//! use piggyback::image::Image;
//! use piggyback::learn::Run;
//! use piggyback::methods::TrainConfig;
//! use piggyback::task::TaskFile;
//! use piggyback::{Backbone, Device, Engine, KnownNetworks};
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
//!     .with_task("flags", TaskFile::open("flags.task.safetensors", &KnownNetworks)?)?;
//! let predictions = engine.predict("flags", &[Image::open("photo.jpg")?])?;
//! for (class, probability) in predictions[0].top(3) {
//!     println!("{class}: {probability}");
//! }
//! # Ok::<(), piggyback::Error>(())
//! ```
//!
//! # Where to look
//!
//! Each module uses only modules above it in this table.
//!
//! | module | holds |
//! | --- | --- |
//! | [`image`] | decoding, resizing, augmentation, preprocessing |
//! | [`data`] | image folders, and batches in an order set by the random seed |
//! | [`checkpoint`] | the backbone: reading and writing weights, architecture detection, fingerprints |
//! | [`mask`] | scores and masks, on any Burn module |
//! | [`files`] | result files: task files, full networks, networks shared by several tasks |
//! | [`engine`] | one backbone, many tasks: prediction, evaluation, file verification, task files for any Burn module |
//! | [`learn`] | the training loop, shared by all methods |
//! | [`methods`] | Piggyback, its baselines, and training from scratch |
//! | [`mod@export`] | export of a task's network as ONNX, safetensors or a PyTorch checkpoint |
//! | [`task`] | the task file (the crate `piggyback-task`, which needs no tensor library) |
//!
//! # Guarantees
//!
//! - **Outputs depend only on backbone, task file and image.** On the CPU they are bit-identical
//!   whatever the other tasks, their order, the batch and the number of threads. A masked weight is
//!   `+0.0`: masking selects, it does not multiply.
//! - **Runs are reproducible.** All randomness comes from the random seed,
//!   [`RunSettings::seed`](learn::RunSettings::seed). A run that is stopped and resumed gives a
//!   byte-for-byte identical task file.
//! - **Files are checked before they are trusted**, and no code in a file is ever run.
//! - **Errors are values** that name the file, tensor or class and say what to do; nothing here
//!   prints, exits or panics on input.
//!
//! # Devices
//!
//! `Device::flex()` is the CPU, with this project's kernels for convolutions, batch norms and
//! masks. The features `cuda`, `wgpu`, `metal` and `rocm` add Burn's other devices, which use
//! Burn's own operations. [`open_device`] opens a device by name.

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
pub use files::LearnedFile;
pub use name::Named;
pub use networks::{Architecture, KnownNetworks, Network, Role};
pub use nn::{GradientScaling, NamedTensor, TensorKind, named_tensors};
pub use piggyback_task as task;

/// The guide's example is compiled with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide.md")]
struct Readme;
