//! The library as its users see it.
#![allow(missing_docs)]

mod answering;
mod checkpoints;
mod compressing;
mod export;
mod fuzz_corpus;
mod jpeg;
mod methods;
mod parity;
mod power_cut;
mod pretraining;
mod pytorch_files;
mod real_weights;
mod support;
mod tasks;
mod tensorboard;
mod torch_peer;
mod weight_sets;
