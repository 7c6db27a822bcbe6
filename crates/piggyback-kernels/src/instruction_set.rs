//! Selection of the instruction set. Results do not depend on it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::simd::Isa;

/// A set of vector instructions of this CPU that its kernels are compiled for.
///
/// Kernels find the widest by themselves, and all give the same bits. Choosing another is for checking
/// that, as `piggyback verify` does.
///
/// ```
/// use piggyback_kernels::InstructionSet;
///
/// for set in InstructionSet::available() {
///     let answer = set.compute(|| 42);
///     println!("{set}: {answer}");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionSet(Isa);

/// One choice at a time: it holds for the whole process.
static CHOICE: Mutex<()> = Mutex::new(());

impl InstructionSet {
    /// Every set of this CPU: first plain Rust without any, last the one that is used.
    pub fn available() -> Vec<Self> {
        Isa::all().into_iter().map(Self).collect()
    }

    /// `portable`, `neon`, `avx2`, `avx512`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Does `work` with this set, in all threads of the process.
    ///
    /// Waits for others who chose one; must not be called from within `work`, which would wait for itself.
    pub fn compute<T>(self, work: impl FnOnce() -> T) -> T {
        /// Back to the widest, even when `work` panics.
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                Isa::force(None);
            }
        }
        // What a panic left behind was reset.
        let _choice = CHOICE.lock().unwrap_or_else(PoisonError::into_inner);
        let _reset = Reset;
        Isa::force(Some(self.0));
        work()
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_holds_while_work_is_done() {
        let sets = InstructionSet::available();
        for &set in &sets {
            assert_eq!(set.compute(Isa::best), set.0);
        }
        // Another test may have chosen one meanwhile, but only one of these.
        assert_eq!(sets[0].name(), "portable");
        let panicked = std::panic::catch_unwind(|| sets[0].compute(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(sets[0].compute(Isa::best), Isa::all()[0]);
    }
}
