//! OpenMoji: a table of every emoji with its group, and two drawings of each.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::archive;
use super::download::Cache;
use super::packages::OPENMOJI;

/// A row of `data/openmoji.csv`.
#[derive(Debug, Deserialize)]
pub(crate) struct Emoji {
    /// Code points as hexadecimal digits joined by `-`, as OpenMoji spells them.
    hexcode: String,
    pub(crate) group: String,
    #[serde(rename = "subgroups")]
    pub(crate) subgroup: String,
    /// Digits of the skin tones; empty for the emoji itself.
    pub(crate) skintone: String,
}

impl Emoji {
    /// The code points, [normalised](normalise).
    pub(crate) fn code(&self) -> String {
        normalise(&self.hexcode)
    }

    /// The first code point in upper-case hexadecimal digits: shared by an emoji's variants (man,
    /// man farmer, man running, ...).
    pub(crate) fn base(&self) -> &str {
        self.hexcode.split('-').next().unwrap_or_default()
    }
}

/// Which of OpenMoji's two drawings.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    Colour,
    /// Black lines.
    Black,
}

/// OpenMoji's table and its drawings in one style.
pub(crate) struct OpenMoji {
    pub(crate) emoji: Vec<Emoji>,
    drawings: BTreeMap<String, String>,
    folder: &'static str,
}

impl OpenMoji {
    pub(crate) fn read(cache: &Cache, style: Style) -> Result<Self> {
        let folder = match style {
            Style::Colour => "color/svg/",
            Style::Black => "black/svg/",
        };
        const TABLE: &str = "data/openmoji.csv";
        let mut drawings = archive::read_npm(&cache.path(&OPENMOJI), |name| {
            name == TABLE || (name.starts_with(folder) && name.ends_with(".svg"))
        })?;
        let table = drawings
            .remove(TABLE)
            .with_context(|| format!("{} has no {TABLE}", OPENMOJI.archive()))?;
        let emoji = parse(&table)
            .with_context(|| format!("cannot read {TABLE} of {}", OPENMOJI.archive()))?;
        Ok(Self {
            emoji,
            drawings,
            folder,
        })
    }

    /// The SVG document of `emoji`.
    pub(crate) fn svg(&self, emoji: &Emoji) -> Result<String> {
        let name = format!("{}{}.svg", self.folder, emoji.hexcode);
        let svg = self.drawings.get(&name);
        svg.cloned()
            .with_context(|| format!("{} has no {name}", OPENMOJI.archive()))
    }
}

fn parse(table: &str) -> Result<Vec<Emoji>> {
    let rows = csv::Reader::from_reader(table.as_bytes()).into_deserialize();
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One spelling of an emoji's code points for all sets: lower case and without the variation
/// selector U+FE0F, which some sets write and others leave out.
pub(crate) fn normalise(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    code.split('-')
        .filter(|point| *point != "fe0f")
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Rows of hexcode, group, subgroup and skin tone.
    pub(crate) fn table(rows: &[(&str, &str, &str, &str)]) -> Vec<Emoji> {
        let owned = |&(hexcode, group, subgroup, skintone): &(&str, &str, &str, &str)| Emoji {
            hexcode: hexcode.to_owned(),
            group: group.to_owned(),
            subgroup: subgroup.to_owned(),
            skintone: skintone.to_owned(),
        };
        rows.iter().map(owned).collect()
    }

    #[test]
    fn code_points_have_one_spelling() {
        assert_eq!(normalise("1F600"), "1f600");
        assert_eq!(normalise("2764-FE0F-200D-1F525"), "2764-200d-1f525");
        assert_eq!(normalise("0023-fe0f-20e3"), "0023-20e3");
    }

    #[test]
    fn quoted_commas_and_quotes_stay_in_their_column() {
        let table = "emoji,hexcode,group,subgroups,annotation,tags,skintone\n\
                     x,0023-FE0F-20E3,symbols,keycap,\"keycap, \"\"#\"\"\",\"a, b\",\n\
                     y,1F44B-1F3FB,people-body,hand-fingers-open,wave,,1\n";
        let emoji = parse(table).unwrap();
        assert_eq!(emoji.len(), 2);
        assert_eq!(
            (
                emoji[0].group.as_str(),
                emoji[0].subgroup.as_str(),
                emoji[0].skintone.as_str()
            ),
            ("symbols", "keycap", "")
        );
        assert_eq!(
            (emoji[0].code().as_str(), emoji[0].base()),
            ("0023-20e3", "0023")
        );
        assert_eq!(
            (emoji[1].skintone.as_str(), emoji[1].base()),
            ("1", "1F44B")
        );
    }

    #[test]
    fn table_without_the_columns_is_refused() {
        assert!(parse("emoji,code\nx,1F600\n").is_err());
    }
}
