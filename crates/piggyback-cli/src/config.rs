//! Where the settings of a run come from: recipe or defaults, then config file, then environment and
//! flags, each over the one before.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use piggyback::backbone::{Architecture, LoadOptions, Precision};
use piggyback::pretrain::PretrainConfig;
use piggyback::train::{Recipe, TrainConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::args::{
    DEFAULT_DEVICE, PretrainArgs, PretrainSettings, RunPlaces, Settings, TrainArgs, long_names,
};

/// A run of mask learning, everything decided.
#[derive(Debug)]
pub(crate) struct TrainPlan {
    pub(crate) backbone: PathBuf,
    pub(crate) load: LoadOptions,
    pub(crate) run: RunPlan,
    pub(crate) settings: TrainConfig,
}

/// A run of training from scratch, everything decided.
#[derive(Debug)]
pub(crate) struct PretrainPlan {
    pub(crate) architecture: Architecture,
    pub(crate) run: RunPlan,
    pub(crate) settings: PretrainConfig,
}

/// What a run reads, writes and computes on.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) data: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) device: String,
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

/// What `piggyback train` looks for in a config file besides its settings.
const TRAIN_PLACES: [&str; 7] = [
    "backbone",
    "arch",
    "precision",
    "data",
    "out",
    "run-dir",
    "device",
];

/// What `piggyback pretrain` looks for in a config file besides its settings.
const PRETRAIN_PLACES: [&str; 5] = ["arch", "data", "out", "run-dir", "device"];

/// A config file's content.
#[derive(Default)]
struct Layer {
    places: PlacesInFile,
    settings: Table,
}

impl Layer {
    /// Reads `config`, if one is given, for a verb that has these places, settings `S`, and flags `F`
    /// for them.
    fn read<F, S>(config: Option<&PathBuf>, places: &[&str]) -> Result<Self>
    where
        F: clap::Args,
        S: DeserializeOwned,
    {
        let Some(path) = config else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the config file {}", path.display()))?;
        Self::parse::<F, S>(path, &text, places)
    }

    /// Understands the content of a config file, whose mistakes are to be told with its name.
    fn parse<F, S>(path: &Path, text: &str, places: &[&str]) -> Result<Self>
    where
        F: clap::Args,
        S: DeserializeOwned,
    {
        let shown = path.display();
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| anyhow!("{shown}: {}", in_a_line(&error, text)))?;
        let settings = long_names::<F>();
        let is_place = |key: &str| places.contains(&key);
        let is_known = |key: &str| is_place(key) || settings.iter().any(|name| name == key);
        if let Some(key) = table.keys().find(|key| !is_known(key)) {
            let settings = settings.iter().map(String::as_str);
            let names: Vec<&str> = places.iter().copied().chain(settings).collect();
            bail!(
                "{shown}: unknown key '{key}'; known are {}",
                names.join(", ")
            );
        }
        // One key at a time, so that a wrong value is told with its key.
        for (key, value) in &table {
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            let outcome = match is_place(key) {
                true => alone.try_into::<PlacesInFile>().map(drop),
                false => alone.try_into::<S>().map(drop),
            };
            outcome.map_err(|error| anyhow!("{shown}: {key} = {value}: {}", error.message()))?;
        }
        let (of_places, settings): (Table, Table) =
            table.into_iter().partition(|(key, _)| is_place(key));
        Ok(Self {
            places: of_places.try_into()?,
            settings,
        })
    }
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

/// Decides everything about mask learning from the command line and the config file it names.
///
/// # Errors
///
/// A config file that cannot be read or understood, a setting out of range, a place not given.
pub(crate) fn train_plan(args: &TrainArgs) -> Result<TrainPlan> {
    let config = args.switches.config.as_ref();
    decide_train(
        args,
        Layer::read::<Settings, TrainConfig>(config, &TRAIN_PLACES)?,
    )
}

/// Decides everything about training from scratch from the command line and the config file it names.
///
/// # Errors
///
/// As [`train_plan`].
pub(crate) fn pretrain_plan(args: &PretrainArgs) -> Result<PretrainPlan> {
    let config = args.switches.config.as_ref();
    decide_pretrain(
        args,
        Layer::read::<PretrainSettings, PretrainConfig>(config, &PRETRAIN_PLACES)?,
    )
}

fn decide_train(args: &TrainArgs, file: Layer) -> Result<TrainPlan> {
    let given = Table::try_from(&args.settings)?;
    let (places, mut in_file) = (&args.places, file.places);
    let recipe = match given.get("recipe").or(file.settings.get("recipe")) {
        Some(name) => name.clone().try_into::<Recipe>()?,
        None => Recipe::default(),
    };
    let mut settings = Table::try_from(TrainConfig::recipe(recipe))?;
    settings.extend(file.settings);
    settings.extend(given);
    settings.insert("recipe".into(), Value::try_from(recipe)?);
    let settings: TrainConfig = understood(settings)?;
    settings.validate()?;

    let backbone = required(
        places.backbone.as_ref(),
        in_file.backbone.take(),
        "backbone",
    )?;
    Ok(TrainPlan {
        backbone,
        load: LoadOptions {
            architecture: places.arch.or(in_file.arch),
            precision: places.precision.or(in_file.precision),
        },
        run: decide_run(places.out.as_ref(), &places.run, in_file)?,
        settings,
    })
}

fn decide_pretrain(args: &PretrainArgs, file: Layer) -> Result<PretrainPlan> {
    let mut settings = file.settings;
    settings.extend(Table::try_from(&args.settings)?);
    let settings: PretrainConfig = understood(settings)?;
    settings.validate()?;

    let (places, in_file) = (&args.places, file.places);
    Ok(PretrainPlan {
        architecture: required(places.arch.as_ref(), in_file.arch, "arch")?,
        run: decide_run(places.out.as_ref(), &places.run, in_file)?,
        settings,
    })
}

fn decide_run(out: Option<&PathBuf>, given: &RunPlaces, in_file: PlacesInFile) -> Result<RunPlan> {
    let data = required(given.data.as_ref(), in_file.data, "data")?;
    let out = required(out, in_file.out, "out")?;
    Ok(RunPlan {
        data,
        run_dir: (given.run_dir.clone().or(in_file.run_dir)).unwrap_or_else(|| run_dir(&out)),
        device: (given.device.clone().or(in_file.device)).unwrap_or_else(|| DEFAULT_DEVICE.into()),
        out,
    })
}

fn required<T: Clone>(flag: Option<&T>, in_file: Option<T>, name: &str) -> Result<T> {
    flag.cloned().or(in_file).ok_or_else(|| {
        anyhow!("--{name} is missing; give it here, or as '{name}' in a --config file")
    })
}

fn understood<S: DeserializeOwned>(settings: Table) -> Result<S> {
    (settings.try_into()).map_err(|error: toml::de::Error| anyhow!("{}", error.message()))
}

/// The run folder beside a file that a run writes: `flags.run` for `flags.task.safetensors`, and
/// `flags.safetensors.run` for a network, so that tasks and networks of one name keep apart.
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

    fn merged(flags: &[&str], file: &str) -> Result<TrainPlan> {
        let path = Path::new("flags.toml");
        let file = Layer::parse::<Settings, TrainConfig>(path, file, &TRAIN_PLACES)?;
        decide_train(&args(flags), file)
    }

    fn merged_pretrain(flags: &[&str], file: &str) -> Result<PretrainPlan> {
        let line = ["piggyback", "pretrain"].iter().chain(flags);
        let matches = command().try_get_matches_from(line).unwrap();
        let Verb::Pretrain(args) = Args::from_arg_matches(&matches).unwrap().verb else {
            panic!("another verb");
        };
        let path = Path::new("places.toml");
        let file = Layer::parse::<PretrainSettings, PretrainConfig>(path, file, &PRETRAIN_PLACES)?;
        decide_pretrain(&args, file)
    }

    fn message(file: &str) -> String {
        merged(&PATHS, file).unwrap_err().to_string()
    }

    #[test]
    fn without_settings_the_default_recipe_holds() {
        let plan = merged(&PATHS, "").unwrap();
        assert_eq!(plan.settings, TrainConfig::default());
        assert_eq!(plan.run.device, "cpu");
        assert_eq!(plan.run.run_dir, Path::new("a/b.run"));
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
        assert_eq!(plan.run.data, Path::new("elsewhere"));
        assert_eq!(plan.run.run_dir, Path::new("r"));
        assert_eq!(plan.load.architecture, Some(Architecture::Vgg16));
        assert_eq!(plan.load.precision, Some(Precision::Bf16));
        assert_eq!(plan.run.device, "cuda");
        assert!(
            merged(&[], "")
                .unwrap_err()
                .to_string()
                .contains("--backbone is missing")
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

    #[test]
    fn pretraining_is_decided_in_the_same_order() {
        let file = "arch = 'resnet34'\ndata = 'd'\nout = 'a/places.safetensors'\nlr = 0.5\n\
                    step-epochs = 7\nschedule = 'step'";
        let plan = merged_pretrain(&["--lr", "0.25", "--arch", "vgg11"], file).unwrap();
        assert_eq!(plan.architecture, Architecture::Vgg11);
        assert_eq!(plan.run.run_dir, Path::new("a/places.safetensors.run"));
        let expected = PretrainConfig {
            lr: Some(0.25),
            step_epochs: Some(7),
            schedule: piggyback::train::Schedule::Step,
            ..PretrainConfig::default()
        };
        assert_eq!(plan.settings, expected);
        let refused = |file| merged_pretrain(&[], file).unwrap_err().to_string();
        assert!(refused("data = 'd'\nout = 'o'").contains("--arch is missing"));
        assert!(refused("backbone = 'w'").starts_with("places.toml: unknown key 'backbone'"));
        assert!(refused("momentum = 2").contains("momentum"));
    }
}
