//! The task `emoji`: which subgroup of emoji is this? Learnt from three designers' drawings, tested
//! on a fourth one's.

use std::collections::BTreeMap;

use anyhow::Result;

use super::download::Cache;
use super::iconify::IconSet;
use super::openmoji::{Emoji, OpenMoji, Style};
use super::packages::{FLUENT, NOTO, OPENMOJI, TWEMOJI};
use super::task::Task;
use super::tree::{Drawing, Picture, Split};

pub(crate) const TASK: Task = Task {
    name: "emoji",
    packages: || vec![&OPENMOJI, &NOTO, &TWEMOJI, &FLUENT],
    pictures,
};

/// Subgroups with fewer emoji in common would leave too little to learn from.
const MIN_EMOJI_PER_CLASS: usize = 12;

fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let openmoji = OpenMoji::read(cache, Style::Colour)?;
    let train_sets = [
        ("noto", IconSet::read(cache, &NOTO)?),
        ("twemoji", IconSet::read(cache, &TWEMOJI)?),
        ("fluent", IconSet::read(cache, &FLUENT)?),
    ];
    let mut pictures = Vec::new();
    for (class, emoji) in common(&openmoji.emoji, &train_sets, MIN_EMOJI_PER_CLASS) {
        for (emoji, drawings) in emoji {
            let code = emoji.code();
            let mut push = |split, set: &str, svg| {
                let file = format!("{set}-{code}");
                let class = class.to_owned();
                pictures.push(Picture {
                    split,
                    class,
                    file,
                    drawing: Drawing::Svg(svg),
                });
            };
            for ((set, _), svg) in train_sets.iter().zip(drawings) {
                push(Split::Train, set, svg);
            }
            push(Split::Test, "openmoji", openmoji.svg(emoji)?);
        }
    }
    Ok(pictures)
}

/// An emoji and its drawing in each set.
type Drawn<'a> = (&'a Emoji, Vec<String>);

/// The emoji every set draws, by subgroup; subgroups with fewer than `min_emoji` are left out.
///
/// People are left out because their skin tones and professions swamp the rest, flags because they
/// are a task of their own, components because they are no pictures.
fn common<'a>(
    table: &'a [Emoji],
    sets: &[(&str, IconSet)],
    min_emoji: usize,
) -> BTreeMap<&'a str, Vec<Drawn<'a>>> {
    let mut classes = BTreeMap::<_, Vec<_>>::new();
    for emoji in table {
        if matches!(emoji.group.as_str(), "people-body" | "flags" | "component") {
            continue;
        }
        let code = emoji.code();
        let drawings: Option<_> = sets.iter().map(|(_, set)| set.svg_of_code(&code)).collect();
        if let Some(drawings) = drawings {
            classes
                .entry(emoji.subgroup.as_str())
                .or_default()
                .push((emoji, drawings));
        }
    }
    classes.retain(|_, emoji| emoji.len() >= min_emoji);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{iconify, openmoji};

    #[test]
    fn classes_are_the_subgroups_with_enough_emoji_in_all_sets() {
        let table = openmoji::tests::table(&[
            ("1F600", "smileys-emotion", "face-smiling", ""),
            ("1F603", "smileys-emotion", "face-smiling", ""),
            ("1F604", "smileys-emotion", "face-smiling", ""),
            ("1F43B", "animals-nature", "animal-mammal", ""),
            ("1F44B", "people-body", "hand", ""),
            ("1F44C", "people-body", "hand", ""),
        ]);
        let all = ["1f600", "1f603", "1f604", "1f43b", "1f44b", "1f44c"];
        let sets = [
            ("a", iconify::tests::set(&all)),
            (
                "b",
                iconify::tests::set(&["1f600", "1f603", "1f43b", "1f44b", "1f44c"]),
            ),
        ];
        let classes = common(&table, &sets, 2);
        assert_eq!(classes.keys().collect::<Vec<_>>(), [&"face-smiling"]);
        let codes: Vec<_> = classes["face-smiling"]
            .iter()
            .map(|(emoji, _)| emoji.code())
            .collect();
        assert_eq!(codes, ["1f600", "1f603"]);
        assert!(
            classes["face-smiling"]
                .iter()
                .all(|(_, drawings)| drawings.len() == 2)
        );
    }
}
