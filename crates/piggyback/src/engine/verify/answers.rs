//! Checks of a task's outputs on random images.

use piggyback_kernels::InstructionSet;
use piggyback_task::{BitMask, Mask, TaskFile};

use super::outcome::{Failure, Outcome, TASK};
use crate::checkpoint::Backbone;
use crate::engine::{Engine, Prediction};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::random::{Purpose, Random};

/// Number of images predicted while other tasks are loaded and removed, and with other thread
/// counts.
const IMAGES: u64 = 3;

/// Number of images predicted together and one by one: not a multiple of a vector or a tile.
const BATCH: u64 = 13;

/// The name of the task used in turn with the checked one.
const OTHER: &str = "other";

/// Predicts images. Their outputs must be finite.
pub(super) fn numbers(backbone: &Backbone, task: &TaskFile) -> Outcome {
    let images = random_images(task, IMAGES)?;
    engine(backbone, TASK, task)?.predict(TASK, &images)?;
    Ok(None)
}

/// Predicts the same images repeatedly while another task is loaded and removed.
pub(super) fn repeat(backbone: &Backbone, task: &TaskFile) -> Outcome {
    let images = random_images(task, IMAGES)?;
    let other = opposite(task)?;
    let first_loaded = engine(backbone, TASK, task)?;
    let first = first_loaded.predict(TASK, &images)?;

    first_loaded.add_task(OTHER, other.clone())?;
    use_other(&first_loaded, &images)?;
    let again = first_loaded.predict(TASK, &images)?;
    same(&first, &again, "after another task was used")?;
    first_loaded.remove_task(OTHER)?;
    let again = first_loaded.predict(TASK, &images)?;
    same(&first, &again, "after another task was removed")?;

    let last_loaded = engine(backbone, OTHER, &other)?;
    use_other(&last_loaded, &images)?;
    last_loaded.add_task(TASK, task.clone())?;
    let again = last_loaded.predict(TASK, &images)?;
    same(&first, &again, "when another task was loaded first")?;
    Ok(None)
}

/// Predicts images together and one by one.
pub(super) fn batch(backbone: &Backbone, task: &TaskFile) -> Outcome {
    let images = random_images(task, BATCH)?;
    let engine = engine(backbone, TASK, task)?;
    let together = engine.predict(TASK, &images)?;
    let mut alone = Vec::new();
    for image in &images {
        alone.extend(engine.predict(TASK, std::slice::from_ref(image))?);
    }
    same(
        &together,
        &alone,
        "when the images are predicted one by one",
    )?;
    Ok(Some(format!("1 image and {BATCH} together")))
}

/// Predicts on one thread and on all.
pub(super) fn threads(backbone: &Backbone, task: &TaskFile) -> Outcome {
    let images = random_images(task, IMAGES)?;
    let engine = engine(backbone, TASK, task)?;
    // At least two, even on a single core.
    let all = rayon::current_num_threads().max(2);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| {
            Failure(format!(
                "cannot start the threads; lower --threads: {error}"
            ))
        })?;
        Ok::<_, Failure>(pool.install(|| engine.predict(TASK, &images))?)
    };
    same(&on(all)?, &on(1)?, &format!("between {all} threads and 1"))?;
    Ok(Some(format!("1 and {all}")))
}

/// Predicts with every instruction set that this CPU has.
pub(super) fn instructions(backbone: &Backbone, task: &TaskFile) -> Outcome {
    // One: without vector instructions it takes seconds.
    let images = random_images(task, 1)?;
    let engine = engine(backbone, TASK, task)?;
    let used = engine.predict(TASK, &images)?;
    let sets = InstructionSet::available();
    for set in &sets {
        let other = set.compute(|| engine.predict(TASK, &images))?;
        same(&used, &other, &format!("with the instruction set '{set}'"))?;
    }
    let names: Vec<&str> = sets.into_iter().map(InstructionSet::name).collect();
    Ok(Some(names.join(", ")))
}

/// A new engine with one task.
fn engine(backbone: &Backbone, name: &str, task: &TaskFile) -> Result<Engine> {
    Engine::new(backbone.clone()).with_task(name, task.clone())
}

/// Predicts with the other task, whose outputs need not be finite.
fn use_other(engine: &Engine, images: &[Image]) -> Result<()> {
    match engine.predict(OTHER, images) {
        Err(Error::NotNumbers { .. }) => Ok(()),
        predictions => predictions.map(drop),
    }
}

/// A maximally different task: it keeps what `task` zeroes, with the backbone's own batch norms.
fn opposite(task: &TaskFile) -> Result<TaskFile> {
    let mut other = TaskFile {
        norms: Default::default(),
        ..task.clone()
    };
    for mask in other.masks.values_mut() {
        let kept: Vec<bool> = mask.keep().to_bits().iter().collect();
        let keep = BitMask::from_fn(kept.len(), |i| !kept[i]);
        *mask = Mask::binary(mask.shape(), keep)?;
    }
    Ok(other)
}

/// Images of random pixels, of the task's size.
fn random_images(task: &TaskFile, count: u64) -> Result<Vec<Image>> {
    let side = task.preprocessing.image_size;
    (0..count).map(|index| random_image(side, index)).collect()
}

/// An image of random pixels, `side` x `side`.
fn random_image(side: u32, index: u64) -> Result<Image> {
    let mut random = Random::new(Purpose::Verify, 0, 0, index);
    let pixels = (0..u64::from(side) * u64::from(side) * 3).map(|_| random.below(256) as u8);
    Ok(Image::from_pixels(side, side, pixels.collect())?)
}

fn same(
    first: &[Prediction],
    again: &[Prediction],
    when: &str,
) -> std::result::Result<(), Failure> {
    match bits(first) == bits(again) {
        true => Ok(()),
        false => Err(Failure(format!("the outputs differ {when}"))),
    }
}

fn bits(predictions: &[Prediction]) -> Vec<u32> {
    (predictions.iter())
        .flat_map(|prediction| &prediction.logits)
        .map(|logit| logit.to_bits())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Check, CheckName};
    use super::*;

    #[test]
    fn a_difference_in_one_bit_fails_a_check() {
        let of = |logit: f32| {
            let classes = ["a", "b"].map(str::to_owned);
            [Prediction::new(classes.into(), vec![1.0, logit])]
        };
        let check = |logit| {
            let outcome = same(&of(0.0), &of(logit), "here").map(|()| None);
            Check::new(CheckName::Batch, outcome)
        };
        assert!(check(0.0).ok);
        let failed = check(-0.0);
        assert!(!failed.ok);
        assert_eq!(failed.reason.as_deref(), Some("the outputs differ here"));
    }

    #[test]
    fn random_images_depend_on_their_number_alone() {
        let [a, again, b] = [1, 1, 2].map(|index| random_image(8, index).unwrap());
        assert_eq!(a, again);
        assert_ne!(a, b);
    }
}
