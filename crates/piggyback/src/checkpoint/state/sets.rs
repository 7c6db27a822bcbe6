//! Which of a file's tensors are the network's weights.
//!
//! Training scripts nest networks in dictionaries and other modules, and keep several copies: the
//! raw weights, their moving average (EMA), a teacher. A *set* is a group of tensors that share a
//! name prefix and, without it, have a network's names. From several sets, the one that timm and
//! torchvision would load is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::fit::{Fit, Tensors};
use super::{dialects, heads};
use crate::networks::Architecture;

/// Tensors that every network of a family has under another library's names, besides the families'
/// markers.
const MARKERS: [&str; 4] = [
    "features.denseblock1.denselayer1.conv.1.weight",
    "features.1.conv.0.0.weight",
    "_blocks.0._depthwise_conv.weight",
    "pre_logits.fc1.weight",
];

/// The maximum number of sets. Any further sets are ignored.
const MAX_SETS: usize = 64;

/// Which set of weights to use from a file that holds several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsChoice {
    /// As timm and torchvision's reference scripts do: the moving average if there is one, else
    /// `state_dict`, `model`, or the only set.
    #[default]
    Usual,
    /// The moving average of the weights (EMA).
    Ema,
    /// The raw weights.
    Raw,
    /// The set with this name, or with these name parts: `model_ema`, `module.encoder_q`.
    Key(String),
}

impl FromStr for WeightsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => return Err("expected ema, raw, or the name of a set of weights".into()),
            "ema" => Self::Ema,
            "raw" => Self::Raw,
            key => Self::Key(key.to_owned()),
        })
    }
}

impl fmt::Display for WeightsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usual => "usual",
            Self::Ema => "ema",
            Self::Raw => "raw",
            Self::Key(key) => key,
        })
    }
}

/// Which set of weights was chosen, and which others the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightSets {
    /// The chosen set: the prefix of its tensors' names, such as `state_dict_ema`. Empty without a
    /// prefix.
    pub taken: String,
    /// Other sets of weights in the file.
    pub others: Vec<String>,
    /// Tensors beside the set that are not used.
    pub left_out: Vec<String>,
    /// The set's network, if it had timm's names.
    pub(super) timm: Option<Architecture>,
}

/// The relevant content of a file.
pub(super) struct Held<'a> {
    pub(super) tensors: Tensors,
    /// Types of the other tensors, by name.
    pub(super) other: &'a BTreeMap<String, String>,
    /// Names of the dictionaries that tensors are in.
    pub(super) dictionaries: &'a BTreeSet<String>,
}

/// A group of tensors that may be a network's weights.
struct Set {
    /// The prefix of the names, with its dot.
    prefix: String,
    tensors: Tensors,
    /// Its network, if it had timm's names.
    timm: Option<Architecture>,
    fit: Option<Fit>,
    /// A convolution beside it, which shows that it is a part of a larger network.
    part_because_of: Option<String>,
    left_out: Vec<String>,
}

impl Set {
    fn name(&self) -> &str {
        self.prefix.strip_suffix('.').unwrap_or_default()
    }

    fn shown(&self) -> String {
        let name = match self.name() {
            "" => "(unnamed)",
            name => name,
        };
        match self.fit {
            Some(Fit {
                complete: true,
                architecture,
                ..
            }) => format!("{name} ({architecture})"),
            _ => format!("{name} (incomplete)"),
        }
    }

    fn is_complete(&self) -> bool {
        self.fit.is_some_and(|fit| fit.complete)
    }

    fn is_average(&self) -> bool {
        self.name().split('.').any(|part| {
            let part = part.to_ascii_lowercase();
            let mut words = part.split(['_', '-']);
            words.any(|word| matches!(word, "ema" | "averaged" | "swa"))
                || part.starts_with("ema")
                || (part.ends_with("ema") && part != "schema")
        })
    }

    /// Whether its name has the parts of `key`, one after the other.
    fn is_called(&self, key: &str) -> bool {
        let (name, key) = (format!(".{}.", self.name()), format!(".{key}."));
        name.contains(&key)
    }
}

/// Chooses a set, with Piggyback's names and its head renamed.
///
/// # Errors
///
/// The existing sets, if none or several match the choice.
pub(super) fn choose(
    held: Held<'_>,
    choice: &WeightsChoice,
) -> Result<(Tensors, WeightSets), String> {
    let prefixes = prefixes(&held);
    if prefixes.is_empty() {
        let (tensors, timm) = dialects::translate(unwrapped(held.tensors));
        let sets = WeightSets {
            timm,
            ..WeightSets::default()
        };
        return match choice {
            WeightsChoice::Usual | WeightsChoice::Raw => Ok((tensors, sets)),
            choice => Err(format!(
                "holds no set of weights '{choice}' and none of a known network; omit --weights"
            )),
        };
    }
    let mut sets: Vec<Set> = (prefixes.iter())
        .map(|prefix| set(&held, &prefixes, prefix))
        .collect();
    let all: Vec<String> = sets.iter().map(Set::shown).collect();
    let taken = pick(&sets, choice)
        .map_err(|reason| format!("{reason}; its sets of weights are {}", all.join(", ")))?;
    let set = sets.swap_remove(taken);
    let mut others = all;
    others.remove(taken);
    let sets = WeightSets {
        taken: set.name().to_owned(),
        others,
        left_out: set.left_out,
        timm: set.timm,
    };
    Ok((set.tensors, sets))
}

/// Tensors that every network of a family has, under the names of every dialect.
fn markers() -> BTreeSet<String> {
    (Architecture::ALL.into_iter())
        .flat_map(Architecture::markers)
        .chain(MARKERS.map(str::to_owned))
        .collect()
}

/// The prefixes of the sets.
fn prefixes(held: &Held<'_>) -> BTreeSet<String> {
    let names = held.tensors.keys().chain(held.other.keys());
    let prefix = |name: &String, marker: &str| {
        let prefix = name.strip_suffix(marker)?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
    };
    let markers = markers();
    names
        .flat_map(|name| (markers.iter()).filter_map(move |marker| prefix(name, marker)))
        .take(MAX_SETS * markers.len())
        .collect()
}

fn set(held: &Held<'_>, prefixes: &BTreeSet<String>, prefix: &str) -> Set {
    // A set within a set: the average that a module keeps of itself.
    let of_inner = |name: &str, prefix: &str| {
        let inner = prefixes.range(prefix.to_owned()..).skip(1);
        let mut inner = inner.take_while(|inner| inner.starts_with(prefix));
        inner.any(|inner| inner.len() > prefix.len() && name.starts_with(inner.as_str()))
    };
    let own = below(&held.tensors, prefix).filter(|(name, _)| !of_inner(name, prefix));
    let own = own.map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor.clone()));
    let (tensors, timm) = dialects::translate(own.collect());
    let fit = Fit::best(&tensors);
    let tensors = match fit {
        Some(fit) => heads::settle(tensors, fit.architecture),
        None => tensors,
    };
    // What stands beside it in its dictionary, and belongs to no set.
    let dictionary = dictionary(held.dictionaries, prefix);
    let beside = below(&held.tensors, &dictionary).filter(|(name, _)| {
        let of_a_set = prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix.as_str()));
        !of_a_set && !name[dictionary.len()..].starts_with("optim")
    });
    let beside: Vec<_> = beside.collect();
    let convolution = beside.iter().find(|(_, tensor)| tensor.shape().len() > 2);
    Set {
        prefix: prefix.to_owned(),
        tensors,
        timm,
        fit,
        part_because_of: convolution.map(|(name, _)| name.to_string()),
        left_out: beside.into_iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// The tensors whose names begin with `prefix`.
fn below<'a>(
    tensors: &'a Tensors,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a String, &'a super::tensor::StoredTensor)> {
    (tensors.range(prefix.to_owned()..)).take_while(move |(name, _)| name.starts_with(prefix))
}

/// The innermost dictionary that names with `prefix` are in, as a prefix itself.
fn dictionary(dictionaries: &BTreeSet<String>, prefix: &str) -> String {
    let mut outer = prefix;
    loop {
        let name = outer.strip_suffix('.').unwrap_or(outer);
        if name.is_empty() || dictionaries.contains(name) {
            return outer.to_owned();
        }
        outer = match name.rfind('.') {
            Some(dot) => &outer[..=dot],
            None => "",
        };
    }
}

/// The index of the chosen set.
fn pick(sets: &[Set], choice: &WeightsChoice) -> Result<usize, String> {
    let places = |wanted: &dyn Fn(&Set) -> bool| -> Vec<usize> {
        (0..sets.len())
            .filter(|place| wanted(&sets[*place]))
            .collect()
    };
    if let WeightsChoice::Key(key) = choice {
        let named = places(&|set| set.name() == key);
        let called = places(&|set| set.is_called(key));
        return match (&named[..], &called[..]) {
            ([only], _) | ([], [only]) => Ok(*only),
            (_, []) => Err(format!("holds no set of weights '{key}'")),
            _ => Err(format!(
                "holds several sets of weights that match --weights {key}; give one full name"
            )),
        };
    }
    let whole = |set: &Set| set.is_complete() && set.part_because_of.is_none();
    let average = places(&|set| whole(set) && set.is_average());
    let raw = places(&|set| whole(set) && !set.is_average());
    let all: Vec<usize> = (0..sets.len()).collect();
    let found = match choice {
        WeightsChoice::Ema => among(sets, &average, &["state_dict_ema", "model_ema"]),
        WeightsChoice::Raw => among(sets, &raw, &["state_dict", "model", ""]),
        _ if !average.is_empty() => among(sets, &average, &["state_dict_ema", "model_ema"]),
        _ => among(sets, &raw, &["state_dict", "model", ""]),
    };
    if let Some(place) = found {
        return Ok(place);
    }
    match (choice, &average[..], &raw[..]) {
        (WeightsChoice::Ema, [], _) => Err("holds no moving average of weights (EMA)".into()),
        (WeightsChoice::Raw, _, []) if !average.is_empty() => {
            Err("holds only a moving average of weights (EMA)".into())
        }
        (_, [], []) => nearest(sets, &all),
        _ => Err("holds several sets of weights; choose one with --weights NAME".into()),
    }
}

/// The only one of the sets at `places`, or the one in the first dictionary of `order` that has
/// just one, or any of them if they are equal.
fn among(sets: &[Set], places: &[usize], order: &[&str]) -> Option<usize> {
    if let [only] = places {
        return Some(*only);
    }
    for dictionary in order {
        let first = |set: &Set| set.name().split('.').next().unwrap_or_default() == *dictionary;
        let inside: Vec<usize> = (places.iter().copied())
            .filter(|place| first(&sets[*place]))
            .collect();
        match inside[..] {
            [] => {}
            [only] => return Some(only),
            _ => return equal(sets, &inside),
        }
    }
    equal(sets, places)
}

/// The first of the sets at `places`, if all hold the same: one module under several names.
fn equal(sets: &[Set], places: &[usize]) -> Option<usize> {
    let (first, rest) = places.split_first()?;
    let same = |place: &usize| sets[*place].tensors == sets[*first].tensors;
    rest.iter().all(same).then_some(*first)
}

/// If no set is complete: the best match, for an error that lists what it lacks.
fn nearest(sets: &[Set], places: &[usize]) -> Result<usize, String> {
    for set in sets.iter().filter(|set| set.is_complete()) {
        if let (Some(fit), Some(convolution)) = (set.fit, &set.part_because_of) {
            return Err(format!(
                "holds a {architecture} called '{name}' as part of a larger network (beside it: \
                 '{convolution}'), which may use it differently, for example with dilated \
                 convolutions; use --weights {name} to take it anyway",
                architecture = fit.architecture,
                name = set.name(),
            ));
        }
    }
    let fit = |place: &&usize| sets[**place].fit.map_or(0, |fit| fit.common);
    // Of equals the first.
    let best = places.iter().rev().max_by_key(fit);
    best.copied().ok_or_else(|| "holds no weights".into())
}

/// Takes tensors of no known network out of the dictionaries that weights are usually nested in.
fn unwrapped(mut tensors: Tensors) -> Tensors {
    const USUAL: [&str; 4] = ["state_dict.", "model_state_dict.", "model.", "module."];
    loop {
        let inside = |prefix: &&str| below(&tensors, prefix).count();
        let usual = USUAL.into_iter().filter(|prefix| inside(prefix) > 0);
        let Some(prefix) = usual.max_by_key(inside) else {
            return tensors;
        };
        tensors = (tensors.into_iter())
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
            .collect();
    }
}
