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
//! use burn::tensor::Device;
//! use piggyback::data::{Image, ImageFolder};
//! use piggyback::task::TaskFile;
//! use piggyback::train::TrainConfig;
//! use piggyback::{Backbone, Engine, Trainer};
//!
//! let device = Device::flex();
//! let backbone = Backbone::load("mobilenet_v2.pth", &device)?;
//!
//! // `data/flags` has train/<class>/*.png, and val/ and test/ if you like.
//! let trained = Trainer::new(TrainConfig::default())
//!     .train(&backbone, &ImageFolder::open("data/flags")?)?;
//! trained.task.save("flags.task.safetensors")?;
//!
//! let engine = Engine::new(backbone)
//!     .with_task("flags", TaskFile::open("flags.task.safetensors")?)?;
//! let predictions = engine.predict("flags", &[Image::open("photo.jpg")?])?;
//! for (class, probability) in predictions[0].top(3) {
//!     println!("{}: {probability}", engine.task("flags")?.classes[class]);
//! }
//! # Ok::<(), piggyback::Error>(())
//! ```
//!
//! # Where to look
//!
//! | module | holds |
//! | --- | --- |
//! | [`backbone`] | networks, checkpoints, what a backbone is recognised and fingerprinted by |
//! | [`data`] | image folders, decoding, augmentation, batches in an order that a seed decides |
//! | [`mask`] | scores and masks, on any Burn module |
//! | [`own_network`] | task files of any Burn module |
//! | [`preprocessing`] | how images are prepared where it is not left to the backbone |
//! | [`method`] | the methods by name: masks, and what they are compared with |
//! | [`artefact`] | the files that methods leave, whichever it was |
//! | [`train`] | the training loop and its settings |
//! | [`pretrain`] | networks trained from scratch, to be backbones |
//! | [`mod@evaluate`] | errors per class, confusion |
//! | [`engine`] | one backbone, many tasks: prediction |
//! | [`mod@export`] | a task's own network as ONNX, safetensors or a PyTorch checkpoint |
//! | [`task`] | the task file (the crate `piggyback-task`, which needs no tensor library) |
//! | [`plot`] | zeros per layer and learning curves as SVG |
//! | [`text`] | names that are safe to show, CSV, text files with a byte-order mark |
//!
//! # What can be relied on
//!
//! - **Answers are a function of backbone, task file and image.** Other tasks, their order, the
//!   batch and the number of threads do not change a bit of them on the CPU. A masked weight is
//!   `+0.0`: masking selects, it does not multiply.
//! - **Runs are a function of their settings.** Everything random is drawn from
//!   [`TrainConfig::seed`](train::TrainConfig::seed); a run that is stopped and resumed gives the
//!   same task file, bit for bit.
//! - **Files are checked before they are trusted**, and no code in a file is ever run.
//! - **Errors are values** that name the file, tensor or class and say what to do; nothing here
//!   prints, exits or panics on input.
//!
//! # Devices
//!
//! `Device::flex()` is the CPU, for which the convolutions, batch norms and masks have kernels of
//! their own. The features `cuda`, `wgpu`, `metal` and `rocm` add Burn's other devices, on which the
//! same networks run on Burn's operations; [`device::open`] opens one by name.

pub mod artefact;
pub mod backbone;
pub mod data;
mod delta;
pub mod device;
pub mod engine;
mod engine_of_files;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod mask;
mod materialise;
pub mod method;
mod name;
mod ops;
pub mod own_network;
pub mod plot;
pub mod preprocessing;
pub mod pretrain;
mod protobuf;
mod random;
#[cfg(test)]
mod test_support;
pub mod text;
pub mod train;
mod values;
mod write;

use piggyback_task::foreign;

pub use artefact::Artefact;
pub use backbone::Backbone;
pub use engine::Engine;
pub use error::{Error, Result};
pub use ops::GradientScaling;
pub use piggyback_task as task;
pub use train::Trainer;
