//! Where the settings of a training run come from: recipe, then config file, then environment and
//! flags, each over the one before.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use piggyback::backbone::{Architecture, LoadOptions, Precision};
use piggyback::train::{Recipe, TrainConfig};
use serde::Deserialize;
use toml::{Table, Value};

use crate::args::{DEFAULT_DEVICE, Places, TrainArgs};

/// A training run, everything decided.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) backbone: PathBuf,
    pub(crate) load: LoadOptions,
    pub(crate) data: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) device: String,
    pub(crate) settings: TrainConfig,
}

/// What a config file may name besides the settings; paths are relative to the current folder.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PlacesInFile {
    backbone: Option<PathBuf>,
    arch: Option<Architecture>,
    precision: Option<Precision>,
    data: Option<PathBuf>,
    out: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    device: Option<String>,
}

const PLACES: [&str; 7] = [
    "backbone",
    "arch",
    "precision",
    "data",
    "out",
    "run-dir",
    "device",
];

/// Decides everything from the command line and the config file it names.
///
/// # Errors
///
/// A config file that cannot be read or understood, a setting out of range, a place not given.
pub(crate) fn plan(args: &TrainArgs) -> Result<Plan> {
    let given = Table::try_from(&args.settings)?;
    let Some(path) = &args.config else {
        return decide(given, Table::new(), &args.places);
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the config file {}", path.display()))?;
    let file = parse(path, &text)?;
    decide(given, file, &args.places)
}

/// Reads a config file, whose mistakes are to be told with its name.
fn parse(path: &Path, text: &str) -> Result<Table> {
    let shown = path.display();
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| anyhow!("{shown}: {}", in_a_line(&error, text)))?;
    let settings = Table::try_from(TrainConfig::default())?;
    let known = |key: &str| PLACES.contains(&key) || settings.contains_key(key);
    if let Some(key) = table.keys().find(|key| !known(key)) {
        let names: Vec<&str> = PLACES
            .into_iter()
            .chain(settings.keys().map(String::as_str))
            .collect();
        bail!(
            "{shown}: unknown key '{key}'; known are {}",
            names.join(", ")
        );
    }
    // One key at a time, so that a wrong value is told with its key.
    for (key, value) in &table {
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        let outcome = match PLACES.contains(&key.as_str()) {
            true => alone.try_into::<PlacesInFile>().map(drop),
            false => alone.try_into::<TrainConfig>().map(drop),
        };
        outcome.map_err(|error| anyhow!("{shown}: {key} = {value}: {}", error.message()))?;
    }
    Ok(table)
}

/// What is wrong with a file that is not TOML, and in which line.
fn in_a_line(error: &toml::de::Error, text: &str) -> String {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let reason = error.message().replace('\n', ", ");
    format!("line {}: {reason}", before.matches('\n').count() + 1)
}

fn decide(given: Table, file: Table, places: &Places) -> Result<Plan> {
    let (in_file, file): (Table, Table) = file
        .into_iter()
        .partition(|(key, _)| PLACES.contains(&key.as_str()));
    let in_file: PlacesInFile = in_file.try_into()?;

    let recipe = match given.get("recipe").or(file.get("recipe")) {
        Some(name) => name.clone().try_into::<Recipe>()?,
        None => Recipe::default(),
    };
    let mut settings = Table::try_from(TrainConfig::recipe(recipe))?;
    settings.extend(file);
    settings.extend(given);
    settings.insert("recipe".into(), Value::try_from(recipe)?);
    let settings: TrainConfig = settings
        .try_into()
        .map_err(|error| anyhow!("{}", error.message()))?;
    settings.validate()?;

    let required = |flag: Option<&PathBuf>, in_file: Option<PathBuf>, name: &str| {
        flag.cloned().or(in_file).ok_or_else(|| {
            anyhow!("--{name} is missing; give it here, or as '{name}' in a --config file")
        })
    };
    let out = required(places.out.as_ref(), in_file.out, "out")?;
    Ok(Plan {
        backbone: required(places.backbone.as_ref(), in_file.backbone, "backbone")?,
        load: LoadOptions {
            architecture: places.arch.or(in_file.arch),
            precision: places.precision.or(in_file.precision),
        },
        data: required(places.data.as_ref(), in_file.data, "data")?,
        run_dir: places
            .run_dir
            .clone()
            .or(in_file.run_dir)
            .unwrap_or_else(|| run_dir(&out)),
        device: (places.device.clone().or(in_file.device)).unwrap_or_else(|| DEFAULT_DEVICE.into()),
        out,
        settings,
    })
}

/// The run folder beside a task file: `flags.run` for `flags.task.safetensors`.
fn run_dir(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".task.safetensors").unwrap_or(&name);
    out.with_file_name(format!("{stem}.run"))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use piggyback::train::{MaskRate, NormMode, TrainConfig};

    use super::*;
    use crate::args::{Args, Verb, command};

    const PATHS: [&str; 6] = [
        "--backbone",
        "w.pth",
        "--data",
        "images",
        "--out",
        "a/b.task.safetensors",
    ];

    fn args(flags: &[&str]) -> TrainArgs {
        let line = ["piggyback", "train"].iter().chain(flags);
        let matches = command().try_get_matches_from(line).unwrap();
        match Args::from_arg_matches(&matches).unwrap().verb {
            Verb::Train(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn merged(flags: &[&str], file: &str) -> Result<Plan> {
        let args = args(flags);
        let file = parse(Path::new("flags.toml"), file)?;
        decide(Table::try_from(&args.settings)?, file, &args.places)
    }

    fn message(file: &str) -> String {
        merged(&PATHS, file).unwrap_err().to_string()
    }

    #[test]
    fn without_settings_the_default_recipe_holds() {
        let plan = merged(&PATHS, "").unwrap();
        assert_eq!(plan.settings, TrainConfig::default());
        assert_eq!(plan.device, "cpu");
        assert_eq!(plan.run_dir, Path::new("a/b.run"));
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_recipe() {
        let flags = [&PATHS[..], &["--lr-mask", "0.5", "--norm", "task"]].concat();
        let file = "recipe = 'paper'\nlr-mask = 0.25\nlr-head = 0.125\nnorm = 'frozen'\nepochs = 3";
        let settings = merged(&flags, file).unwrap().settings;
        assert_eq!(settings.recipe, Recipe::Paper);
        assert_eq!(
            (settings.lr_mask, settings.lr_head, settings.epochs),
            (MaskRate::Fixed(0.5), 0.125, 3)
        );
        assert_eq!(settings.norm, NormMode::Task);
        let paper = TrainConfig::recipe(Recipe::Paper);
        assert_eq!(
            (settings.schedule, settings.lr_norm),
            (paper.schedule, paper.lr_norm)
        );
    }

    #[test]
    fn the_rate_of_masks_is_a_number_or_auto() {
        let of = |flags: &[&str], file| {
            let plan = merged(&[&PATHS[..], flags].concat(), file).unwrap();
            plan.settings.lr_mask
        };
        assert_eq!(of(&[], "lr-mask = 1"), MaskRate::Fixed(1.0));
        assert_eq!(of(&["--lr-mask", "auto"], "lr-mask = 1e-4"), MaskRate::AUTO);
        assert_eq!(
            of(&[], "recipe = 'paper'\nlr-mask = 'auto'"),
            MaskRate::AUTO
        );
        assert!(message("lr-mask = 'fast'").contains("auto"));
    }

    #[test]
    fn scores_may_start_anywhere() {
        let flags = [
            &PATHS[..],
            &["--score-start", "-0.5", "--threshold", "-0.75"],
        ]
        .concat();
        let settings = merged(&flags, "").unwrap().settings;
        assert_eq!((settings.score_start, settings.threshold), (-0.5, -0.75));
    }

    #[test]
    fn the_recipe_itself_may_be_replaced_by_a_flag() {
        let flags = [&PATHS[..], &["--recipe", "classifier-only"]].concat();
        let plan = merged(&flags, "recipe = 'paper'").unwrap();
        assert_eq!(plan.settings, TrainConfig::recipe(Recipe::ClassifierOnly));
    }

    #[test]
    fn places_may_stand_in_the_file() {
        let file = "backbone = 'w'\narch = 'vgg16'\nprecision = 'bf16'\ndata = 'd'\nout = 'o'\nrun-dir = 'r'\ndevice = 'cuda'";
        let plan = merged(&["--data", "elsewhere"], file).unwrap();
        assert_eq!(plan.data, Path::new("elsewhere"));
        assert_eq!(plan.run_dir, Path::new("r"));
        assert_eq!(plan.load.architecture, Some(Architecture::Vgg16));
        assert_eq!(plan.load.precision, Some(Precision::Bf16));
        assert_eq!(plan.device, "cuda");
        assert!(
            merged(&[], "")
                .unwrap_err()
                .to_string()
                .contains("--out is missing")
        );
    }

    #[test]
    fn a_switch_of_the_file_can_be_turned_off() {
        let flags = [&PATHS[..], &["--skip-bad=false"]].concat();
        assert!(merged(&PATHS, "skip-bad = true").unwrap().settings.skip_bad);
        assert!(!merged(&flags, "skip-bad = true").unwrap().settings.skip_bad);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_the_known_ones() {
        let message = message("learning-rate = 1");
        assert!(message.starts_with("flags.toml: unknown key 'learning-rate'; known are"));
        assert!(
            message.contains("backbone") && message.contains("lr-mask"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_file() {
        assert!(message("epochs = 'many'").starts_with("flags.toml: epochs = \"many\": "));
        assert!(message("norm = 'batch'").contains("frozen"));
        assert!(message("arch = 'vgg'").contains("vgg16"));
        assert!(message("data = 3").starts_with("flags.toml: data = 3: "));
        assert!(message("epochs = 3\nseed = = 4").starts_with("flags.toml: line 2: "));
    }

    #[test]
    fn a_setting_out_of_range_is_refused() {
        assert!(message("epochs = 0").contains("epochs"));
        assert!(message("val-share = 1.5").contains("val-share"));
    }
}
