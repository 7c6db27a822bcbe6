//! Verifies that a file is undamaged, fits its backbone, and gives bit-identical outputs in all
//! conditions.

mod answers;
mod outcome;

use std::fs::File;
use std::path::Path;

use burn::tensor::Device;
use piggyback_task::TaskFile;
use serde::{Deserialize, Serialize};

use self::outcome::{Failure, Outcome, TASK};
use crate::checkpoint::Backbone;
use crate::error::{Error, Result};
use crate::files::LearnedFile;
use crate::name::named;
use crate::nn::is_cpu;

/// The checks, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckName {
    /// The file is exactly what training wrote.
    Integrity,
    /// It belongs to the backbone's weights.
    Fingerprint,
    /// Its masks, batch norms and head have the backbone's shapes.
    Fit,
    /// Its outputs are finite.
    Numbers,
    /// Outputs are bit-identical after other tasks were loaded, used and removed, and in another
    /// order.
    Repeat,
    /// Outputs are bit-identical image by image and in a batch.
    Batch,
    /// Outputs are bit-identical on one thread and on all.
    Threads,
    /// Outputs are bit-identical with every instruction set of this CPU.
    Instructions,
}

named!(CheckName);

impl CheckName {
    /// The checks for networks on `device`. Only the CPU guarantees bit-identical outputs for any
    /// batch, thread count and instruction set.
    pub fn on(device: &Device) -> &'static [Self] {
        const EVERYWHERE: [CheckName; 5] = [
            CheckName::Integrity,
            CheckName::Fingerprint,
            CheckName::Fit,
            CheckName::Numbers,
            CheckName::Repeat,
        ];
        const ON_CPU: [CheckName; 8] = {
            let [integrity, fingerprint, fit, numbers, repeat] = EVERYWHERE;
            let (batch, threads) = (CheckName::Batch, CheckName::Threads);
            let instructions = CheckName::Instructions;
            [
                integrity,
                fingerprint,
                fit,
                numbers,
                repeat,
                batch,
                threads,
                instructions,
            ]
        };
        if is_cpu(device) { &ON_CPU } else { &EVERYWHERE }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    #[serde(rename = "check")]
    pub name: CheckName,
    /// Whether it passed.
    pub ok: bool,
    /// What was compared, in words, if there is a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Check {
    fn new(name: CheckName, outcome: Outcome) -> Self {
        let (ok, compared, reason) = match outcome {
            Ok(compared) => (true, compared, None),
            Err(Failure(reason)) => (false, None, Some(reason)),
        };
        Self {
            name,
            ok,
            compared,
            reason,
        }
    }
}

/// Runs the checks of [`CheckName::on`] on a result file and stops at the first failure, as each
/// check relies on those before it. `begins` is called before each check.
///
/// A task file needs its backbone. Other files run on `device` without one; if a backbone is given,
/// the check is that they were created from its weights.
///
/// # Errors
///
/// [`Error::Read`] and [`Error::NeedsBackbone`], if the file cannot be checked.
pub fn verify(
    path: &Path,
    backbone: Option<&Backbone>,
    device: &Device,
    mut begins: impl FnMut(CheckName),
) -> Result<Vec<Check>> {
    File::open(path).map_err(|error| Error::read(path, error))?;
    begins(CheckName::Integrity);
    let learned_file = match LearnedFile::open(path) {
        Ok(learned_file) => learned_file,
        Err(error) => return Ok(vec![Check::new(CheckName::Integrity, Err(error.into()))]),
    };
    if learned_file.needs_backbone() && backbone.is_none() {
        return Err(Error::NeedsBackbone {
            path: path.to_owned(),
        });
    }
    let mut checks = vec![Check::new(CheckName::Integrity, Ok(None))];

    begins(CheckName::Fingerprint);
    let outcome = check_fingerprint(backbone, &learned_file);
    checks.push(Check::new(CheckName::Fingerprint, outcome));
    if checks.iter().any(|check| !check.ok) {
        return Ok(checks);
    }

    begins(CheckName::Fit);
    let engine = match learned_file.engine(TASK, backbone, device) {
        Ok(engine) => engine,
        Err(error) => {
            checks.push(Check::new(CheckName::Fit, Err(error.into())));
            return Ok(checks);
        }
    };
    checks.push(Check::new(CheckName::Fit, Ok(None)));

    let wanted = CheckName::on(device);
    for (name, check) in ANSWERS
        .into_iter()
        .filter(|(name, _)| wanted.contains(name))
    {
        begins(name);
        let mut outcome = Ok(None);
        for task in learned_file.names(TASK) {
            outcome = check(engine.backbone(), engine.task(&task)?.as_ref());
            if outcome.is_err() {
                break;
            }
        }
        checks.push(Check::new(name, outcome));
        if checks.iter().any(|check| !check.ok) {
            break;
        }
    }
    Ok(checks)
}

/// A check of a task's outputs.
type AnswersCheck = fn(&Backbone, &TaskFile) -> Outcome;

const ANSWERS: [(CheckName, AnswersCheck); 5] = [
    (CheckName::Numbers, answers::numbers),
    (CheckName::Repeat, answers::repeat),
    (CheckName::Batch, answers::batch),
    (CheckName::Threads, answers::threads),
    (CheckName::Instructions, answers::instructions),
];

/// Checks that a file belongs to the given backbone; always passes without one.
fn check_fingerprint(backbone: Option<&Backbone>, learned_file: &LearnedFile) -> Outcome {
    let Some(backbone) = backbone else {
        return Ok(None);
    };
    let began = match learned_file {
        LearnedFile::Task(task) => {
            return backbone.check_origin(task).map(|()| None).map_err(Failure);
        }
        LearnedFile::Shared(network) => network.backbone().fingerprint.to_string(),
        LearnedFile::Network(_) => {
            let training = learned_file
                .tasks()
                .into_iter()
                .find_map(|task| task.training);
            let recorded = training.and_then(|record| record.get("backbone-fingerprint")?.as_str());
            match recorded {
                Some(recorded) => recorded.to_owned(),
                None => return Ok(None),
            }
        }
    };
    let own = backbone.fingerprint().to_string();
    match began == own {
        true => Ok(None),
        false => Err(Failure(format!(
            "it was created from weights with fingerprint {began}, but the backbone has {own}"
        ))),
    }
}
