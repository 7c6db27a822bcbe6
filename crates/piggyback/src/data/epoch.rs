//! The decoding threads of one epoch, and the iterator that yields their batches in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::batch::Batch;
use super::error::Error;
use super::source::Source;

/// One epoch's work, shared by its threads and the iterator.
#[derive(Debug)]
struct Work {
    source: Arc<Source>,
    epoch: u64,
    order: Vec<u32>,
    /// Maximum number of batches in memory.
    window: usize,
    stopped: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// The next batch for a thread.
    claimed: usize,
    /// The next batch that the iterator yields.
    yielded: usize,
    ready: BTreeMap<usize, Result<Batch, Error>>,
    worker_died: bool,
}

impl Work {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, progress: MutexGuard<'a, Progress>) -> MutexGuard<'a, Progress> {
        self.changed
            .wait(progress)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's loop: claim a batch within the window, decode it, deliver it.
    fn run(&self) {
        let _notice = DeathNotice(self);
        while let Some(number) = self.claim() {
            let indices = &self.order[self.source.batches.range(number)];
            let stopped = || self.stopped.load(Ordering::Relaxed);
            let Some(batch) = self.source.batch(self.epoch, indices, stopped) else {
                return;
            };
            self.progress().ready.insert(number, batch);
            self.changed.notify_all();
        }
    }

    fn claim(&self) -> Option<usize> {
        let mut progress = self.progress();
        loop {
            if self.stopped.load(Ordering::Relaxed)
                || progress.claimed >= self.source.batches.count()
            {
                return None;
            }
            if progress.claimed < progress.yielded + self.window {
                progress.claimed += 1;
                return Some(progress.claimed - 1);
            }
            progress = self.wait(progress);
        }
    }

    /// Waits for a batch.
    fn take(&self, number: usize) -> Result<Batch, Error> {
        let mut progress = self.progress();
        loop {
            if let Some(batch) = progress.ready.remove(&number) {
                progress.yielded = number + 1;
                self.changed.notify_all();
                return batch;
            }
            if progress.worker_died {
                let source = std::io::Error::other("it panicked");
                return Err(Error::Worker { source });
            }
            progress = self.wait(progress);
        }
    }

    fn stop(&self) {
        // Under the lock, or a thread about to wait would miss it.
        let _progress = self.progress();
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

/// Notifies the iterator when a thread panics, so that it does not wait forever.
struct DeathNotice<'a>(&'a Work);

impl Drop for DeathNotice<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.progress().worker_died = true;
            self.0.changed.notify_all();
        }
    }
}

/// The batches of one epoch; see [`Loader::epoch`](super::loader::Loader::epoch).
#[derive(Debug)]
pub struct Epoch {
    work: Arc<Work>,
    workers: Vec<JoinHandle<()>>,
    failure: Option<Error>,
    next: usize,
    batches: usize,
}

impl Epoch {
    /// Starts the threads at `first_batch`.
    pub(super) fn start(source: Arc<Source>, epoch: u64, first_batch: usize) -> Self {
        let threads = source.config.workers;
        let batches = source.batches.count();
        let work = Arc::new(Work {
            order: source.order(epoch),
            source,
            epoch,
            window: threads + 1,
            stopped: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                claimed: first_batch,
                yielded: first_batch,
                ready: BTreeMap::new(),
                worker_died: false,
            }),
            changed: Condvar::new(),
        });
        let mut workers = Vec::new();
        let mut failure = None;
        for _ in 0..threads.min(batches.saturating_sub(first_batch)) {
            let shared = work.clone();
            match thread::Builder::new()
                .name("decode".into())
                .spawn(move || shared.run())
            {
                Ok(worker) => workers.push(worker),
                Err(source) => failure = Some(Error::Worker { source }),
            }
        }
        // Fewer threads than requested are slower, but sufficient.
        let failure = failure.filter(|_| workers.is_empty());
        Self {
            work,
            workers,
            failure,
            next: first_batch,
            batches,
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.batches {
            return None;
        }
        let batch = match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.work.take(self.next),
        };
        self.next += 1;
        if batch.is_err() {
            self.next = self.batches;
            self.work.stop();
        }
        Some(batch)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.work.stop();
        for worker in self.workers.drain(..) {
            // A panic was already reported by `take`.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use piggyback_task::{Interpolation, Preprocessing, Resize};
    use tempfile::TempDir;

    use super::*;
    use crate::data::batch::LoaderConfig;
    use crate::data::folder::ImageFolder;
    use crate::data::loader::Loader;

    /// 20 batches of 2.
    fn loader(dir: &TempDir) -> Loader {
        for image in 0..40 {
            let class = dir.path().join(["a", "b"][image % 2]);
            std::fs::create_dir_all(&class).unwrap();
            image::RgbImage::new(3, 3)
                .save(class.join(format!("{image}.png")))
                .unwrap();
        }
        let preprocessing = Preprocessing {
            image_size: 3,
            interpolation: Interpolation::Bilinear,
            mean: [0.0; 3],
            resize: Resize::Squash,
            std: [1.0; 3],
        };
        let samples = ImageFolder::open(dir.path()).unwrap().train().clone();
        let config = LoaderConfig {
            workers: 2,
            ..LoaderConfig::training(2, 0, None)
        };
        Loader::new(samples, preprocessing, config).unwrap()
    }

    #[test]
    fn dropping_an_epoch_stops_its_threads() {
        let dir = tempfile::tempdir().unwrap();
        let loader = loader(&dir);
        let mut epoch = loader.epoch(0);
        epoch.next().unwrap().unwrap();
        let work = Arc::downgrade(&epoch.work);
        drop(epoch);
        assert!(work.upgrade().is_none(), "a thread still holds the work");
        drop(loader.epoch(1));
    }

    #[test]
    fn no_more_than_a_few_batches_are_in_flight() {
        let dir = tempfile::tempdir().unwrap();
        let loader = loader(&dir);
        let mut epoch = loader.epoch(0);
        for taken in 1..=20 {
            epoch.next().unwrap().unwrap();
            assert!(epoch.work.progress().claimed <= taken + 3);
        }
        assert!(epoch.next().is_none());
    }
}
