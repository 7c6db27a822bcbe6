//! The task `icons`: what does this icon mean, in a set that was never seen?

use std::sync::LazyLock;

use anyhow::Result;

use crate::download::Cache;
use crate::iconify::IconSet;
use crate::packages::{self, Package};
use crate::task::Task;
use crate::tree::{Drawing, Picture, Split};

pub(super) const TASK: Task = Task {
    name: "icons",
    packages: || SETS.iter().map(|(package, _)| package).collect(),
    pictures,
};

/// Of sets that are made from each other, such as Feather and Lucide, one is there, or both are on
/// the same side.
static SETS: LazyLock<Vec<(Package, &'static str)>> =
    LazyLock::new(|| packages::table(include_str!("icons.txt")));

/// The classes, each with the names that sets have for it.
const CONCEPTS: [(&str, &[&str]); 40] = [
    ("bell", &["bell", "notification", "notifications"]),
    ("book", &["book", "book-open"]),
    ("bookmark", &["bookmark"]),
    ("calendar", &["calendar", "calendar-blank"]),
    ("camera", &["camera", "photo-camera"]),
    ("cart", &["shopping-cart", "cart"]),
    ("clock", &["clock", "time"]),
    ("cloud", &["cloud"]),
    ("compass", &["compass"]),
    ("download", &["download"]),
    ("eye", &["eye"]),
    ("flag", &["flag"]),
    ("folder", &["folder"]),
    ("gear", &["gear", "cog", "settings"]),
    ("gift", &["gift"]),
    ("globe", &["globe", "earth", "world"]),
    ("headphones", &["headphones", "headphone", "headset"]),
    ("heart", &["heart", "favorite"]),
    ("home", &["home", "house"]),
    ("image", &["image", "picture", "photo"]),
    ("key", &["key"]),
    ("lightbulb", &["lightbulb", "light-bulb", "bulb", "idea"]),
    ("link", &["link"]),
    ("lock", &["lock", "lock-closed", "padlock"]),
    ("mail", &["mail", "envelope", "email"]),
    ("map-pin", &["map-pin", "map-marker", "geo-alt", "location"]),
    ("microphone", &["microphone", "mic"]),
    ("moon", &["moon"]),
    ("music", &["music", "music-note", "musical-note"]),
    ("paperclip", &["paperclip", "attach", "attachment", "clip"]),
    ("pencil", &["pencil", "edit", "pen"]),
    ("phone", &["telephone", "call", "phone"]),
    ("printer", &["printer", "print"]),
    ("rocket", &["rocket"]),
    (
        "search",
        &["search", "magnifying-glass", "magnify", "magnifier"],
    ),
    ("star", &["star"]),
    ("sun", &["sun", "sunny"]),
    (
        "trash",
        &[
            "trash",
            "trash-can",
            "trash-2",
            "trash-bin",
            "bin",
            "delete",
        ],
    ),
    ("trophy", &["trophy"]),
    ("user", &["user", "person", "account"]),
];

/// Icons whose name means something else in that set: the word "key", a mobile phone, cross hairs.
const OTHER_THINGS: [(&str, &str); 3] = [
    ("@iconify-json/carbon", "key"),
    ("@iconify-json/jam", "phone"),
    ("@iconify-json/teenyicons", "map-pin"),
];

/// What sets append to a name when they draw an icon in more than one style; the first that is
/// there counts.
const STYLES: [&str; 9] = [
    "",
    "-outline",
    "-outlined",
    "-line",
    "-o",
    "-regular",
    "-alt",
    "-1",
    "-01",
];

fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for (package, side) in SETS.iter() {
        let set = IconSet::read(cache, package)?;
        let split = match *side {
            "train" => Split::Train,
            _ => Split::Test,
        };
        for (class, names) in CONCEPTS {
            if OTHER_THINGS.contains(&(package.name, class)) {
                continue;
            }
            let Some(svg) = find(&set, names) else {
                continue;
            };
            let (_scope, prefix) = package.name.split_once('/').unwrap_or_default();
            pictures.push(Picture {
                split,
                class: class.to_owned(),
                file: prefix.to_owned(),
                drawing: Drawing::Svg(svg),
            });
        }
    }
    Ok(pictures)
}

/// The set's drawing under the first of `names` that it has.
fn find(set: &IconSet, names: &[&str]) -> Option<String> {
    let mut names = names
        .iter()
        .flat_map(|name| STYLES.map(|style| format!("{name}{style}")));
    names.find_map(|name| set.svg(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iconify;

    #[test]
    fn table_has_sets_on_both_sides() {
        let lines = include_str!("icons.txt").lines();
        let lines = lines.filter(|line| !line.starts_with('#')).count();
        assert_eq!(SETS.len(), lines);
        let sets_of = |wanted| SETS.iter().filter(|(_, side)| *side == wanted).count();
        assert_eq!(sets_of("train") + sets_of("test"), lines);
        assert!(sets_of("train") >= 10 && sets_of("test") >= 5);
    }

    #[test]
    fn concept_is_found_under_other_names_and_styles() {
        let set = iconify::tests::set(&["house-line", "person"]);
        assert!(find(&set, &["home", "house"]).is_some());
        assert!(find(&set, &["user", "person"]).is_some());
        assert!(find(&set, &["star"]).is_none());
    }
}
