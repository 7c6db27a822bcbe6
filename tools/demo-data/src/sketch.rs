//! The task `sketch`: which group of emoji is this line drawing from?

use anyhow::Result;

use super::download::Cache;
use super::hash::fnv1;
use super::openmoji::{Emoji, OpenMoji, Style};
use super::packages::OPENMOJI;
use super::svg;
use super::task::Task;
use super::tree::{Drawing, Picture, Split};

pub(crate) const TASK: Task = Task {
    name: "sketch",
    packages: || vec![&OPENMOJI],
    pictures,
};

fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let openmoji = OpenMoji::read(cache, Style::Black)?;
    let mut pictures = Vec::new();
    for emoji in openmoji.emoji.iter().filter(|emoji| is_wanted(emoji)) {
        let svg = openmoji.svg(emoji)?;
        // OpenMoji 17.0.0 has one: U+1F195, whose colour drawing has no outlines.
        if svg::is_empty(&svg)? {
            continue;
        }
        pictures.push(Picture {
            split: split(emoji.base()),
            class: emoji.group.clone(),
            file: format!("openmoji-black-{}", emoji.code()),
            drawing: Drawing::Svg(svg),
        });
    }
    Ok(pictures)
}

/// One drawing per emoji of Unicode's own groups: skin tones differ by colour alone, which line
/// drawings do not show.
fn is_wanted(emoji: &Emoji) -> bool {
    emoji.skintone.is_empty()
        && !matches!(emoji.group.as_str(), "flags" | "component")
        && !emoji.group.starts_with("extras-")
}

/// Sends 7 of 10 base code points to train. An emoji's variants share the base, so a person's are
/// all on one side. (Emoji that differ by colour alone, such as the hearts, may be on both.)
fn split(base: &str) -> Split {
    if fnv1(base.as_bytes()) % 10 < 7 {
        Split::Train
    } else {
        Split::Test
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openmoji;

    #[test]
    fn about_7_of_10_bases_go_to_train() {
        let bases = (0x1f300..0x1f6f0).map(|point| format!("{point:X}"));
        let train = bases.filter(|base| split(base) == Split::Train).count();
        assert!((650..750).contains(&train), "{train} of 1008");
    }

    #[test]
    fn skin_tones_flags_components_and_extras_are_left_out() {
        let table = openmoji::tests::table(&[
            ("1F44B", "people-body", "hand", ""),
            ("1F44B-1F3FB", "people-body", "hand", "1"),
            ("1F1EB-1F1F7", "flags", "country-flag", ""),
            ("1F3FB", "component", "skin-tone", ""),
            ("E000", "extras-openmoji", "brand", ""),
        ]);
        let wanted: Vec<_> = table.iter().filter(|emoji| is_wanted(emoji)).collect();
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted[0].code(), "1f44b");
    }
}
