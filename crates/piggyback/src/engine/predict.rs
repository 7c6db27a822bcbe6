//! One backbone, many tasks: prediction.
//!
//! The engine keeps one copy of the backbone, every task's packed bits, and the effective weights of
//! the tasks used last, as far as the cache goes. From a task's second prediction on, on the CPU, it
//! keeps them in the order in which convolutions read them as well. Opening a task costs about the size
//! of its file; switching to one whose weights are not cached costs one pass over the weights.
//!
//! What a task answers depends on the backbone, the task file and the image alone: not on the other
//! tasks, nor on their order.
//!
//! Everything is done through `&self`, from any number of threads. Making a task's effective weights holds a lock of that
//! task alone: requests for other tasks go on, and of several requests for the same cold task one makes it while the others
//! wait. A task that is replaced or taken out answers the requests under way before it goes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use burn::tensor::{Device, Tensor, TensorData};
use piggyback_task::{Preprocessing, TaskFile};
use rayon::prelude::*;

use super::cache::{Cache, Slot};
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
    tasks: RwLock<BTreeMap<String, Arc<Slot>>>,
    cache: Cache,
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
            tasks: RwLock::default(),
            cache: Cache::default(),
        }
    }

    /// Sets the room for effective weights; those used last are always kept, and those of pinned tasks.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache = Cache::new(bytes);
        self
    }

    /// Adds a task under a name.
    ///
    /// # Errors
    ///
    /// As [`Engine::add_task`].
    pub fn with_task(self, name: impl Into<String>, task: TaskFile) -> Result<Self> {
        self.add_task(name, task)?;
        Ok(self)
    }

    /// Adds a task under a name, or replaces the one that has it: requests under way are answered by the one before.
    ///
    /// # Errors
    ///
    /// A task that was trained on another backbone.
    pub fn add_task(&self, name: impl Into<String>, task: TaskFile) -> Result<()> {
        let name = name.into();
        check(&self.backbone, &name, &task)?;
        let slot = Arc::new(Slot::new(name.clone(), task));
        let replaced = self.write_tasks().insert(name, slot);
        if let Some(replaced) = replaced {
            self.cache.remove(&replaced);
        }
        Ok(())
    }

    /// Takes a task out; requests under way are still answered.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn remove_task(&self, name: &str) -> Result<Arc<TaskFile>> {
        let removed = self.write_tasks().remove(name);
        let slot = removed.ok_or_else(|| self.unknown(name))?;
        self.cache.remove(&slot);
        Ok(slot.task.clone())
    }

    /// The names of the tasks, sorted.
    pub fn tasks(&self) -> Vec<String> {
        self.read_tasks().keys().cloned().collect()
    }

    /// The task called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn task(&self, name: &str) -> Result<Arc<TaskFile>> {
        Ok(self.slot(name)?.task.clone())
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// What the engine holds in memory now.
    pub fn memory(&self) -> EngineMemory {
        let tasks = self.read_tasks();
        EngineMemory {
            backbone_bytes: self.backbone.weights_bytes(),
            tasks_bytes: tasks.values().map(|slot| task_bytes(&slot.task)).sum(),
            cache_bytes: self.cache.bytes(),
        }
    }

    /// Makes a task's effective weights if they are not cached, so that its next prediction need not.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn make_ready(&self, name: &str) -> Result<()> {
        self.network(&self.slot(name)?).map(drop)
    }

    /// Whether a task's effective weights are cached.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn is_ready(&self, name: &str) -> Result<bool> {
        Ok(self.cache.holds(&self.slot(name)?))
    }

    /// Keeps a task's effective weights in the cache from now on, whatever else is used; they are made if needed.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn pin(&self, name: &str) -> Result<()> {
        let slot = self.slot(name)?;
        slot.pin(true);
        self.network(&slot).map(drop)
    }

    /// Lets a task's effective weights leave the cache again.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn unpin(&self, name: &str) -> Result<()> {
        self.slot(name)?.pin(false);
        self.cache.trim();
        Ok(())
    }

    /// Predicts the classes of images, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`], images that cannot be brought to the network's input, and
    /// [`Error::NotNumbers`].
    pub fn predict(&self, name: &str, images: &[Image]) -> Result<Vec<Prediction>> {
        let slot = self.slot(name)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let network = self.network(&slot)?;
        let predictions = predict_batches(
            images,
            &slot.task.preprocessing,
            self.backbone.device(),
            |images| network.forward(images),
        );
        self.cache.trim();
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
        let network = self.network(&self.slot(name)?)?;
        let images = images_tensor(pixels, shape, self.backbone.device());
        let predictions = predictions(network.forward(images));
        self.cache.trim();
        numbers(&of_task(name), predictions, Some(image))
    }

    /// The effective network of a task, from the cache or made now.
    fn network(&self, slot: &Arc<Slot>) -> Result<Arc<Materialised>> {
        self.cache.get_or_make(slot, || {
            Materialised::new(&self.backbone, &slot.name, &slot.task)
        })
    }

    fn slot(&self, name: &str) -> Result<Arc<Slot>> {
        let slot = self.read_tasks().get(name).cloned();
        slot.ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Error {
        Error::UnknownTask {
            name: name.to_owned(),
            loaded: self.tasks(),
        }
    }

    // Under these locks maps are looked at and changed, which does not panic half-way.

    fn read_tasks(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_tasks(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.tasks.write().unwrap_or_else(PoisonError::into_inner)
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
