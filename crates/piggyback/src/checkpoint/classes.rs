//! Names of the classes of a checkpoint's own head.

use std::sync::Arc;

use super::imagenet_classes;

/// Where the names of a head's classes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClassSource {
    /// The checkpoint names them.
    Checkpoint,
    /// Given by the caller, see [`Backbone::with_classes`](super::Backbone::with_classes).
    Given,
    /// No names are known, and the head has 1000 classes: ImageNet's names.
    Imagenet,
    /// No names are known: numbers from 0.
    Numbers,
}

/// The classes of a checkpoint's own head; class `i` is logit `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadClasses {
    /// Their names.
    pub names: Arc<[String]>,
    /// Where the names come from.
    pub source: ClassSource,
}

impl HeadClasses {
    /// The names for a head of `count` classes. `None` if the checkpoint names another number of
    /// classes.
    pub(crate) fn new(named: Option<&[String]>, count: usize) -> Option<Self> {
        let (names, source) = match named {
            Some(names) if names.len() == count => (names.into(), ClassSource::Checkpoint),
            Some(_) => return None,
            None if count == imagenet_classes().len() => {
                let names = imagenet_classes().map(str::to_owned);
                (names.collect(), ClassSource::Imagenet)
            }
            None => {
                let names = (0..count).map(|class| class.to_string());
                (names.collect(), ClassSource::Numbers)
            }
        };
        Some(Self { names, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_names_classes_then_imagenet_then_numbers() {
        let of = |named: Option<&[String]>, count| {
            let classes = HeadClasses::new(named, count)?;
            Some((classes.names[count - 1].clone(), classes.source))
        };
        let named = ["cat", "dog"].map(str::to_owned);
        let (checkpoint, imagenet) = (ClassSource::Checkpoint, ClassSource::Imagenet);
        assert_eq!(of(Some(&named), 2), Some(("dog".into(), checkpoint)));
        assert_eq!(of(Some(&named), 3), None);
        assert_eq!(of(None, 1000), Some(("toilet tissue".into(), imagenet)));
        assert_eq!(of(None, 3), Some(("2".into(), ClassSource::Numbers)));
    }
}
