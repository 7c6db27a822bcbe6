//! Memory for large buffers: not zeroed before use, and reused for the next buffer of the same
//! size.
//!
//! Every training step needs the same sizes in the same order. New memory from the system is zeroed
//! page by page at first touch, which takes longer than most kernels. So each step reuses the
//! memory that the previous one freed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use super::pages;

/// Smaller buffers are left to the allocator, which keeps such memory itself.
const SMALLEST: usize = 1 << 14;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// Idle buffers by their capacity, and how much memory there is.
struct Pool {
    idle: BTreeMap<usize, Vec<Vec<f32>>>,
    idle_len: usize,
    used_len: usize,
    most_used_len: usize,
}

impl Pool {
    const fn new() -> Self {
        Self {
            idle: BTreeMap::new(),
            idle_len: 0,
            used_len: 0,
            most_used_len: 0,
        }
    }

    /// An idle buffer that `len` values fit without wasting much, or a new one.
    fn take(&mut self, len: usize) -> Vec<f32> {
        let best = self.idle.range_mut(len..=len + len / 8).next();
        let found = best.and_then(|(&capacity, buffers)| Some((capacity, buffers.pop()?)));
        let buffer = if let Some((capacity, buffer)) = found {
            self.forget_if_empty(capacity);
            self.idle_len -= capacity;
            buffer
        } else {
            self.make_room(len);
            let mut buffer = Vec::with_capacity(len);
            pages::prefer_huge(&mut buffer);
            buffer
        };
        self.used_len += buffer.capacity();
        self.most_used_len = self.most_used_len.max(self.used_len);
        buffer
    }

    /// Frees idle buffers, the largest first, as far as they and `len` more values would come to more than was ever in
    /// use at once.
    fn make_room(&mut self, len: usize) {
        while self.used_len + self.idle_len + len > self.most_used_len {
            let Some((&capacity, buffers)) = self.idle.iter_mut().next_back() else {
                return;
            };
            buffers.pop();
            self.idle_len -= capacity;
            self.forget_if_empty(capacity);
        }
    }

    fn forget_if_empty(&mut self, capacity: usize) {
        if self.idle.get(&capacity).is_some_and(Vec::is_empty) {
            self.idle.remove(&capacity);
        }
    }

    fn give_back(&mut self, buffer: Vec<f32>) {
        let capacity = buffer.capacity();
        // Some that come back were never taken: results that a caller has built by itself. They must not pile up.
        self.used_len = self.used_len.saturating_sub(capacity);
        self.make_room(capacity);
        if self.used_len + self.idle_len + capacity > self.most_used_len {
            return;
        }
        self.idle_len += capacity;
        self.idle.entry(capacity).or_default().push(buffer);
    }
}

fn pool<T>(work: impl FnOnce(&mut Pool) -> T) -> T {
    work(&mut POOL.lock().unwrap_or_else(PoisonError::into_inner))
}

fn take(len: usize) -> Vec<f32> {
    match len {
        0..SMALLEST => Vec::with_capacity(len),
        _ => pool(|pool| pool.take(len)),
    }
}

/// Values whose memory serves another buffer when they are dropped.
#[derive(Debug, Default)]
pub struct Recycled(Vec<f32>);

impl Recycled {
    /// Takes the memory of `values` into the pool once they are dropped.
    pub fn new(values: Vec<f32>) -> Self {
        Self(values)
    }

    /// The values, whose memory is not given back by itself any more.
    pub fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.0);
        if values.capacity() >= SMALLEST {
            pool(|pool| pool.give_back(values));
        }
    }
}

impl Deref for Recycled {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Recycled {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: every `f32` is four bytes that are initialised, and bytes have no alignment.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 4 * self.0.len()) }
    }
}

/// `len` values to work in; what they hold is anything.
pub fn scratch(len: usize) -> Recycled {
    let mut values = take(len);
    // Values of a buffer that was used before stay; only what is beyond them is written.
    values.resize(len, 0.0);
    Recycled(values)
}

/// Memory that one thread works in, for one task after the other: it stays with the thread, in whose caches it lies.
#[derive(Debug, Default)]
pub struct Workspace(Vec<f32>);

thread_local! {
    static IDLE_WORKSPACES: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Workspace {
    /// `len` values; what they hold is anything.
    pub fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.capacity() == 0 {
            self.0 = IDLE_WORKSPACES
                .with_borrow_mut(Vec::pop)
                .unwrap_or_default();
        }
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.0.capacity() > 0 {
            let values = std::mem::take(&mut self.0);
            // A thread that is ending has no place for it.
            let _ = IDLE_WORKSPACES.try_with(|idle| idle.borrow_mut().push(values));
        }
    }
}

/// A vector of `len` values, all of which `fill` writes.
///
/// # Safety
///
/// `fill` must write every element.
pub unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = take(len);
    values.clear();
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller vouches that `fill` wrote every element.
    unsafe { values.set_len(len) };
    values
}

/// As [`filled`], for bytes, whose memory is not kept.
///
/// # Safety
///
/// `fill` must write every element.
pub unsafe fn filled_bytes(len: usize, fill: impl FnOnce(&mut [MaybeUninit<u8>])) -> Vec<u8> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: as above.
    unsafe { values.set_len(len) };
    values
}

/// Initialised values as a place to write to.
pub fn overwrite(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the layout is the same, and kernels only ever store initialised values through the result.
    unsafe { &mut *(std::ptr::from_mut(values) as *mut [MaybeUninit<f32>]) }
}

#[cfg(test)]
mod tests {
    use super::{Pool, Workspace};

    fn sizes(pool: &Pool) -> Vec<usize> {
        pool.idle
            .iter()
            .flat_map(|(&size, buffers)| vec![size; buffers.len()])
            .collect()
    }

    #[test]
    fn what_is_given_back_serves_the_next_of_its_size() {
        let mut pool = Pool::new();
        let [first, second] = [1000, 2000].map(|len| pool.take(len));
        let place = first.as_ptr();
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!(sizes(&pool), [1000, 2000]);
        let again = pool.take(990);
        assert_eq!((again.as_ptr(), again.capacity()), (place, 1000));
        // Too wasteful a fit.
        let smaller = pool.take(500);
        assert_eq!(smaller.capacity(), 500);
    }

    #[test]
    fn a_workspace_stays_with_its_thread() {
        let place = Workspace::default().of(1000).as_ptr();
        let mut again = Workspace::default();
        assert_eq!(again.of(900).as_ptr(), place);
        // Another at the same time has memory of its own.
        assert_ne!(Workspace::default().of(900).as_ptr(), place);
        let elsewhere = std::thread::spawn(|| Workspace::default().of(900).as_ptr() as usize);
        assert_ne!(elsewhere.join().unwrap(), place as usize);
    }

    #[test]
    fn idle_memory_and_used_memory_stay_near_the_most_ever_used() {
        let mut pool = Pool::new();
        for round in 0..50 {
            let buffers: Vec<Vec<f32>> =
                (0..4).map(|i| pool.take(1000 + 300 * i + round)).collect();
            for buffer in buffers {
                pool.give_back(buffer);
            }
            assert_eq!(pool.used_len, 0);
            assert_eq!(pool.idle_len, sizes(&pool).iter().sum::<usize>());
            assert!(pool.idle_len <= pool.most_used_len, "round {round}");
        }
        assert!(pool.most_used_len < 7000);
    }

    #[test]
    fn buffers_that_were_never_taken_do_not_pile_up() {
        let mut pool = Pool::new();
        let taken = pool.take(2000);
        pool.give_back(taken);
        for _ in 0..50 {
            pool.give_back(Vec::with_capacity(700));
            assert_eq!(pool.idle_len, sizes(&pool).iter().sum::<usize>());
            assert!(pool.idle_len <= 2000, "{:?}", sizes(&pool));
        }
    }
}
