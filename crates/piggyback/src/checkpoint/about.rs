//! Metadata of a checkpoint: classes, preprocessing and training record.

use std::collections::BTreeMap;

use piggyback_task::{Preprocessing, TrainingRecord};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Metadata key of the classes: a JSON array of names, in the order of the head's rows.
const CLASSES: &str = "piggyback.classes";
/// Metadata key of the preprocessing: JSON, as in a task file.
const PREPROCESSING: &str = "piggyback.preprocessing";

/// Metadata key of how the network was trained: JSON, as in a task file.
const TRAINING: &str = "piggyback.training";

/// The names of ImageNet's 1000 classes (ILSVRC 2012), in PyTorch's order and torchvision's
/// spelling.
pub fn imagenet_classes() -> impl ExactSizeIterator<Item = &'static str> {
    const NAMES: &str = include_str!("imagenet_classes.txt");
    NAMES.lines().collect::<Vec<_>>().into_iter()
}

/// Classes, preprocessing and training record of a network, where known.
///
/// A safetensors file stores them in its metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Names of the classes in the order of the head's rows.
    pub classes: Option<Vec<String>>,
    /// Image preprocessing.
    pub preprocessing: Option<Preprocessing>,
    /// How the network was trained.
    pub training: Option<TrainingRecord>,
}

impl About {
    /// Reads the metadata of a safetensors file.
    ///
    /// # Errors
    ///
    /// An invalid value of one of Piggyback's keys. Other keys are ignored.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let preprocessing: Option<Preprocessing> = parse(metadata, PREPROCESSING)?;
        if let Some(preprocessing) = &preprocessing {
            preprocessing
                .validate()
                .map_err(|error| format!("its metadata '{PREPROCESSING}' is invalid: {error}"))?;
        }
        Ok(Self {
            classes: parse(metadata, CLASSES)?,
            preprocessing,
            training: parse(metadata, TRAINING)?,
        })
    }

    /// The metadata to write to a safetensors file.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`]; it does not occur, as JSON can represent all values.
    pub fn to_metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        let classes = self.classes.as_ref().map(|classes| json(CLASSES, classes));
        let preprocessing = self
            .preprocessing
            .as_ref()
            .map(|preprocessing| json(PREPROCESSING, preprocessing));
        let training = self.training.as_ref().map(|record| json(TRAINING, record));
        classes
            .into_iter()
            .chain(preprocessing)
            .chain(training)
            .collect()
    }
}

fn parse<T: DeserializeOwned>(
    metadata: &BTreeMap<String, String>,
    key: &str,
) -> Result<Option<T>, String> {
    let value = metadata.get(key).map(|text| serde_json::from_str(text));
    value
        .transpose()
        .map_err(|error| format!("its metadata '{key}' is invalid: {error}"))
}

fn json(key: &str, value: &impl serde::Serialize) -> Result<(String, String), Error> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|error| Error::internal(format!("'{key}' as JSON: {error}")))?;
    Ok((key.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::Architecture;

    #[test]
    fn imagenets_classes_are_told_apart() {
        let names: std::collections::BTreeSet<&str> = imagenet_classes().collect();
        assert_eq!((imagenet_classes().len(), names.len()), (1000, 1000));
        assert_eq!(imagenet_classes().nth(285), Some("Egyptian cat"));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut training = TrainingRecord::default();
        training.insert("seed", 7);
        let about = About {
            classes: Some(vec!["a \"cat\"".into(), "hiç".into()]),
            preprocessing: Some(Architecture::EfficientNetLite0.preprocessing()),
            training: Some(training),
        };
        assert_eq!(
            About::from_metadata(&about.to_metadata().unwrap()),
            Ok(about)
        );
        assert_eq!(About::from_metadata(&BTreeMap::new()), Ok(About::default()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_key() {
        for (key, value) in [
            (CLASSES, "[1, 2]"),
            (PREPROCESSING, "{}"),
            (
                PREPROCESSING,
                r#"{"image_size":0,"interpolation":"bilinear","mean":[0,0,0],"resize":"squash","std":[1,1,1]}"#,
            ),
        ] {
            let metadata = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let reason = About::from_metadata(&metadata).unwrap_err();
            assert!(reason.contains(key), "{reason}");
        }
    }
}
