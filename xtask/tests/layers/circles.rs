//! Circles of files: no file of a crate names, by way of others or directly, a file that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::code::{Use, paths, tokens, uses};
use crate::sources;

/// A module, as the segments of its path from the crate's root.
type Module = Vec<String>;

/// What a file imports and names, as far as text alone tells.
struct Source {
    file: String,
    uses: Vec<Use>,
    /// Paths in the code outside of `use`, one segment long or more.
    paths: Vec<Vec<String>>,
}

/// The files of one crate, by module.
struct Tree(BTreeMap<Module, Source>);

/// The module that the file at `path`, relative to the crate's `src`, holds.
fn module_of(path: &str) -> Module {
    let mut module: Module = path
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if matches!(module.last().unwrap().as_str(), "mod" | "lib" | "main") {
        module.pop();
    }
    module
}

impl Tree {
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files.into_iter().map(|(file, code)| {
            let tokens = tokens(code);
            let source = Source {
                file: file.to_owned(),
                uses: uses(&tokens),
                paths: paths(&tokens),
            };
            (module_of(file), source)
        });
        Self(files.collect())
    }

    /// `path` as `module` writes it, from the crate's root; none where it leads out of the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Module> {
        if path[0] == "crate" {
            return Some(path[1..].to_vec());
        }
        let (mut base, mut rest) = (module.to_vec(), path);
        while let Some((step @ ("self" | "super"), after)) = rest
            .split_first()
            .map(|(first, after)| (first.as_str(), after))
        {
            if step == "super" {
                base.pop()?;
            }
            rest = after;
        }
        if rest.len() < path.len() {
            return Some([&base[..], rest].concat());
        }
        let (first, rest) = path.split_first()?;
        base.push(first.clone());
        if self.0.contains_key(&base) {
            return Some([&base[..], rest].concat());
        }
        let import = (self.0.get(module)?.uses.iter()).find(|import| import.name == *first)?;
        // `use image::Image;` beside no module `image` is another crate's.
        if import.path[0] == *first {
            return None;
        }
        let target = self.absolute(module, &import.path)?;
        Some([&target[..], rest].concat())
    }

    /// The module whose file defines what the absolute `path` leads to, through re-exports; none
    /// for a module itself: what is used of it is named where it is used.
    fn definer(&self, path: &[String], hops: usize) -> Option<Module> {
        let mut length = 0;
        while length < path.len() && self.0.contains_key(&path[..=length]) {
            length += 1;
        }
        let (module, rest) = path.split_at(length);
        let (name, rest) = rest.split_first()?;
        let import = (self.0.get(module)?.uses.iter()).find(|import| import.name == *name);
        let Some(import) = import.filter(|_| hops < 8) else {
            return Some(module.to_vec());
        };
        let target = self.absolute(module, &import.path)?;
        self.definer(&[&target[..], rest].concat(), hops + 1)
    }

    /// The modules whose items the file of `module` uses, and the paths that name them.
    fn used(&self, module: &Module) -> BTreeMap<Module, BTreeSet<String>> {
        let source = &self.0[module];
        let named: BTreeSet<&String> = source.paths.iter().map(|path| &path[0]).collect();
        let imports = source.uses.iter().filter(|import| {
            // A module that re-exports what its own file does not use needs nothing of it.
            !import.reexport || named.contains(&import.name)
        });
        let paths = (imports.map(|import| &import.path))
            .chain(source.paths.iter().filter(|path| path.len() > 1));
        let mut used: BTreeMap<Module, BTreeSet<String>> = BTreeMap::new();
        for path in paths {
            let target = self.absolute(module, path);
            let definer = target.and_then(|target| self.definer(&target, 0));
            if let Some(definer) = definer.filter(|definer| definer != module) {
                used.entry(definer).or_default().insert(path.join("::"));
            }
        }
        used
    }

    /// The circles: sets of files that all lead to each other, and who uses whom in them.
    fn circles(&self) -> Vec<(Vec<&str>, Vec<String>)> {
        let used: BTreeMap<_, _> = (self.0.keys())
            .map(|module| (module, self.used(module)))
            .collect();
        let reached: BTreeMap<&Module, BTreeSet<&Module>> = (self.0.keys())
            .map(|start| {
                let mut found = BTreeSet::new();
                let mut open = vec![start];
                while let Some(module) = open.pop() {
                    open.extend(used[module].keys().filter(|next| found.insert(*next)));
                }
                (start, found)
            })
            .collect();
        let circles: BTreeSet<Vec<&Module>> = (self.0.keys())
            .map(|start| {
                let back = |other: &&&Module| reached[**other].contains(start);
                reached[start].iter().filter(back).copied().collect()
            })
            .filter(|circle: &Vec<&Module>| !circle.is_empty())
            .collect();
        let file = |module: &Module| self.0[module].file.as_str();
        let described = circles.into_iter().map(|circle| {
            let uses = circle.iter().flat_map(|module| {
                let inside = used[*module].iter();
                let inside = inside.filter(|(other, _)| circle.contains(other));
                inside.map(|(other, paths)| {
                    format!("{} uses {}: {paths:?}", file(module), file(other))
                })
            });
            let uses = uses.collect();
            let mut files: Vec<&str> = circle.iter().map(|module| file(module)).collect();
            files.sort_unstable();
            (files, uses)
        });
        described.collect()
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut roots = vec![repository.join("xtask/src")];
    for folder in ["crates", "tools"] {
        for entry in fs::read_dir(repository.join(folder)).unwrap() {
            let source = entry.unwrap().path().join("src");
            if source.is_dir() {
                roots.push(source);
            }
        }
    }
    assert!(roots.len() > 8, "{roots:?}");
    let mut found = Vec::new();
    for root in roots {
        let mut files = Vec::new();
        sources(&root, &mut files);
        let files: Vec<(String, String)> = files
            .iter()
            .map(|file| {
                let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
                (path.replace('\\', "/"), fs::read_to_string(file).unwrap())
            })
            .collect();
        let tree = Tree::new((files.iter()).map(|(file, code)| (file.as_str(), code.as_str())));
        for (files, uses) in tree.circles() {
            found.push((root.clone(), files.join(" "), uses));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The circles of a crate with these files.
fn planted(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let tree = Tree::new(files.iter().copied());
    let owned = |files: Vec<&str>| files.into_iter().map(str::to_owned).collect();
    (tree.circles().into_iter())
        .map(|(files, _)| owned(files))
        .collect()
}

#[test]
fn a_planted_circle_is_found() {
    let lib = ("lib.rs", "mod a;\nmod b;\nmod c;\n");
    let a = ("a.rs", "use crate::b::{B, other::Thing as T};\n");
    let c = ("c.rs", "fn c() { self::inner(); super::a::run() }");
    // Through a third file, by a `use`, by a path from `super`, by an imported module.
    for b in [
        "use crate::c::C;",
        "fn b() { super::c::run() }",
        "use super::c;\nfn b() -> c::C { c::run() }",
        "mod system {\n    fn c() { super::super::c::run() }\n}\n",
        "pub(crate) use crate::c::{self as see, C};\nstruct B(see::D);",
    ] {
        let found = planted(&[lib, a, ("b.rs", b), c]);
        assert_eq!(found, [["a.rs", "b.rs", "c.rs"]], "{b}");
    }
    // What is no code, or only tests, is no use.
    for b in [
        "// use crate::c::C;\n/* crate::c::C /* */ */\n/// [`crate::c::C`]\nstruct B;",
        "const B: &str = \"crate::c::C\";\nconst C: &str = r#\"\"crate::c::C\"#;",
        "#[cfg(test)]\nmod tests {\n    use crate::c::C;\n    fn f() {}\n}\n",
        "#[cfg(test)]\nuse crate::c::{C, D};\n",
        "const C: u8 = 0;\nmod system {\n    fn c() -> u8 { super::C }\n}\n",
    ] {
        assert!(planted(&[lib, a, ("b.rs", b), c]).is_empty(), "{b}");
    }
}

#[test]
fn a_folder_and_its_files() {
    let circle = [["folder/file.rs", "folder/mod.rs"]];
    let file = "pub struct Item;\npub struct Other;";
    let parent = "use super::Shared;\npub struct Item(Shared);";
    let reexports = "mod file;\npub use file::Item;\npub struct Shared;";
    let names = "mod file;\npub use file::Item;\npub struct Shared;\nfn make() -> Item { todo!() }";
    let imports = "mod file;\nuse self::file::Item;\npub struct Shared(Item);";
    let paths = "mod file;\npub struct Shared;\nfn make() { file::make() }";
    let tree = |module, file| planted(&[("folder/mod.rs", module), ("folder/file.rs", file)]);
    assert!(tree(reexports, parent).is_empty());
    for module in [names, imports, paths] {
        assert!(tree(module, file).is_empty(), "{module}");
        assert_eq!(tree(module, parent), circle, "{module}");
    }
    // A re-export leads to where the item is defined.
    let lib = ("lib.rs", "mod folder;\nmod user;");
    let module = ("folder/mod.rs", reexports);
    let user = (
        "user.rs",
        "use crate::folder::Item;\npub struct User(Item);",
    );
    let uses_user = (
        "folder/file.rs",
        "use crate::user::User;\npub struct Item(User);",
    );
    assert_eq!(
        planted(&[lib, module, user, uses_user]),
        [["folder/file.rs", "user.rs"]]
    );
    // A name of another crate is no module.
    let external = ("user.rs", "use image::Item;\nfn f() { image::load() }");
    assert!(planted(&[lib, ("image.rs", "use crate::user::U;"), external]).is_empty());
}
