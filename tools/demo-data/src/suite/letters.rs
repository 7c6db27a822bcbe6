//! The tasks `letters` and `digits`: which character is this, in a font that was never seen?

use anyhow::Result;

use super::fonts::{self, CATEGORIES, Share};
use crate::download::Cache;
use crate::task::Task;
use crate::tree::Picture;

const LETTERS_SHARE: Share = Share { train: 9, test: 5 };

/// Capitals alone: the small letter of many a font is the same drawing, only smaller.
pub(super) const LETTERS: Task = Task {
    name: "letters",
    packages: || fonts::packages("letters", LETTERS_SHARE),
    pictures: |cache| pictures(cache, "letters", LETTERS_SHARE, 'A'..='Z'),
};

const DIGITS_SHARE: Share = Share { train: 8, test: 6 };

/// The task with the fewest training pictures.
pub(super) const DIGITS: Task = Task {
    name: "digits",
    packages: || fonts::packages("digits", DIGITS_SHARE),
    pictures: |cache| pictures(cache, "digits", DIGITS_SHARE, '0'..='9'),
};

/// A picture of each character in each family.
fn pictures(
    cache: &Cache,
    task: &str,
    share: Share,
    characters: impl Iterator<Item = char> + Clone,
) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for category in CATEGORIES {
        for (family, split) in fonts::choose(task, category, share) {
            let typeface = family.read(cache, "latin")?;
            for character in characters.clone() {
                let class = character.to_string();
                pictures.push(typeface.picture(&class, split, &class, "")?);
            }
        }
    }
    Ok(pictures)
}
