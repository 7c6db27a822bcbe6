//! One backbone, many tasks: prediction.
//!
//! The engine keeps one copy of the backbone, every task's packed bits, and the effective weights of
//! the tasks used last, as far as the cache goes. From a task's second prediction on, on the CPU, it
//! keeps them in the order in which convolutions read them as well. Opening a task costs about the size
//! of its file; switching to one whose weights are not cached costs one pass over the weights.
//!
//! What a task answers depends on the backbone, the task file and the image alone: not on the other
//! tasks, nor on their order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use piggyback_task::{Preprocessing, TaskFile};
use rayon::prelude::*;

use super::materialise::{Materialised, check};
use crate::checkpoint::Backbone;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::nn::values;

/// Images that are predicted at once.
const BATCH: usize = 32;

/// A backbone with the tasks that it can answer for.
///
/// ```no_run
/// use piggyback::image::Image;
/// use piggyback::task::TaskFile;
/// use piggyback::{Backbone, Device, Engine};
///
/// let backbone = Backbone::load("mobilenet_v2.pth", &Device::flex())?;
/// let engine = Engine::new(backbone)
///     .with_task("flags", TaskFile::open("flags.task.safetensors")?)?
///     .with_task("emoji", TaskFile::open("emoji.task.safetensors")?)?;
/// let predictions = engine.predict("flags", &[Image::open("flag.png")?])?;
/// let (class, probability) = predictions[0].top(1)[0];
/// # Ok::<(), piggyback::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    backbone: Backbone,
    tasks: BTreeMap<String, TaskFile>,
    cache_bytes: usize,
    cache: Mutex<Cache>,
}

/// Effective weights, the least recently used first.
#[derive(Debug, Default)]
struct Cache {
    networks: Vec<(String, Arc<Materialised>)>,
}

impl Cache {
    /// Drops the least recently used networks beyond `bytes`, but for the one used last.
    fn trim(&mut self, bytes: usize) {
        let mut total = 0;
        let kept = (self.networks.iter().rev())
            .take_while(|(_, network)| {
                total += network.bytes();
                total <= bytes
            })
            .count();
        let dropped = self.networks.len() - kept.max(1).min(self.networks.len());
        self.networks.drain(..dropped);
    }
}

/// What an engine holds in memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EngineMemory {
    /// The backbone's weights.
    pub backbone_bytes: usize,
    /// Bits, batch-norm values and heads of all tasks.
    pub tasks_bytes: usize,
    /// Effective weights of the tasks used last.
    pub cache_bytes: usize,
}

/// What a task says of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The head's outputs, one per class.
    pub logits: Vec<f32>,
    /// Their softmax.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// The prediction that `logits` stand for.
    pub fn from_logits(logits: Vec<f32>) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f64> = logits
            .iter()
            .map(|&logit| f64::from(logit - largest).exp())
            .collect();
        let total: f64 = exponentials.iter().sum();
        let probabilities = exponentials
            .iter()
            .map(|value| (value / total) as f32)
            .collect();
        Self {
            logits,
            probabilities,
        }
    }

    /// The `count` likeliest classes with their probabilities, likeliest first; equal ones in the
    /// order of the classes.
    pub fn top(&self, count: usize) -> Vec<(usize, f32)> {
        let mut classes: Vec<usize> = (0..self.logits.len()).collect();
        classes.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]).then(a.cmp(&b)));
        classes.truncate(count);
        classes
            .into_iter()
            .map(|class| (class, self.probabilities[class]))
            .collect()
    }
}

impl Engine {
    /// An engine without tasks, with a cache for the effective weights of one.
    pub fn new(backbone: Backbone) -> Self {
        Self {
            backbone,
            tasks: BTreeMap::new(),
            cache_bytes: 0,
            cache: Mutex::default(),
        }
    }

    /// Sets the room for effective weights; at least one task's are always kept.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Adds a task under a name.
    ///
    /// # Errors
    ///
    /// As [`Engine::add_task`].
    pub fn with_task(mut self, name: impl Into<String>, task: TaskFile) -> Result<Self> {
        self.add_task(name, task)?;
        Ok(self)
    }

    /// Adds a task under a name, or replaces the one that has it.
    ///
    /// # Errors
    ///
    /// A task that was trained on another backbone.
    pub fn add_task(&mut self, name: impl Into<String>, task: TaskFile) -> Result<()> {
        let name = name.into();
        check(&self.backbone, &name, &task)?;
        self.lock().networks.retain(|(cached, _)| *cached != name);
        self.tasks.insert(name, task);
        Ok(())
    }

    /// Takes a task out.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn remove_task(&mut self, name: &str) -> Result<TaskFile> {
        self.lock().networks.retain(|(cached, _)| cached != name);
        self.tasks.remove(name).ok_or_else(|| self.unknown(name))
    }

    /// The names of the tasks, sorted.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// The task called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn task(&self, name: &str) -> Result<&TaskFile> {
        self.tasks.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// What the engine holds in memory now.
    pub fn memory(&self) -> EngineMemory {
        EngineMemory {
            backbone_bytes: self.backbone.weights_bytes(),
            tasks_bytes: self.tasks.values().map(task_bytes).sum(),
            cache_bytes: self
                .lock()
                .networks
                .iter()
                .map(|(_, network)| network.bytes())
                .sum(),
        }
    }

    /// Makes a task's effective weights if they are not cached, so that its next prediction need not.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn make_ready(&self, name: &str) -> Result<()> {
        self.network(name).map(drop)
    }

    /// Predicts the classes of images, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`], images that cannot be brought to the network's input, and
    /// [`Error::NotNumbers`].
    pub fn predict(&self, name: &str, images: &[Image]) -> Result<Vec<Prediction>> {
        let task = self.task(name)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let network = self.network(name)?;
        let predictions = predict_batches(
            images,
            &task.preprocessing,
            self.backbone.device(),
            |images| network.forward(images),
        );
        self.keep_within_bounds();
        numbers(&of_task(name), predictions?, None)
    }

    /// Predicts from prepared pixels `[batch, height, width, 3]`; `image` names them in errors.
    pub(crate) fn predict_pixels(
        &self,
        name: &str,
        pixels: Vec<f32>,
        shape: [usize; 4],
        image: &dyn Fn(usize) -> String,
    ) -> Result<Vec<Prediction>> {
        if shape[0] == 0 {
            return Ok(Vec::new());
        }
        let network = self.network(name)?;
        let images = images_tensor(pixels, shape, self.backbone.device());
        let predictions = predictions(network.forward(images));
        self.keep_within_bounds();
        numbers(&of_task(name), predictions, Some(image))
    }

    /// The effective network of a task, from the cache or made now.
    fn network(&self, name: &str) -> Result<Arc<Materialised>> {
        let mut cache = self.lock();
        if let Some(position) = cache.networks.iter().position(|(cached, _)| cached == name) {
            let entry = cache.networks.remove(position);
            let network = entry.1.clone();
            cache.networks.push(entry);
            return Ok(network);
        }
        let network = Arc::new(Materialised::new(&self.backbone, name, self.task(name)?)?);
        cache.networks.push((name.to_owned(), network.clone()));
        cache.trim(self.cache_bytes);
        Ok(network)
    }

    /// A network grows when its convolutions are packed: others may have to go.
    fn keep_within_bounds(&self) {
        self.lock().trim(self.cache_bytes);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A panic elsewhere leaves a list of whole networks: safe to go on with.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unknown(&self, name: &str) -> Error {
        let loaded = self.tasks().map(str::to_owned).collect();
        Error::UnknownTask {
            name: name.to_owned(),
            loaded,
        }
    }
}

impl Backbone {
    /// Predicts the classes of the backbone's own head, of images in their order.
    ///
    /// # Errors
    ///
    /// [`Error::NoHead`], images that cannot be brought to the network's input, and
    /// [`Error::NotNumbers`].
    pub fn predict(
        &self,
        images: &[Image],
        preprocessing: &Preprocessing,
    ) -> Result<Vec<Prediction>> {
        let head = self.own_head()?;
        let predictions = predict_batches(images, preprocessing, self.device(), |images| {
            head.forward(self.network().forward(images))
        })?;
        numbers("the backbone", predictions, None)
    }
}

/// Takes images to logits by batches, so that memory does not grow with their number; no bit depends
/// on it.
fn predict_batches(
    images: &[Image],
    preprocessing: &Preprocessing,
    device: &Device,
    forward: impl Fn(Tensor<4>) -> Tensor<2>,
) -> Result<Vec<Prediction>> {
    let side = preprocessing.image_size as usize;
    let mut all = Vec::with_capacity(images.len());
    for images in images.chunks(BATCH) {
        let prepared: Vec<Vec<f32>> = (images.par_iter())
            .map(|image| image.prepare(preprocessing))
            .collect::<Result<_, crate::image::Error>>()?;
        let shape = [images.len(), side, side, 3];
        let images = images_tensor(prepared.concat(), shape, device);
        all.extend(predictions(forward(images)));
    }
    Ok(all)
}

fn of_task(name: &str) -> String {
    format!("task '{name}'")
}

/// The predictions of `network`, none of which is NaN or infinite; `image` names the images in the
/// error.
fn numbers(
    network: &str,
    predictions: Vec<Prediction>,
    image: Option<&dyn Fn(usize) -> String>,
) -> Result<Vec<Prediction>> {
    for (index, prediction) in predictions.iter().enumerate() {
        let mut outputs = prediction.logits.iter().enumerate();
        if let Some((class, &value)) = outputs.find(|(_, logit)| !logit.is_finite()) {
            return Err(Error::NotNumbers {
                network: network.to_owned(),
                class,
                value,
                image: image.map(|name| name(index)),
            });
        }
    }
    Ok(predictions)
}

/// The rows of logits `[batch, classes]` as predictions.
fn predictions(logits: Tensor<2>) -> Vec<Prediction> {
    let [_, classes] = logits.dims();
    values(logits)
        .chunks(classes)
        .map(|logits| Prediction::from_logits(logits.to_vec()))
        .collect()
}

/// Pixels `[batch, height, width, channels]` as a tensor `[batch, channels, height, width]`.
pub(crate) fn images_tensor(pixels: Vec<f32>, shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::<4>::from_data(TensorData::new(pixels, shape), device).permute([0, 3, 1, 2])
}

/// Memory of a task's bits, batch-norm values and head.
fn task_bytes(task: &TaskFile) -> usize {
    let planes = |mask: &piggyback_task::Mask| 1 + usize::from(mask.sign().is_some());
    let deltas = task
        .deltas
        .values()
        .map(|delta| delta.up().as_bytes().len() + 4);
    let masks: usize = task
        .masks
        .values()
        .map(|mask| planes(mask) * mask.keep().as_bytes().len())
        .sum();
    let norms: usize = task.norms.values().map(|values| values.data().len()).sum();
    masks
        + deltas.sum::<usize>()
        + 4 * (norms + task.head.weight.data().len() + task.head.bias.data().len())
}
