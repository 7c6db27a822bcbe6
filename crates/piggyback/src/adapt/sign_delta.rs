//! Sparse sign deltas: the largest changes of a network, as signs and a scale per tensor.

use std::collections::BTreeMap;

use piggyback_task::{BitMask, Delta};

use crate::error::Result;

/// How a weight tensor changed.
pub(crate) struct Change {
    shape: Vec<usize>,
    change: Vec<f32>,
    /// Positions, those of the largest changes first.
    order: Vec<u32>,
    /// What keeping the first `counts[i]` of them is worth: the squared error that it takes away,
    /// relative to the tensor's mean square weight.
    choices: Vec<Choice>,
}

/// A number of changes that may be kept.
#[derive(Clone, Copy, Debug)]
struct Choice {
    count: usize,
    worth: f64,
    bits: f64,
}

/// The numbers of kept changes that are considered grow by this factor.
const GROWTH: f64 = 1.15;

impl Change {
    /// From a tensor before and after fine-tuning, in row-major order.
    pub(crate) fn new(shape: Vec<usize>, before: &[f32], after: &[f32]) -> Self {
        let change: Vec<f32> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        let mut order: Vec<u32> = (0..change.len() as u32)
            .filter(|i| change[*i as usize] != 0.0)
            .collect();
        let magnitude = |i: u32| change[i as usize].abs();
        // Equal magnitudes stay in the order of positions, so that the result is one.
        order.sort_by(|a, b| magnitude(*b).total_cmp(&magnitude(*a)));
        let square: f64 = before.iter().map(|weight| f64::from(*weight).powi(2)).sum();
        let unit = (square / before.len().max(1) as f64).max(f64::MIN_POSITIVE);
        let (mut choices, mut sum, mut next) = (Vec::new(), 0.0, 1);
        for (i, position) in order.iter().enumerate() {
            let count = i + 1;
            sum += f64::from(magnitude(*position));
            if count == next || count == order.len() {
                choices.push(Choice {
                    count,
                    // `count` changes replaced by their mean magnitude.
                    worth: sum * sum / count as f64 / unit,
                    bits: bits(change.len(), count),
                });
                next = ((next as f64 * GROWTH) as usize).max(next + 1);
            }
        }
        Self {
            shape,
            change,
            order,
            choices,
        }
    }

    /// Number of weights that changed.
    pub(crate) fn count_changed(&self) -> usize {
        self.order.len()
    }

    /// The number of changes to keep when a bit must be worth `price`.
    fn count(&self, price: f64) -> usize {
        let best = (self.choices.iter())
            .map(|choice| (choice.worth - price * choice.bits, choice.count))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((gain, count)) if gain > 0.0 => count,
            _ => 0,
        }
    }

    /// The largest `count` changes; none for 0.
    fn delta(&self, count: usize) -> Result<Option<Delta>> {
        if count == 0 {
            return Ok(None);
        }
        let mut kept = self.order[..count].to_vec();
        kept.sort_unstable();
        let sum: f64 = (kept.iter())
            .map(|i| f64::from(self.change[*i as usize].abs()))
            .sum();
        let scale = (sum / count as f64) as f32;
        let mut next = kept.iter().copied().peekable();
        let changed = BitMask::from_fn(self.change.len(), |i| {
            next.next_if_eq(&(i as u32)).is_some()
        });
        let mut next = kept.iter().copied().peekable();
        let up = BitMask::from_fn(self.change.len(), |i| {
            next.next_if_eq(&(i as u32)).is_some() && self.change[i] > 0.0
        });
        Ok(Some(Delta::new(self.shape.clone(), changed, up, scale)?))
    }

    /// The sum of the squares of all changes, relative to the tensor's mean square weight, and of
    /// what `delta` leaves of them.
    pub(crate) fn squares(&self, before: &[f32], delta: Option<&Delta>) -> [f64; 2] {
        let square: f64 = before.iter().map(|weight| f64::from(*weight).powi(2)).sum();
        let unit = (square / before.len().max(1) as f64).max(f64::MIN_POSITIVE);
        let all: f64 = self.change.iter().map(|x| f64::from(*x).powi(2)).sum();
        let mut left = self.change.clone();
        if let Some(delta) = delta {
            let (changed, up) = (delta.changed().to_bits(), delta.up_of_changed().to_bits());
            for (i, up) in changed.positions(true).zip(up.iter()) {
                left[i] -= if up { delta.scale() } else { -delta.scale() };
            }
        }
        let left: f64 = left.iter().map(|x| f64::from(*x).powi(2)).sum();
        [all / unit, left / unit]
    }
}

/// About how many bits `count` signed positions among `len` take: their entropy.
fn bits(len: usize, count: usize) -> f64 {
    let (n, k) = (len as f64, count as f64);
    let entropy = |k: f64| if k > 0.0 { -k * (k / n).log2() } else { 0.0 };
    entropy(k) + entropy(n - k) + k
}

/// Keeps the changes that are worth most for their bits, over all tensors, such that `fits` accepts
/// the deltas. With none at all it must accept them.
///
/// A bit costs the same in every tensor: the price at which the deltas just fit is found by
/// bisection (Shoham and Gersho, *Efficient Bit Allocation for an Arbitrary Set of Quantizers*,
/// 1988). Just below that price some tensors keep many more changes at once; as many of them as fit
/// do.
pub(crate) fn largest_that_fit(
    changes: &BTreeMap<String, Change>,
    fits: &dyn Fn(&BTreeMap<String, Delta>) -> Result<bool>,
) -> Result<BTreeMap<String, Delta>> {
    let deltas = |counts: &[usize]| -> Result<BTreeMap<String, Delta>> {
        let mut deltas = BTreeMap::new();
        for ((name, change), count) in changes.iter().zip(counts) {
            if let Some(delta) = change.delta(*count)? {
                deltas.insert(name.clone(), delta);
            }
        }
        Ok(deltas)
    };
    let at = |price: f64| -> Vec<usize> {
        let counts = changes.values().map(|change| change.count(price));
        counts.collect()
    };
    let fit = |counts: &[usize]| fits(&deltas(counts)?);
    let mut more = at(0.0);
    if fit(&more)? {
        return deltas(&more);
    }
    let mut counts = vec![0; changes.len()];
    // Prices as powers of two: what a bit can be worth spans many magnitudes.
    let (mut low, mut high) = (-80.0f64, 80.0f64);
    for _ in 0..24 {
        let middle = (low + high) / 2.0;
        let found = at(middle.exp2());
        match fit(&found)? {
            true => (counts, high) = (found, middle),
            false => (more, low) = (found, middle),
        }
    }
    // The first tensors that would keep more do so, and the next one keeps as many as fit.
    let whole = last_that_holds(changes.len(), &mut |tensors| {
        fit(&[&more[..tensors], &counts[tensors..]].concat())
    })?;
    counts[..whole].copy_from_slice(&more[..whole]);
    if let Some(change) = changes.values().nth(whole) {
        let mut choices = vec![counts[whole]];
        let larger = change.choices.iter().map(|choice| choice.count);
        choices.extend(larger.filter(|count| (counts[whole] + 1..more[whole]).contains(count)));
        let chosen = last_that_holds(choices.len() - 1, &mut |choice| {
            let mut counts = counts.clone();
            counts[whole] = choices[choice];
            fit(&counts)
        })?;
        counts[whole] = choices[chosen];
    }
    deltas(&counts)
}

/// The largest number up to `most` for which `holds`, which holds for 0 and not again once it does
/// not.
fn last_that_holds(most: usize, holds: &mut dyn FnMut(usize) -> Result<bool>) -> Result<usize> {
    let (mut good, mut bad) = (0, most + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match holds(middle)? {
            true => good = middle,
            false => bad = middle,
        }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: &[f32], after: &[f32]) -> Change {
        Change::new(vec![before.len()], before, after)
    }

    #[test]
    fn the_largest_changes_are_kept() {
        let change = change(&[1.0; 6], &[1.0, 3.0, 0.0, 1.5, 1.0, -2.0]);
        let delta = change.delta(2).unwrap().unwrap();
        let changed: Vec<usize> = delta.changed().to_bits().positions(true).collect();
        assert_eq!((changed, delta.scale()), (vec![1, 5], 2.5));
        assert_eq!(delta.up().positions(true).collect::<Vec<_>>(), [1]);
        // 4 + 1 + 0.25 + 9 before; 0.25 + 1 + 0.25 + 0.25 are left.
        assert_eq!(change.squares(&[1.0; 6], Some(&delta)), [14.25, 1.75]);
    }

    #[test]
    fn tensors_with_larger_changes_get_the_bits() {
        let before = vec![1.0; 1000];
        let moved = |by: f32| -> Vec<f32> {
            (0..1000)
                .map(|i| if i % 10 == 0 { 1.0 + by } else { 1.001 })
                .collect()
        };
        let changes = BTreeMap::from([
            ("a".to_owned(), change(&before, &moved(0.5))),
            ("b".to_owned(), change(&before, &moved(0.05))),
        ]);
        let bytes = |deltas: &BTreeMap<String, Delta>| -> usize {
            deltas.values().map(Delta::size_bytes).sum()
        };
        let fit = |limit: usize| {
            let deltas = largest_that_fit(&changes, &|deltas| Ok(bytes(deltas) <= limit)).unwrap();
            assert!(bytes(&deltas) <= limit);
            ["a", "b"].map(|name| {
                let delta = deltas.get(name);
                delta.map_or(0, |delta| delta.changed().ones_count())
            })
        };
        assert_eq!(fit(0), [0, 0]);
        let [a, b] = fit(90);
        assert!(a > 90 && b < 30, "{a} {b}");
        // Changes of one size are worth the same each: as many are kept as fit.
        let signs = (0..4000u32).map(|i| if i * i % 7 < 3 { 1.5 } else { 0.5 });
        let equal = change(&[1.0; 4000], &signs.collect::<Vec<f32>>());
        let equal = BTreeMap::from([("a".to_owned(), equal)]);
        let fitting = largest_that_fit(&equal, &|deltas| Ok(bytes(deltas) <= 100)).unwrap();
        assert!((60..=100).contains(&bytes(&fitting)), "{}", bytes(&fitting));
        let [a, b] = fit(200);
        assert!(a > 90 && b > 90, "{a} {b}");
        // The many small changes would only make the scale of the large ones smaller.
        assert_eq!(fit(10_000), fit(200));
    }
}
