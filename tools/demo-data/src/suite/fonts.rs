//! The families of fonts, as npm's `@fontsource` packages hold them: WOFF files of a weight and a
//! script each.

use std::sync::LazyLock;

use anyhow::{Context, Result};

use crate::archive;
use crate::download::Cache;
use crate::hash::{Random, shuffled};
use crate::lettering::{Lettering, Place};
use crate::packages::{self, Package};
use crate::tree::{Drawing, Picture, Split};

/// Fontsource's categories, in which designers' intentions differ most.
pub(super) const CATEGORIES: [&str; 5] =
    ["serif", "sans-serif", "monospace", "handwriting", "display"];

/// A family, in its regular weight.
pub(super) struct Family {
    pub(super) package: Package,
    category: &'static str,
}

/// Of families that are variants of each other, one alone is in the table: else a test's letters
/// would have been seen in training.
static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let families = packages::table(include_str!("fonts.txt")).into_iter();
    let family = |(package, category)| Family { package, category };
    families.map(family).collect()
});

impl Family {
    /// The family called `id` in fontsource.
    pub(super) fn by_id(id: &str) -> Result<&'static Self> {
        let family = FAMILIES.iter().find(|family| family.id() == id);
        family.with_context(|| format!("suite/fonts.txt has no family `{id}`"))
    }

    pub(super) fn id(&self) -> &'static str {
        let name = self.package.name;
        name.split_once('/').map_or(name, |(_scope, id)| id)
    }

    /// Reads the file with the letters of `subset`.
    pub(super) fn read(&'static self, cache: &Cache, subset: &str) -> Result<Typeface> {
        let path = format!("files/{}-{subset}-400-normal.woff", self.id());
        let archive = cache.path(&self.package);
        let mut files = archive::read_npm_bytes(&archive, |name| name == path)?;
        let context = || format!("{} of {}", path, archive.display());
        let woff = files
            .remove(&path)
            .with_context(|| format!("there is no {}", context()))?;
        let lettering =
            Lettering::read(&woff).with_context(|| format!("cannot read {}", context()))?;
        Ok(Typeface {
            id: self.id(),
            lettering,
        })
    }
}

/// A family that was read.
pub(super) struct Typeface {
    id: &'static str,
    lettering: Lettering,
}

impl Typeface {
    /// A picture of `text`, called after the family and `suffix`. In training its size and place
    /// vary, so that a network cannot learn either.
    pub(super) fn picture(
        &self,
        text: &str,
        split: Split,
        class: &str,
        suffix: &str,
    ) -> Result<Picture> {
        let file = format!("{}{suffix}", self.id);
        let place = match split {
            Split::Train => varied(&mut Random::new(&format!("{class} {file}"))),
            Split::Test => Place::MIDDLE,
        };
        let svg = self.lettering.svg(text, place);
        let svg = svg.with_context(|| format!("cannot draw {text:?} in {}", self.id))?;
        Ok(Picture {
            split,
            class: class.to_owned(),
            file,
            drawing: Drawing::Svg(svg),
        })
    }
}

fn varied(random: &mut Random) -> Place {
    Place {
        size: random.between(0.7, 0.9),
        across: random.between(0.25, 0.75),
        down: random.between(0.25, 0.75),
    }
}

/// How many families of each category a task learns and is tested on.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub(super) train: usize,
    pub(super) test: usize,
}

/// The families of `category` that `task` uses, each on one side.
pub(super) fn choose(
    task: &str,
    category: &str,
    share: Share,
) -> impl Iterator<Item = (&'static Family, Split)> {
    let families = FAMILIES.iter().filter(|family| family.category == category);
    let families = shuffled(families, task, |family| family.id().to_owned());
    let splits = [
        vec![Split::Train; share.train],
        vec![Split::Test; share.test],
    ];
    families.into_iter().zip(splits.concat())
}

/// The packages of the families of all categories that `task` uses.
pub(super) fn packages(task: &str, share: Share) -> Vec<&'static Package> {
    let of_category = |category| choose(task, category, share).map(|(family, _)| &family.package);
    CATEGORIES.into_iter().flat_map(of_category).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn table_is_read_whole() {
        let lines = include_str!("fonts.txt").lines();
        let lines = lines.filter(|line| !line.starts_with('#')).count();
        assert_eq!(FAMILIES.len(), lines);
        let ids: BTreeSet<_> = FAMILIES.iter().map(Family::id).collect();
        assert_eq!(ids.len(), lines, "a family is there twice");
        for family in FAMILIES.iter() {
            assert!(family.package.name.starts_with("@fontsource/"));
            assert_eq!(family.package.sha256.len(), 64, "{}", family.id());
            assert!(family.category == "-" || CATEGORIES.contains(&family.category));
        }
    }

    #[test]
    fn families_are_on_one_side_and_differ_between_tasks() {
        let share = Share { train: 8, test: 6 };
        let choose = |task| choose(task, "serif", share);
        let families: BTreeSet<_> = choose("a").map(|(family, _)| family.id()).collect();
        assert_eq!(families.len(), 14);
        let train = choose("a").filter(|(_, split)| *split == Split::Train);
        assert_eq!(train.count(), 8);
        let others: BTreeSet<_> = choose("b").map(|(family, _)| family.id()).collect();
        assert_ne!(families, others);
    }

    #[test]
    fn unknown_family_is_told() {
        let error = Family::by_id("no-such-font").err().unwrap().to_string();
        assert_eq!(error, "suite/fonts.txt has no family `no-such-font`");
    }
}
