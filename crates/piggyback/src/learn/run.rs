//! A run: what every method's learning shares.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::event::Event;
use super::learned::Learned;
use crate::error::Result;

/// How often a run leaves a checkpoint within an epoch unless it is asked otherwise. Of the
/// training steps, a power cut costs these ten minutes at most.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);

/// Where a run keeps its files, who may stop it, and who is told how it goes.
///
/// ```no_run
/// use piggyback::data::ImageFolder;
/// use piggyback::learn::{Event, Run};
/// use piggyback::methods::TrainConfig;
/// use piggyback::{Backbone, Device};
///
/// let backbone = Backbone::load("mobilenet_v2.pth", &Device::flex())?;
/// let mut masks = TrainConfig::default();
/// masks.images.image_size = Some(96);
/// let learned = Run::new()
///     .folder("birds.run")
///     .resume(true)
///     .observe(|event| {
///         if let Event::Epoch(epoch) = event {
///             println!("{:.1} % validation error", epoch.validation_error);
///         }
///     })
///     .learn(&masks, &backbone, &ImageFolder::open("data/birds")?)?;
/// learned.product.save("birds.task.safetensors")?;
/// # Ok::<(), piggyback::Error>(())
/// ```
pub struct Run<'a> {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) resume: bool,
    pub(crate) checkpoint_every: Duration,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) observe: Box<dyn FnMut(&Event) + 'a>,
}

/// A method with its settings, as a [`Run`] learns with it.
pub trait Learn {
    /// What it starts from: a backbone, or a device where everything is drawn at random.
    type Start<'s>;
    /// What it learns from: the images of one task, or several data sets.
    type Data: ?Sized;
    /// What it leaves.
    type Product;

    /// Learns in `run`.
    ///
    /// # Errors
    ///
    /// Settings, images or checkpoints that cannot be used, a loss that stops being a number, and
    /// [`Error::Interrupted`](crate::Error::Interrupted) when it was asked to stop.
    fn learn(
        &self,
        run: Run<'_>,
        start: Self::Start<'_>,
        data: &Self::Data,
    ) -> Result<Learned<Self::Product>>;
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            folder: None,
            resume: false,
            checkpoint_every: CHECKPOINT_EVERY,
            stop: Arc::default(),
            observe: Box::new(|_| {}),
        }
    }
}

impl<'a> Run<'a> {
    /// A run that keeps nothing on disk and tells nobody how it goes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps settings, metrics, curves and checkpoints in this folder, which is made if needed.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Continues from the folder's checkpoint, if there is one; otherwise an old checkpoint is removed as soon as the
    /// settings and images have been checked.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Leaves a checkpoint in the folder this often within an epoch, [`CHECKPOINT_EVERY`] if not asked otherwise; zero
    /// means at each step. There is always one at the end of an epoch.
    #[must_use]
    pub fn checkpoint_every(mut self, time: Duration) -> Self {
        self.checkpoint_every = time;
        self
    }

    /// Stops after the step during which this becomes true, and leaves a checkpoint.
    #[must_use]
    pub fn stop_when(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Is told how it goes.
    #[must_use]
    pub fn observe(mut self, observe: impl FnMut(&Event) + 'a) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Learns with `method` from `data`, beginning at `start`.
    ///
    /// Validation images come from `val/`, or are a share of `train/`. Everything random comes from the method's seed: a
    /// run that is stopped and resumed leaves the same, bit for bit.
    ///
    /// # Errors
    ///
    /// Those of [`Learn::learn`].
    pub fn learn<M: Learn>(
        self,
        method: &M,
        start: M::Start<'_>,
        data: &M::Data,
    ) -> Result<Learned<M::Product>> {
        method.learn(self, start, data)
    }
}
