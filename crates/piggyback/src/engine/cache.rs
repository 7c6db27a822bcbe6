//! LRU cache of tasks' effective weights, bounded in bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use piggyback_task::TaskFile;

use super::materialise::Materialised;
use crate::error::Result;

/// A task of an engine, with its network once it is built.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) task: Arc<TaskFile>,
    /// The task's classes, which its predictions share.
    pub(super) classes: Arc<[String]>,
    /// Locked while the network is being built, so only requests for this task wait.
    network: Mutex<Option<Arc<Materialised>>>,
    pinned: AtomicBool,
    /// Removed from the engine: requests in progress are still served, but it is not cached again.
    removed: AtomicBool,
}

impl Slot {
    pub(super) fn new(name: String, task: TaskFile) -> Self {
        Self {
            name,
            classes: task.classes.as_slice().into(),
            task: Arc::new(task),
            network: Mutex::default(),
            pinned: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        }
    }

    /// Sets whether its network stays in the cache.
    pub(super) fn pin(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Materialised>>> {
        // A panic while a network was made leaves none.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Networks in the order of their last use.
///
/// Lock order: a slot before the cache. While holding the cache's lock, a slot's lock is only
/// tried, never awaited.
#[derive(Debug, Default)]
pub(super) struct Cache {
    bytes: usize,
    /// The least recently used first.
    recent: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    network: Arc<Materialised>,
}

impl Cache {
    /// A cache of `bytes`. The most recently used network is always kept.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            recent: Mutex::default(),
        }
    }

    /// The network of `slot`; `make` builds it if it is not cached.
    pub(super) fn get_or_make(
        &self,
        slot: &Arc<Slot>,
        make: impl FnOnce() -> Result<Materialised>,
    ) -> Result<Arc<Materialised>> {
        let mut made = slot.lock();
        let network = match &*made {
            Some(network) => network.clone(),
            None => made.insert(Arc::new(make()?)).clone(),
        };
        let mut recent = self.lock();
        recent.retain(|entry| !Arc::ptr_eq(&entry.slot, slot));
        if slot.removed.load(Ordering::SeqCst) {
            *made = None;
        } else {
            recent.push(Entry {
                slot: slot.clone(),
                network: network.clone(),
            });
        }
        drop(made);
        self.trim_locked(&mut recent);
        Ok(network)
    }

    /// Whether the network of `slot` is cached.
    pub(super) fn holds(&self, slot: &Arc<Slot>) -> bool {
        self.lock()
            .iter()
            .any(|entry| Arc::ptr_eq(&entry.slot, slot))
    }

    /// Drops a slot that was removed from the engine.
    pub(super) fn remove(&self, slot: &Arc<Slot>) {
        slot.removed.store(true, Ordering::SeqCst);
        self.lock().retain(|entry| !Arc::ptr_eq(&entry.slot, slot));
    }

    /// Memory of the cached networks.
    pub(super) fn bytes(&self) -> usize {
        self.lock().iter().map(|entry| entry.network.bytes()).sum()
    }

    /// Drops networks beyond the limit. Needed because a network grows when its convolutions are
    /// packed.
    pub(super) fn trim(&self) {
        self.trim_locked(&mut self.lock());
    }

    /// Drops the least recently used networks, except pinned ones and the last used one.
    fn trim_locked(&self, recent: &mut Vec<Entry>) {
        let mut total: usize = recent.iter().map(|entry| entry.network.bytes()).sum();
        let mut at = 0;
        while total > self.bytes && at + 1 < recent.len() {
            let entry = &recent[at];
            if entry.slot.pinned.load(Ordering::SeqCst) {
                at += 1;
                continue;
            }
            // A busy network is trimmed later by its current user.
            let Ok(mut made) = entry.slot.network.try_lock() else {
                at += 1;
                continue;
            };
            *made = None;
            drop(made);
            total -= recent.remove(at).network.bytes();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A panic elsewhere leaves a list of whole networks: safe to go on with.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;
    use std::thread;

    use burn::tensor::Device;
    use piggyback_task::{Head, Matrix, Precision};

    use super::*;
    use crate::checkpoint::{Backbone, LoadOptions};
    use crate::files::TaskDescription;
    use crate::networks::Architecture;
    use crate::test_support::filled;

    /// A backbone, and a task that adds a classifier of two classes.
    fn backbone_and_task() -> (Backbone, TaskFile) {
        let state = filled(Architecture::MobileNetV2, 2);
        let options = LoadOptions::default();
        let backbone = Backbone::from_state_dict(state, options, &Device::flex()).unwrap();
        let features = backbone.architecture().features();
        let classes = vec!["a".into(), "b".into()];
        let about = TaskDescription::new(&backbone, classes, backbone.preprocessing().clone());
        let numbers = vec![0.5; 2 * features];
        let task = about.classifier(Head {
            weight: Matrix::new(2, features, &numbers, Precision::F32).unwrap(),
            bias: vec![0.5; 2],
        });
        (backbone, task)
    }

    #[test]
    fn a_warm_task_answers_while_a_cold_one_is_made() {
        let (backbone, task) = backbone_and_task();
        let make = || Materialised::new(&backbone, "task", &task);
        let cache = Cache::new(usize::MAX);
        let slot = |name: &str| Arc::new(Slot::new(name.into(), task.clone()));
        let (warm, cold) = (slot("warm"), slot("cold"));
        cache.get_or_make(&warm, make).unwrap();
        let (started, starts) = channel();
        let (go_on, goes_on) = channel();
        let (shared, is_cold, make) = (&cache, &cold, &make);
        thread::scope(|scope| {
            scope.spawn(move || {
                shared.get_or_make(is_cold, || {
                    started.send(()).unwrap();
                    goes_on.recv().unwrap();
                    make()
                })
            });
            starts.recv().unwrap();
            // With one lock for all, this would wait for what waits for this.
            let warm = cache.get_or_make(&warm, || panic!("it is there"));
            assert!(warm.is_ok() && !cache.holds(&cold));
            go_on.send(()).unwrap();
        });
        assert!(cache.holds(&cold));
    }

    #[test]
    fn a_cold_task_is_made_once_however_many_ask_for_it() {
        let (backbone, task) = backbone_and_task();
        let cache = Cache::default();
        let slot = Arc::new(Slot::new("cold".into(), task.clone()));
        let made = AtomicUsize::new(0);
        let all_ask = std::sync::Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    all_ask.wait();
                    let network = cache.get_or_make(&slot, || {
                        made.fetch_add(1, Ordering::SeqCst);
                        Materialised::new(&backbone, "cold", &task)
                    });
                    assert!(network.is_ok());
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_task_that_is_taken_out_while_it_is_made_answers_and_is_not_kept() {
        let (backbone, task) = backbone_and_task();
        let cache = Cache::new(usize::MAX);
        let slot = Arc::new(Slot::new("guest".into(), task.clone()));
        let network = cache.get_or_make(&slot, || {
            cache.remove(&slot);
            Materialised::new(&backbone, "guest", &task)
        });
        assert!(network.is_ok() && !cache.holds(&slot));
        assert_eq!((cache.bytes(), slot.lock().is_none()), (0, true));
    }
}
