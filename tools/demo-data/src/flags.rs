//! The task `flags`: which country's flag is this? Learnt from rectangles and emoji, tested on
//! round flags.

use anyhow::Result;

use super::download::Cache;
use super::iconify::IconSet;
use super::openmoji::{OpenMoji, Style};
use super::packages::{CIRCLE_FLAGS, FLAG, OPENMOJI, TWEMOJI};
use super::task::Task;
use super::tree::{Drawing, Picture, Split};

pub(crate) const TASK: Task = Task {
    name: "flags",
    packages: || vec![&FLAG, &CIRCLE_FLAGS, &TWEMOJI, &OPENMOJI],
    pictures,
};

/// Countries that all four sets draw; the class is the two-letter code of ISO 3166-1.
fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let rectangles = IconSet::read(cache, &FLAG)?;
    let circles = IconSet::read(cache, &CIRCLE_FLAGS)?;
    let twemoji = IconSet::read(cache, &TWEMOJI)?;
    let openmoji = OpenMoji::read(cache, Style::Colour)?;

    let mut pictures = Vec::new();
    for emoji in &openmoji.emoji {
        let code = emoji.code();
        let Some(country) = country(&code) else {
            continue;
        };
        let (Some(rectangle), Some(circle), Some(twemoji)) = (
            rectangles.svg(&format!("{country}-4x3")),
            circles.svg(&country),
            twemoji.svg_of_code(&code),
        ) else {
            continue;
        };
        let mut push = |split, set: &str, svg| {
            let (class, file) = (country.clone(), format!("{set}-{code}"));
            pictures.push(Picture {
                split,
                class,
                file,
                drawing: Drawing::Svg(svg),
            });
        };
        push(Split::Train, "flag", rectangle);
        push(Split::Train, "twemoji", twemoji);
        push(Split::Train, "openmoji", openmoji.svg(emoji)?);
        push(Split::Test, "circle", circle);
    }
    Ok(pictures)
}

/// The letters of an emoji that is a pair of regional indicators (U+1F1E6 is `a`).
fn country(code: &str) -> Option<String> {
    let letter = |point: &str| {
        let index = u32::from_str_radix(point, 16).ok()?.checked_sub(0x1f1e6)?;
        (b'a'..=b'z').nth(index as usize).map(char::from)
    };
    let (first, second) = code.split_once('-')?;
    Some(String::from_iter([letter(first)?, letter(second)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn country_is_spelt_by_regional_indicators() {
        assert_eq!(country("1f1eb-1f1f7").as_deref(), Some("fr"));
        assert_eq!(country("1f1e6-1f1ff").as_deref(), Some("az"));
    }

    #[test]
    fn other_emoji_are_no_countries() {
        for code in [
            "1f1eb",
            "1f600",
            "1f1eb-1f200",
            "1f1e5-1f1e6",
            "1f1eb-1f1f7-1f1f7",
            "",
        ] {
            assert_eq!(country(code), None, "{code}");
        }
    }
}
