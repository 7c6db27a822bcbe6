//! Decodes a task file. Everything is checked before it is trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::container::Container;
use crate::encode::{self, FORMAT_VERSION};
use crate::parts::Parts;
use crate::stored::Tensors;
use crate::{
    Answers, BackboneId, Error, KnownNetworks, Layout, TaskFile, TensorList, TrainingRecord,
};

/// Reads a task file.
///
/// The order of the checks gives the most helpful error: is it safetensors, a task file, a
/// supported version, undamaged, valid, in canonical form?
pub(crate) fn decode(bytes: &[u8], networks: &dyn KnownNetworks) -> Result<TaskFile, Error> {
    let mut container = Container::parse(bytes)?;
    let mut metadata = std::mem::take(&mut container.metadata);
    if !metadata.keys().any(|key| key.starts_with("piggyback.")) {
        return Err(Error::NotATask);
    }
    check_version(take(&mut metadata, "piggyback.format")?.as_str())?;
    container.check_length()?;
    check_digest(
        &take(&mut metadata, "piggyback.digest")?,
        container.header(),
        bytes,
    )?;

    let mut tensors = Tensors(container.tensors()?);
    let backbone: BackboneId = parse(&mut metadata, "piggyback.backbone")?;
    let list = read_list(&mut metadata, &backbone.architecture, networks)?;
    // Before any shape is used.
    list.validate()?;
    let classes: Vec<String> = parse(&mut metadata, "piggyback.classes")?;
    let head = tensors.head()?;
    let mut task = TaskFile {
        layout: read_layout(&take(&mut metadata, "piggyback.layout")?)?,
        answers: match metadata.contains_key("piggyback.answers") {
            true => parse(&mut metadata, "piggyback.answers")?,
            false => Answers::default(),
        },
        feature_summary: tensors.feature_summary()?,
        training: parse::<TrainingRecord>(&mut metadata, "piggyback.training")?,
        ..TaskFile::classifier(
            backbone,
            list,
            classes,
            parse(&mut metadata, "piggyback.preprocessing")?,
            head,
        )
    };
    Parts::new(&mut tensors)?.read(&mut task)?;
    if let Some(key) = metadata.keys().next() {
        return Err(Error::invalid(key, "not a key of a task file"));
    }
    if let Some(name) = tensors.0.keys().next() {
        return Err(Error::invalid(name, "not a tensor of this task file"));
    }
    task.validate()?;
    // Only the encoding of the content can still differ, and this finds any difference.
    if encode::encode(&task)?.0 != bytes {
        return Err(Error::NotCanonical);
    }
    Ok(task)
}

fn check_version(version: &str) -> Result<(), Error> {
    match version.parse::<u64>() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(version) if version > FORMAT_VERSION => Err(Error::NewerVersion {
            version,
            supported: FORMAT_VERSION,
        }),
        _ => {
            let reason = format!(
                "{version:?} is not a format version that this program reads ({FORMAT_VERSION}); train the task again"
            );
            Err(Error::invalid("piggyback.format", reason))
        }
    }
}

fn check_digest(announced: &str, header: &str, bytes: &[u8]) -> Result<(), Error> {
    let in_header = encode::digest_position(header.as_bytes()).is_some();
    match encode::digest_of(bytes) {
        Some(digest) if in_header && digest == announced => Ok(()),
        _ => Err(Error::Damaged),
    }
}

fn read_layout(name: &str) -> Result<Layout, Error> {
    let layouts = [Layout::Torch, Layout::Burn];
    let found = layouts.into_iter().find(|layout| layout.as_str() == name);
    found.ok_or_else(|| {
        let reason = format!("expected \"torch\" or \"burn\", found {name:?}");
        Error::invalid("piggyback.layout", reason)
    })
}

/// The backbone's tensors: listed in the file, or known by the architecture's name.
fn read_list(
    metadata: &mut BTreeMap<String, String>,
    architecture: &str,
    networks: &dyn KnownNetworks,
) -> Result<Arc<TensorList>, Error> {
    if metadata.contains_key("piggyback.tensors") {
        let shapes: BTreeMap<String, Vec<usize>> = parse(metadata, "piggyback.tensors")?;
        return Ok(Arc::new(TensorList::listed(shapes)));
    }
    networks.tensors(architecture).ok_or_else(|| {
        let reason = format!(
            "the architecture {architecture:?} is not known to this program, and the file does not list its tensors; \
             update Piggyback"
        );
        Error::invalid("backbone", reason)
    })
}

fn take(metadata: &mut BTreeMap<String, String>, key: &str) -> Result<String, Error> {
    metadata
        .remove(key)
        .ok_or_else(|| Error::invalid(key, "the metadata key is missing"))
}

fn parse<T: DeserializeOwned>(
    metadata: &mut BTreeMap<String, String>,
    key: &str,
) -> Result<T, Error> {
    let text = take(metadata, key)?;
    serde_json::from_str(&text).map_err(|error| Error::invalid(key, error.to_string()))
}
