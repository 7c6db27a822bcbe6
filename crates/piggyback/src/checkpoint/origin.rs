//! Whether a task belongs to a backbone's weights, possibly in another precision.

use std::collections::BTreeMap;

use piggyback_task::{BackboneId, Fingerprint, TaskFile, TrainingRecord};

use super::backbone::Backbone;
use super::state::Precision;

impl Backbone {
    /// The backbone's identity, to which task files are bound: architecture and fingerprint.
    pub fn id(&self) -> BackboneId {
        BackboneId {
            architecture: self.architecture.name().to_owned(),
            fingerprint: self.fingerprint(),
        }
    }

    /// The fingerprint of the weights in their current precision. The first call hashes all
    /// weights.
    pub fn fingerprint(&self) -> Fingerprint {
        let identity = &self.identity;
        *(identity.fingerprint).get_or_init(|| identity.fingerprint_in(identity.precision))
    }

    /// The checkpoint's fingerprint in every precision. The first call hashes all weights once for
    /// each.
    pub fn fingerprints(&self) -> &BTreeMap<Precision, Fingerprint> {
        let identity = &self.identity;
        (identity.in_precisions).get_or_init(|| {
            (Precision::ALL.into_iter())
                .map(|precision| (precision, identity.fingerprint_in(Some(precision))))
                .collect()
        })
    }

    /// The fingerprints that identify the same weights in other precisions:
    /// [`fingerprints`](Self::fingerprints), and those with every tensor in half precision,
    /// `all-f16` and `all-bf16`. A task's training record stores their first digits under
    /// `backbone-precisions`.
    pub fn related_fingerprints(&self) -> BTreeMap<String, Fingerprint> {
        let weights = (self.fingerprints().iter())
            .map(|(precision, fingerprint)| (precision.to_string(), *fingerprint));
        let all = (self.identity.narrowed().iter())
            .map(|(precision, fingerprint)| (format!("all-{precision}"), *fingerprint));
        weights.chain(all).collect()
    }

    /// Accepts tasks that were trained on the same weights in another precision. By default they
    /// are an error, as their outputs differ slightly from those measured in testing.
    #[must_use]
    pub fn with_other_precisions(mut self, accepted: bool) -> Self {
        self.other_precisions = accepted;
        self
    }

    /// Checks that `task` was trained on this backbone or, if accepted, on the same weights in
    /// another precision.
    ///
    /// # Errors
    ///
    /// What it was trained on instead, and what to do.
    pub fn check_origin(&self, task: &TaskFile) -> Result<(), String> {
        let (id, own) = (&task.backbone, self.id());
        if id.architecture != own.architecture {
            return Err(format!(
                "it was trained on {}, but the backbone is {}; give the checkpoint it was \
                 trained on",
                id.architecture, own.architecture
            ));
        }
        if id.fingerprint == own.fingerprint {
            return Ok(());
        }
        let same = |fingerprint: &Fingerprint| {
            (self.fingerprints().iter())
                .find(|(_, known)| *known == fingerprint)
                .map(|(precision, _)| *precision)
        };
        let of_task = same(&id.fingerprint);
        let related: Vec<String> = [own.fingerprint]
            .into_iter()
            .chain(self.related_fingerprints().into_values())
            .map(|fingerprint| fingerprint.to_string())
            .collect();
        let is_related = |digits: &str| related.iter().any(|known| known.starts_with(digits));
        let recorded = recorded_digits(&task.training);
        if !(is_related(&id.fingerprint.to_string()) || recorded.into_iter().any(is_related)) {
            return Err(format!(
                "it was trained on different {} weights (fingerprint {}, not {}); give the \
                 checkpoint it was trained on",
                id.architecture, id.fingerprint, own.fingerprint
            ));
        }
        if self.other_precisions {
            return Ok(());
        }
        Err(format!(
            "it was trained on the same {} weights in another precision (fingerprint {}, not \
             {}); {}, or use --allow-precision to accept slightly different outputs",
            id.architecture,
            id.fingerprint,
            own.fingerprint,
            match of_task {
                Some(precision) => format!("give --precision {precision}"),
                None => "give the file it was trained on".to_owned(),
            }
        ))
    }
}

/// Key of a training record: the fingerprints of the backbone in every precision, by its name, and
/// with all tensors in half precision.
const PRECISIONS: &str = "backbone-precisions";

/// Digits of a fingerprint in a training record: enough to recognise weights, which the whole
/// fingerprint of the task identifies.
const RECORDED_DIGITS: usize = 16;

/// Records the first digits of the fingerprints of the backbone's weights in other precisions.
pub(crate) fn record_precisions(backbone: &Backbone, record: &mut TrainingRecord) {
    let own = backbone.fingerprint();
    let precisions = (backbone.related_fingerprints().into_iter())
        .filter(|(_, fingerprint)| *fingerprint != own)
        .map(|(name, fingerprint)| {
            let digits = fingerprint.to_string()[..RECORDED_DIGITS].to_owned();
            (name, digits.into())
        })
        .collect::<serde_json::Map<_, _>>();
    record.insert(PRECISIONS, precisions);
}

/// The first digits of the fingerprints of a task's backbone in other precisions than its own.
fn recorded_digits(training: &TrainingRecord) -> Vec<&str> {
    let recorded = training.get(PRECISIONS).and_then(|value| value.as_object());
    recorded
        .into_iter()
        .flat_map(|object| object.values())
        .filter_map(|value| value.as_str())
        .filter(|digits| digits.len() >= RECORDED_DIGITS)
        .collect()
}
