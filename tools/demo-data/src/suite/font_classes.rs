//! The task `font-classes`: what kind of font is this word set in? The words are the same in all
//! classes, so only the drawing tells.

use anyhow::Result;

use super::fonts::{self, CATEGORIES, Share};
use crate::download::Cache;
use crate::hash::Random;
use crate::task::Task;
use crate::tree::{Picture, Split};

const NAME: &str = "font-classes";

const SHARE: Share = Share {
    train: 24,
    test: 10,
};

const TRAIN_WORDS_PER_FAMILY: usize = 5;
const TEST_WORDS_PER_FAMILY: usize = 6;

pub(super) const TASK: Task = Task {
    name: NAME,
    packages: || fonts::packages(NAME, SHARE),
    pictures,
};

/// Short, so that a letter is some twenty pixels wide.
const WORDS: [&str; 48] = [
    "acorn", "amber", "baker", "birch", "bread", "cabin", "Cedar", "chalk", "cliff", "coral",
    "Daisy", "delta", "drift", "eagle", "Ember", "fable", "ferry", "frost", "Glade", "grape",
    "haven", "hazel", "honey", "igloo", "ivory", "jelly", "jumbo", "kayak", "knoll", "Lemon",
    "lunar", "maple", "mirth", "night", "Ocean", "olive", "pearl", "quart", "quiz", "river",
    "sable", "storm", "tulip", "umber", "vivid", "walnut", "yacht", "zebra",
];

/// A class is a category of fontsource, as the people who publish the fonts see it.
fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for category in CATEGORIES {
        for (family, split) in fonts::choose(NAME, category, SHARE) {
            let typeface = family.read(cache, "latin")?;
            for word in words(family.id(), split) {
                let suffix = format!("-{}", word.to_lowercase());
                pictures.push(typeface.picture(word, split, category, &suffix)?);
            }
        }
    }
    Ok(pictures)
}

/// Different words for a family.
fn words(family: &str, split: Split) -> Vec<&'static str> {
    let count = match split {
        Split::Train => TRAIN_WORDS_PER_FAMILY,
        Split::Test => TEST_WORDS_PER_FAMILY,
    };
    let mut random = Random::new(family);
    let mut words = Vec::new();
    while words.len() < count {
        let word = *random.choose(&WORDS);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_family_differ() {
        let mut chosen = words("abel", Split::Test);
        assert_ne!(chosen, words("acme", Split::Test));
        assert_eq!(chosen[..5], words("abel", Split::Train));
        chosen.sort();
        chosen.dedup();
        assert_eq!(chosen.len(), TEST_WORDS_PER_FAMILY);
    }
}
