//! Iconify's JSON icon sets: `icons.json` (drawings) and `chars.json` (code points).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::archive;
use super::download::Cache;
use super::openmoji::normalise;
use super::packages::Package;

/// An icon set. Aliases are left out: they are another icon's drawing.
pub(crate) struct IconSet {
    icons: Icons,
    /// Icon names by normalised code points.
    names: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Icons {
    icons: BTreeMap<String, Icon>,
    width: Option<f64>,
    height: Option<f64>,
}

#[derive(Deserialize)]
struct Icon {
    body: String,
    left: Option<f64>,
    top: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
}

impl IconSet {
    pub(crate) fn read(cache: &Cache, package: &Package) -> Result<Self> {
        let files = archive::read_npm(&cache.path(package), |name| {
            matches!(name, "icons.json" | "chars.json")
        })?;
        let icons = files
            .get("icons.json")
            .with_context(|| format!("{} has no icons.json", package.archive()))?;
        // Sets of anything but emoji and letters have no code points.
        let chars = files.get("chars.json").map_or("{}", String::as_str);
        Self::parse(icons, chars)
            .with_context(|| format!("cannot read the icons of {}", package.archive()))
    }

    fn parse(icons: &str, chars: &str) -> Result<Self> {
        let icons = serde_json::from_str(icons)?;
        let chars: BTreeMap<String, String> = serde_json::from_str(chars)?;
        let names = chars
            .into_iter()
            .map(|(code, name)| (normalise(&code), name))
            .collect();
        Ok(Self { icons, names })
    }

    /// The icon called `name` as a whole SVG document.
    pub(crate) fn svg(&self, name: &str) -> Option<String> {
        // Iconify's rule: an icon's own size, else the set's, else 16.
        let Icons {
            icons,
            width,
            height,
        } = &self.icons;
        let icon = icons.get(name)?;
        let left = icon.left.unwrap_or(0.0);
        let top = icon.top.unwrap_or(0.0);
        let width = icon.width.or(*width).unwrap_or(16.0);
        let height = icon.height.or(*height).unwrap_or(16.0);
        let body = &icon.body;
        Some(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{left} {top} {width} {height}">{body}</svg>"#
        ))
    }

    /// The icon of an emoji, by its normalised code points.
    pub(crate) fn svg_of_code(&self, code: &str) -> Option<String> {
        self.svg(self.names.get(code)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A set that draws the emoji of `codes`.
    pub(crate) fn set(codes: &[&str]) -> IconSet {
        let icon = |code: &&str| (code.to_string(), serde_json::json!({"body": "<g/>"}));
        let icons: serde_json::Map<_, _> = codes.iter().map(icon).collect();
        let chars: BTreeMap<_, _> = codes.iter().map(|code| (code, code)).collect();
        let icons = serde_json::json!({ "icons": icons }).to_string();
        IconSet::parse(&icons, &serde_json::to_string(&chars).unwrap()).unwrap()
    }

    const ICONS: &str = r#"{"prefix": "x", "width": 128, "height": 64,
        "icons": {"plain": {"body": "<path/>"}, "sized": {"body": "<g/>", "left": -1, "top": 2.5, "width": 640, "height": 480}},
        "aliases": {"other": {"parent": "plain"}}}"#;

    fn svg(view_box: &str, body: &str) -> String {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{view_box}">{body}</svg>"#
        )
    }

    #[test]
    fn body_is_wrapped_with_its_own_or_the_sets_size() {
        let set = IconSet::parse(ICONS, "{}").unwrap();
        assert_eq!(set.svg("plain").unwrap(), svg("0 0 128 64", "<path/>"));
        assert_eq!(set.svg("sized").unwrap(), svg("-1 2.5 640 480", "<g/>"));
        assert_eq!(set.svg("other"), None);
    }

    #[test]
    fn size_defaults_to_16() {
        let set = IconSet::parse(r#"{"icons": {"a": {"body": ""}}}"#, "{}").unwrap();
        assert_eq!(set.svg("a").unwrap(), svg("0 0 16 16", ""));
    }

    #[test]
    fn code_points_find_icons_whatever_their_variation_selectors() {
        let set = IconSet::parse(ICONS, r#"{"2764-FE0F-200d-1f525": "plain"}"#).unwrap();
        assert!(set.svg_of_code("2764-200d-1f525").is_some());
        assert!(set.svg_of_code("2764").is_none());
    }
}
