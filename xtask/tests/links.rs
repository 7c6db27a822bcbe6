//! Links of the Markdown pages: each leads to a file of the repository, and to a heading in it.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages that a reader of the repository sees.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in [root(), root().join("docs")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// Markdown without its blocks of code, in which brackets are no links.
fn prose(markdown: &str) -> String {
    let mut in_code = false;
    let keep = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    };
    markdown.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

/// The targets of `[text](target)` and `![text](target)`.
fn targets(markdown: &str) -> Vec<String> {
    let prose = prose(markdown);
    let target = |rest: &str| rest.split(')').next().map(str::to_owned);
    prose.split("](").skip(1).filter_map(target).collect()
}

/// The anchors of headings, as GitHub makes them.
fn anchors(markdown: &str) -> Vec<String> {
    let anchor = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let text: String = heading.to_lowercase().chars().filter(kept).collect();
        text.trim().replace(' ', "-")
    };
    (prose(markdown).lines())
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// What is wrong with a link in `page`, if something is.
fn broken(page: &Path, markdown: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path.is_empty() {
        true => page.to_owned(),
        false => page.parent()?.join(path),
    };
    if !file.exists() {
        return Some(format!("{}: there is no {path}", page.display()));
    }
    if anchor.is_empty() {
        return None;
    }
    let text = match path.is_empty() {
        true => markdown.to_owned(),
        false => fs::read_to_string(&file).unwrap(),
    };
    let is_there = anchors(&text).iter().any(|heading| heading == anchor);
    (!is_there).then(|| format!("{}: {target} leads to no heading", page.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut links = 0;
    for page in pages() {
        let markdown = fs::read_to_string(&page).unwrap();
        for target in targets(&markdown) {
            links += 1;
            wrong.extend(broken(&page, &markdown, &target));
        }
    }
    assert!(links > 50, "{links}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Folders at the root of the repository that pages name files of.
const FOLDERS: [&str; 7] = [
    "crates/", "tools/", "xtask/", "docs/", "plans/", "demo/", "fuzz/",
];

/// Paths of the repository in a page, in `code`.
fn paths(markdown: &str) -> Vec<&str> {
    let quoted = markdown
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_path = |text: &&str| {
        FOLDERS.iter().any(|folder| text.starts_with(folder))
            && !text.contains(['*', ' ', '<', '{'])
    };
    quoted.filter(is_path).collect()
}

#[test]
fn every_path_is_there() {
    let mut wrong = Vec::new();
    let mut named = 0;
    for page in pages() {
        let markdown = fs::read_to_string(&page).unwrap();
        for path in paths(&prose(&markdown)) {
            named += 1;
            if !root().join(path).exists() {
                wrong.push(format!("{}: there is no {path}", page.display()));
            }
        }
    }
    assert!(named > 10, "{named}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn broken_links_are_found() {
    let page = root().join("README.md");
    let text = "# A heading, with more\n[a](docs/none.md) [b](#a-heading-with-more) [c](#none) [d](docs/format.md)\n\
                ```\n[e](none)\n```\n[f](https://example.org)";
    let targets = targets(text);
    assert_eq!(targets.len(), 5);
    let wrong: Vec<String> = (targets.iter())
        .filter_map(|target| broken(&page, text, target))
        .collect();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("docs/none.md") && wrong[1].contains("#none"));
}
