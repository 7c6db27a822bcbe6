//! Detects the architecture of a checkpoint.

use std::collections::BTreeSet;

use super::state::StateDict;
use crate::checkpoint::state::StoredTensor;
use crate::error::{Error, Result};
use crate::networks::Architecture;
use crate::nn::NamedTensor;

/// How many names an error lists.
const LISTED: usize = 10;

/// The differences between a checkpoint and an architecture.
struct Misfit {
    architecture: Architecture,
    /// Tensors that fit.
    common: usize,
    missing: Vec<String>,
    left_over: Vec<String>,
    shapes: Vec<String>,
}

impl Misfit {
    fn of(state: &StateDict, architecture: Architecture) -> Self {
        let expected = architecture.tensors();
        let names: BTreeSet<&str> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
        let (mut common, mut missing, mut shapes) = (0, Vec::new(), Vec::new());
        for tensor in expected {
            match state.tensors.get(&tensor.name) {
                None => missing.push(match state.other_type(&tensor.name) {
                    None => tensor.name.clone(),
                    Some(dtype) => {
                        format!("{} ({dtype}; expected f32, f16, bf16 or f64)", tensor.name)
                    }
                }),
                Some(stored) if stored.shape() != tensor.shape => {
                    shapes.push(wrong_shape(tensor, stored));
                }
                Some(_) => common += 1,
            }
        }
        let left_over = (state.tensors.keys())
            .filter(|name| !names.contains(name.as_str()) && !architecture.is_of_head(name))
            .cloned()
            .collect();
        Self {
            architecture,
            common,
            missing,
            left_over,
            shapes,
        }
    }

    fn size(&self) -> usize {
        self.missing.len() + self.left_over.len() + self.shapes.len()
    }

    fn describe(&self) -> String {
        let parts = [
            ("missing", &self.missing),
            ("unexpected", &self.left_over),
            ("wrong shape", &self.shapes),
        ];
        let lists: Vec<String> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| {
                let shown = names
                    .iter()
                    .take(LISTED)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                let more = names.len().saturating_sub(LISTED);
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                format!("{what}: {shown}{more}")
            })
            .collect();
        lists.join("; ")
    }
}

fn wrong_shape(expected: &NamedTensor, stored: &StoredTensor) -> String {
    let text = format!(
        "{} is {:?} instead of {:?}",
        expected.name,
        stored.shape(),
        expected.shape
    );
    match (stored.shape(), expected.shape.as_slice()) {
        ([o, found, k @ ..], [outputs, 3, kernel @ ..])
            if (o, k) == (outputs, kernel) && !kernel.is_empty() && *found != 3 =>
        {
            let channels = if *found == 1 { "channel" } else { "channels" };
            format!("{text}: it takes images of {found} {channels}, but 3 (RGB) are needed")
        }
        _ => text,
    }
}

/// The architecture of a checkpoint: `wanted` if given, else detected from its tensors.
///
/// # Errors
///
/// The differences to the closest architecture, or a network that is only a lookalike of a
/// supported one.
pub(crate) fn recognise(state: &StateDict, wanted: Option<Architecture>) -> Result<Architecture> {
    let problem = |reason| {
        Err(Error::Checkpoint {
            path: state.path.clone(),
            reason,
        })
    };
    let mut names = state.tensors.keys();
    if names.clone().any(|name| name == "head.weight")
        && names.any(|name| name.starts_with("norm."))
    {
        return problem("is a task file; give the checkpoint of its backbone".into());
    }
    if state.tensors.contains_key("head.0.weight") {
        return problem(
            "is a file of tasks that share a network, not a backbone; give it with --task".into(),
        );
    }
    let candidates = wanted.map_or(Architecture::ALL.to_vec(), |architecture| {
        vec![architecture]
    });
    let closest = (candidates.into_iter())
        .map(|architecture| Misfit::of(state, architecture))
        .min_by_key(|misfit| (misfit.size(), std::cmp::Reverse(misfit.common)));
    let Some(misfit) = closest else {
        return problem("no network is known".into());
    };
    let name = misfit.architecture;
    if misfit.size() == 0 {
        return match state.lookalike(name).filter(|_| wanted.is_none()) {
            None => Ok(name),
            Some((other, source)) => problem(format!(
                "has the tensors of {name}, but is timm's {} (as {source}), which {}: loaded as \
                 {name} it would give wrong outputs. Give a checkpoint of {name}; if it is one \
                 with a wrong name, load it with --arch {name}",
                other.name, other.difference
            )),
        };
    }
    let more = more(state);
    if wanted.is_none() && misfit.common == 0 {
        let found: Vec<&str> = state.tensors.keys().take(3).map(String::as_str).collect();
        return problem(format!(
            "none of its {} tensors matches a known network in name and shape; their names: \
             {}{more}",
            state.tensors.len(),
            found.join(", ")
        ));
    }
    let relation = if wanted.is_some() {
        "is not"
    } else {
        "is not a known network; the closest is"
    };
    problem(format!("{relation} {name} ({}){more}", misfit.describe()))
}

/// Further advice if the tensors fit no network.
fn more(state: &StateDict) -> String {
    let advice = state.advice().map(|advice| format!("; {advice}"));
    let sets = (!state.sets.others.is_empty()).then(|| {
        let taken = match state.sets.taken.as_str() {
            "" => "the unnamed ones",
            taken => taken,
        };
        format!(
            "; of the file's weights, {taken} were compared; it also holds {} (choose with \
             --weights NAME)",
            state.sets.others.join(", ")
        )
    });
    advice.unwrap_or_default() + &sets.unwrap_or_default()
}
