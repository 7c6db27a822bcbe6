//! One backbone, many tasks: prediction.
//!
//! The engine keeps one copy of the backbone, every task's packed bits, and a cache of the
//! effective weights of the tasks used last. On the CPU, from a task's second prediction on, it
//! also keeps them packed for the convolutions. Opening a task takes about as much memory as its
//! file. Switching to a task whose weights are not cached costs one pass over the weights.
//!
//! A task's outputs depend only on the backbone, the task file and the image, not on other tasks or
//! their order.
//!
//! All methods take `&self` and can be called from any number of threads. Building a task's
//! effective weights locks only that task: requests for other tasks continue, and of several
//! requests for the same cold task one builds it while the others wait. A task that is replaced or
//! removed still serves the requests in progress.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use burn::tensor::{Device, Tensor};
use piggyback_task::{Preprocessing, TaskFile};

use super::cache::{Cache, Slot};
use super::materialise::{Materialised, check};
use super::prediction::Prediction;
use super::prepared::{BATCH, PreparedImages, images_tensor};
use crate::checkpoint::Backbone;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::nn::values;

/// A backbone with its tasks.
///
/// ```no_run
/// use piggyback::image::Image;
/// use piggyback::task::TaskFile;
/// use piggyback::{Backbone, Device, Engine, KnownNetworks};
///
/// let backbone = Backbone::load("mobilenet_v2.pth", &Device::flex())?;
/// let engine = Engine::new(backbone)
///     .with_task("flags", TaskFile::open("flags.task.safetensors", &KnownNetworks)?)?
///     .with_task("emoji", TaskFile::open("emoji.task.safetensors", &KnownNetworks)?)?;
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

/// Memory use of an engine, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct EngineMemory {
    /// The backbone's weights.
    pub backbone_bytes: usize,
    /// Bits, batch-norm values and heads of all tasks.
    pub tasks_bytes: usize,
    /// Effective weights of the tasks used last.
    pub cache_bytes: usize,
}

impl Engine {
    /// An engine without tasks, whose cache holds the effective weights of one task.
    pub fn new(backbone: Backbone) -> Self {
        Self {
            backbone,
            tasks: RwLock::default(),
            cache: Cache::default(),
        }
    }

    /// Sets the size of the cache for effective weights. The most recently used ones and those of
    /// pinned tasks are always kept.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache = Cache::new(bytes);
        self
    }

    /// Adds a task under a name.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::add_task`].
    pub fn with_task(self, name: impl Into<String>, task: TaskFile) -> Result<Self> {
        self.add_task(name, task)?;
        Ok(self)
    }

    /// Adds a task under a name, or replaces the task of that name. Requests in progress still use
    /// the old task.
    ///
    /// # Errors
    ///
    /// The task was trained on another backbone.
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

    /// Removes a task. Requests in progress are still served.
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

    /// The engine's current memory use.
    pub fn memory(&self) -> EngineMemory {
        let tasks = self.read_tasks();
        EngineMemory {
            backbone_bytes: self.backbone.weights_bytes(),
            tasks_bytes: tasks.values().map(|slot| task_bytes(&slot.task)).sum(),
            cache_bytes: self.cache.bytes(),
        }
    }

    /// Builds a task's effective weights if they are not cached, so that its next prediction starts
    /// at once.
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

    /// Pins a task's effective weights in the cache. They are built if needed.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`].
    pub fn pin(&self, name: &str) -> Result<()> {
        let slot = self.slot(name)?;
        slot.pin(true);
        self.network(&slot).map(drop)
    }

    /// Allows a task's effective weights to leave the cache again.
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
    /// [`Error::UnknownTask`], images that cannot be prepared, and [`Error::NotNumbers`].
    pub fn predict(&self, name: &str, images: &[Image]) -> Result<Vec<Prediction>> {
        let slot = self.slot(name)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let network = self.network(&slot)?;
        let device = self.backbone.device();
        predict_batches(images, &slot.task.preprocessing, device, |images| {
            Ok(self.answers_of(&slot, &network, images))
        })
    }

    /// Prepares images with the preprocessing of the task called `name`, for
    /// [`answers`](Self::answers). All tasks with the same preprocessing can share them.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`], and images that cannot be prepared.
    pub fn prepare(&self, name: &str, images: &[Image]) -> Result<PreparedImages> {
        let preprocessing = &self.slot(name)?.task.preprocessing;
        PreparedImages::new(images, preprocessing, self.backbone.device())
    }

    /// Predicts prepared images, in their order. The results are bit-identical to those of
    /// [`predict`](Self::predict). An image whose outputs are not finite gets
    /// [`Error::NotNumbers`]; the other images get their predictions.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`], and images prepared with other preprocessing or for another device.
    pub fn answers(&self, name: &str, images: &PreparedImages) -> Result<Vec<Result<Prediction>>> {
        let slot = self.slot(name)?;
        if !images.is_for(&slot.task.preprocessing, self.backbone.device()) {
            return Err(Error::Misfit {
                task: name.to_owned(),
                reason: "the images were prepared with other preprocessing or for another \
                     device"
                    .into(),
            });
        }
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let network = self.network(&slot)?;
        Ok(self.answers_of(&slot, &network, images))
    }

    fn answers_of(
        &self,
        slot: &Slot,
        network: &Materialised,
        images: &PreparedImages,
    ) -> Vec<Result<Prediction>> {
        let forward = |batch| network.forward(batch);
        let answers = answers(&of_task(&slot.name), &slot.classes, images, forward);
        self.cache.trim();
        answers
    }

    /// Predicts from prepared pixels `[batch, height, width, 3]`; `image` names them in errors.
    pub(crate) fn predict_pixels(
        &self,
        name: &str,
        pixels: Vec<f32>,
        shape: [usize; 4],
        image: &dyn Fn(usize) -> Option<String>,
    ) -> Result<Vec<Prediction>> {
        if shape[0] == 0 {
            return Ok(Vec::new());
        }
        let slot = self.slot(name)?;
        let network = self.network(&slot)?;
        let images = images_tensor(pixels, shape, self.backbone.device());
        let predictions = predictions(network.forward(images), &slot.classes);
        self.cache.trim();
        let network = of_task(name);
        let predictions = predictions.into_iter().enumerate();
        predictions
            .map(|(index, prediction)| number(&network, prediction, &|| image(index)))
            .collect()
    }

    /// The effective network of a task, from the cache or newly built.
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

    // A poisoned lock is safe: map operations under it do not panic half-way.

    fn read_tasks(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_tasks(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.tasks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backbone {
    /// Predicts images with the backbone's own head, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::NoHead`], images that cannot be prepared, and [`Error::NotNumbers`].
    pub fn predict(
        &self,
        images: &[Image],
        preprocessing: &Preprocessing,
    ) -> Result<Vec<Prediction>> {
        self.own_head()?;
        predict_batches(images, preprocessing, self.device(), |images| {
            self.answers(images)
        })
    }

    /// Predicts prepared images with the backbone's own head, in their order. The results are
    /// bit-identical to those of [`predict`](Self::predict). An image whose outputs are not finite
    /// gets [`Error::NotNumbers`]; the other images get their predictions.
    ///
    /// # Errors
    ///
    /// Those of [`own_head`](Self::own_head), and images prepared for another device.
    pub fn answers(&self, images: &PreparedImages) -> Result<Vec<Result<Prediction>>> {
        let (head, classes) = (self.own_head()?, &self.own_classes()?.names);
        if images.device() != self.device() {
            let reason = "the images were prepared for another device";
            return Err(Error::setting("device", reason));
        }
        let forward = |batch| head.forward(self.network().forward(batch));
        Ok(answers("the backbone", classes, images, forward))
    }
}

/// The predictions of `network`, or an error for each image whose outputs are not finite.
fn answers(
    network: &str,
    classes: &Arc<[String]>,
    images: &PreparedImages,
    forward: impl Fn(Tensor<4>) -> Tensor<2>,
) -> Vec<Result<Prediction>> {
    images
        .batches()
        .flat_map(|batch| predictions(forward(batch), classes))
        .map(|prediction| number(network, prediction, &|| None))
        .collect()
}

/// Prepares and predicts images in batches, so that memory does not grow with their number.
fn predict_batches(
    images: &[Image],
    preprocessing: &Preprocessing,
    device: &Device,
    answers: impl Fn(&PreparedImages) -> Result<Vec<Result<Prediction>>>,
) -> Result<Vec<Prediction>> {
    let mut all = Vec::with_capacity(images.len());
    for images in images.chunks(BATCH) {
        let prepared = PreparedImages::new(images, preprocessing, device)?;
        for prediction in answers(&prepared)? {
            all.push(prediction?);
        }
    }
    Ok(all)
}

fn of_task(name: &str) -> String {
    format!("task '{name}'")
}

/// The prediction of `network` if it is finite; `image` names the image in the error.
fn number(
    network: &str,
    prediction: Prediction,
    image: &dyn Fn() -> Option<String>,
) -> Result<Prediction> {
    let mut outputs = prediction.logits.iter().enumerate();
    match outputs.find(|(_, logit)| !logit.is_finite()) {
        None => Ok(prediction),
        Some((class, &value)) => Err(Error::NotNumbers {
            network: network.to_owned(),
            class,
            value,
            image: image(),
        }),
    }
}

/// The rows of logits `[batch, classes]` as predictions.
fn predictions(logits: Tensor<2>, classes: &Arc<[String]>) -> Vec<Prediction> {
    values(logits)
        .chunks(classes.len())
        .map(|logits| Prediction::new(classes.clone(), logits.to_vec()))
        .collect()
}

/// Memory of a task's coded bits, batch norms and head: about the size of its file.
fn task_bytes(task: &TaskFile) -> usize {
    task.part_bytes().total()
}
