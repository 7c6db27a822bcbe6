//! A training run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::event::Event;
use super::learned::Learned;
use crate::error::Result;

/// The default interval of mid-epoch checkpoints. A power cut loses at most ten minutes of
/// training.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(600);

/// A training run: its folder, stop flag, observer and checkpoint interval.
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

/// A method with its settings, for [`Run::learn`].
pub trait Learn {
    /// The start: a backbone, or an architecture and device for random initialization.
    type Start<'s>;
    /// The data: the images of one task, or several data sets.
    type Data: ?Sized;
    /// The product.
    type Product;

    /// Trains in `run`.
    ///
    /// # Errors
    ///
    /// Invalid settings, images or checkpoints, a loss that is not finite, and
    /// [`Error::Interrupted`](crate::Error::Interrupted) if the run was stopped.
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
    /// A run without a folder or an observer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes settings, metrics, curves and checkpoints to this folder, which is created if needed.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Whether to resume from the folder's checkpoint, if there is one. If `false`, an old
    /// checkpoint is removed once the settings and images have been checked.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// The interval of mid-epoch checkpoints, by default [`CHECKPOINT_EVERY`]. Zero means after
    /// each step. There is always a checkpoint at the end of an epoch.
    #[must_use]
    pub fn checkpoint_every(mut self, time: Duration) -> Self {
        self.checkpoint_every = time;
        self
    }

    /// Once the flag is true, the run stops after the current step and writes a checkpoint.
    #[must_use]
    pub fn stop_when(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Calls `observe` with each event.
    #[must_use]
    pub fn observe(mut self, observe: impl FnMut(&Event) + 'a) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Trains with `method` on `data`, from `start`.
    ///
    /// Validation images come from `val/`, or are a share of `train/`. All randomness comes from
    /// the method's random seed: a run that is stopped and resumed gives a bit-identical result.
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
