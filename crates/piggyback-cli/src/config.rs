//! Where the settings of a run come from: preset or defaults, then config file, then environment
//! and flags, each over the one before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use piggyback::Architecture;
use piggyback::checkpoint::{LoadOptions, WeightsChoice};
use piggyback::data::{DataSet, Layout};
use piggyback::files::MethodName;
use piggyback::learn::CHECKPOINT_EVERY;
use piggyback::methods::{Layer, MethodSettings, PretrainConfig, Settings as _};
use piggyback::text::{toml_reason, toml_reason_in};
use serde::de::DeserializeOwned;
use toml::Table;

use crate::args::{
    DEFAULT_DEVICE, NamedPath, Places, PretrainArgs, PretrainPlaces, RunPlaces, TrainArgs,
    long_names,
};

/// The resolved settings of a run of any method on a backbone.
#[derive(Debug)]
pub(crate) struct TrainRun {
    pub(crate) backbone: PathBuf,
    pub(crate) load: LoadOptions,
    pub(crate) weights: WeightsChoice,
    pub(crate) data: Vec<NamedPath>,
    pub(crate) layout: Layout,
    pub(crate) run: RunOutputs,
    pub(crate) settings: MethodSettings,
}

/// The resolved settings of a run of training from scratch.
#[derive(Debug)]
pub(crate) struct PretrainRun {
    pub(crate) architecture: Architecture,
    pub(crate) data: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) run: RunOutputs,
    pub(crate) settings: PretrainConfig,
}

/// Outputs and device of a run.
#[derive(Debug)]
pub(crate) struct RunOutputs {
    pub(crate) out: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) device: String,
    pub(crate) checkpoint_every: Duration,
}

/// A config file: places `P`, and settings.
#[derive(Default)]
struct ConfigFile<P> {
    /// Its path, for messages.
    shown: String,
    places: P,
    settings: Table,
    /// The keys of places.
    keys: Vec<String>,
}

impl<P: clap::Args + Default + DeserializeOwned> ConfigFile<P> {
    /// Reads the file, if one is given.
    fn read(config: Option<&PathBuf>) -> Result<Self> {
        let Some(path) = config else {
            return Ok(Self::default());
        };
        let text = piggyback::text::read(path).context("the config file")?;
        Self::parse(path, &text)
    }

    /// Understands the content of a config file, whose mistakes are told with its name. Settings
    /// are looked at when they are laid over each other.
    fn parse(path: &Path, text: &str) -> Result<Self> {
        let shown = path.display().to_string();
        let table: Table =
            (text.parse()).map_err(|error| anyhow!("{shown}: {}", toml_reason_in(text, &error)))?;
        let keys = long_names::<P>();
        let (of_places, settings): (Table, Table) =
            (table.into_iter()).partition(|(key, _)| keys.contains(key));
        // One key at a time, so that an error names the key of a wrong value.
        for (key, value) in &of_places {
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            (alone.try_into::<P>())
                .map_err(|error| anyhow!("{shown}: {key} = {value}: {}", toml_reason(&error)))?;
        }
        Ok(Self {
            places: of_places.try_into()?,
            shown,
            settings,
            keys,
        })
    }

    fn layer(&self) -> Layer<'_> {
        Layer {
            others: &self.keys,
            ..Layer::new(&self.shown, &self.settings)
        }
    }
}

/// Resolves the settings of `piggyback train` from the command line and its config file.
///
/// # Errors
///
/// A config file that cannot be read or parsed, a setting out of range, a missing path.
pub(crate) fn train_plan(args: &TrainArgs) -> Result<TrainRun> {
    decide_train(args, ConfigFile::read(args.switches.config.as_ref())?)
}

/// Decides everything about training from scratch from the command line and the config file it
/// names.
///
/// # Errors
///
/// The same as [`train_plan`].
pub(crate) fn pretrain_plan(args: &PretrainArgs) -> Result<PretrainRun> {
    decide_pretrain(args, ConfigFile::read(args.switches.config.as_ref())?)
}

fn decide_train(args: &TrainArgs, file: ConfigFile<Places>) -> Result<TrainRun> {
    let places = &args.places;
    let method = places.method.or(file.places.method);
    let flags = Table::try_from(&args.settings)?;
    let settings = MethodSettings::from_layers(method, &[file.layer(), Layer::new("", &flags)])?;

    let in_file = file.places;
    let backbone = required(places.backbone.as_ref(), in_file.backbone, "backbone")?;
    let data = if places.data.is_empty() {
        in_file.data
    } else {
        places.data.clone()
    };
    if data.is_empty() {
        return Err(missing("data"));
    }
    // A PackNet file holds many tasks: each has its own run folder.
    let of_task = match (settings.method(), &data[..]) {
        (MethodName::Packnet, [set]) => Some(set.name_or(DataSet::name_of)),
        _ => None,
    };
    let out = required(places.out.as_ref(), in_file.out, "out")?;
    Ok(TrainRun {
        backbone,
        data,
        layout: places.layout.or(in_file.layout).unwrap_or_default(),
        weights: (places.weights.clone().or(in_file.weights)).unwrap_or_default(),
        load: LoadOptions {
            architecture: places.arch.or(in_file.arch),
            precision: places.precision.or(in_file.precision),
        },
        run: decide_run(out, &places.run, in_file.run, of_task),
        settings,
    })
}

fn decide_pretrain(args: &PretrainArgs, file: ConfigFile<PretrainPlaces>) -> Result<PretrainRun> {
    let flags = Table::try_from(&args.settings)?;
    let layers = [file.layer(), Layer::new("", &flags)];
    let settings = PretrainConfig::from_layers("pretraining", &layers)?;
    let (places, in_file) = (&args.places, file.places);
    let out = required(places.out.as_ref(), in_file.out, "out")?;
    Ok(PretrainRun {
        architecture: required(places.arch.as_ref(), in_file.arch, "arch")?,
        data: required(places.data.as_ref(), in_file.data, "data")?,
        layout: places.layout.or(in_file.layout).unwrap_or_default(),
        run: decide_run(out, &places.run, in_file.run, None),
        settings,
    })
}

/// `of_task` names the task of the run, if the file may hold several.
fn decide_run(
    out: PathBuf,
    given: &RunPlaces,
    in_file: RunPlaces,
    of_task: Option<String>,
) -> RunOutputs {
    let run_dir = || match &of_task {
        None => run_dir(&out),
        Some(task) => {
            let name = out.file_name().unwrap_or_default().to_string_lossy();
            out.with_file_name(format!("{name}.{task}.run"))
        }
    };
    RunOutputs {
        run_dir: (given.run_dir.clone().or(in_file.run_dir)).unwrap_or_else(run_dir),
        device: (given.device.clone().or(in_file.device)).unwrap_or_else(|| DEFAULT_DEVICE.into()),
        checkpoint_every: (given.checkpoint_seconds.or(in_file.checkpoint_seconds))
            .map_or(CHECKPOINT_EVERY, Duration::from_secs),
        out,
    }
}

fn required<T: Clone>(flag: Option<&T>, in_file: Option<T>, name: &str) -> Result<T> {
    flag.cloned().or(in_file).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> anyhow::Error {
    anyhow!("--{name} is missing; give it on the command line, or as '{name}' in a --config file")
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
    use piggyback::checkpoint::Precision;
    use piggyback::methods::{NormMode, Preset, Schedule, TrainConfig};

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

    fn merged(flags: &[&str], file: &str) -> Result<TrainRun> {
        let path = Path::new("flags.toml");
        decide_train(&args(flags), ConfigFile::parse(path, file)?)
    }

    fn masks(flags: &[&str], file: &str) -> TrainConfig {
        match merged(flags, file).unwrap().settings {
            MethodSettings::Piggyback(config)
            | MethodSettings::ClassifierOnly(config)
            | MethodSettings::NormOnly(config) => config,
            other => panic!("{other:?}"),
        }
    }

    fn merged_pretrain(flags: &[&str], file: &str) -> Result<PretrainRun> {
        let line = ["piggyback", "pretrain"].iter().chain(flags);
        let matches = command().try_get_matches_from(line).unwrap();
        let Verb::Pretrain(args) = Args::from_arg_matches(&matches).unwrap().verb else {
            panic!("another verb");
        };
        let path = Path::new("places.toml");
        decide_pretrain(&args, ConfigFile::parse(path, file)?)
    }

    fn message(file: &str) -> String {
        merged(&PATHS, file).unwrap_err().to_string()
    }

    #[test]
    fn without_settings_the_default_preset_holds() {
        let plan = merged(&PATHS, "").unwrap();
        assert_eq!(
            plan.settings,
            MethodSettings::Piggyback(TrainConfig::default())
        );
        assert_eq!(plan.run.device, "cpu");
        assert_eq!(plan.run.run_dir, Path::new("a/b.run"));
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_preset() {
        let flags = [&PATHS[..], &["--lr-mask", "0.5", "--norm", "task"]].concat();
        let file = "preset = 'paper'\nlr-mask = 0.25\nlr-head = 0.125\nnorm = 'frozen'\nepochs = 3";
        let settings = masks(&flags, file);
        assert_eq!(settings.preset, Preset::Paper);
        assert_eq!(
            (settings.lr_mask, settings.lr_head, settings.run.epochs),
            (Some(0.5), 0.125, 3)
        );
        assert_eq!(settings.norm, NormMode::Task);
        let paper = TrainConfig::preset(Preset::Paper);
        assert_eq!(
            (settings.schedule, settings.lr_norm),
            (paper.schedule, paper.lr_norm)
        );
    }

    #[test]
    fn the_rate_of_masks_is_a_number_or_auto() {
        let of = |flags: &[&str], file| masks(&[&PATHS[..], flags].concat(), file).lr_mask;
        assert_eq!(of(&[], "lr-mask = 1"), Some(1.0));
        assert_eq!(of(&["--lr-mask", "auto"], "lr-mask = 1e-4"), None);
        assert_eq!(of(&[], "preset = 'paper'\nlr-mask = 'auto'"), None);
        assert!(message("lr-mask = 'fast'").contains("auto"));
    }

    #[test]
    fn scores_may_start_anywhere() {
        let flags = [
            &PATHS[..],
            &["--score-start", "-0.5", "--threshold", "-0.75"],
        ]
        .concat();
        let settings = masks(&flags, "");
        assert_eq!((settings.score_start, settings.threshold), (-0.5, -0.75));
    }

    #[test]
    fn the_preset_itself_may_be_replaced_by_a_flag() {
        let flags = [&PATHS[..], &["--preset", "default"]].concat();
        let settings = masks(&flags, "preset = 'paper'");
        assert_eq!(settings, TrainConfig::default());
    }

    #[test]
    fn a_method_has_its_settings_and_no_others() {
        let with = |flags: &[&str], file| merged(&[&PATHS[..], flags].concat(), file);
        let refused = |flags: &[&str], file| with(flags, file).unwrap_err().to_string();
        let plan = with(
            &["--lr", "0.5"],
            "method = 'packnet'\nlr = 0.25\nlast = true",
        )
        .unwrap();
        let MethodSettings::Packnet(config) = plan.settings else {
            panic!("{:?}", plan.settings)
        };
        assert_eq!((config.lr, config.last), (0.5, true));
        assert_eq!(
            plan.run.run_dir,
            Path::new("a/b.task.safetensors.images.run")
        );
        let flags = ["--method", "individual", "--data", "more=d"];
        let plan = with(&flags, "method = 'packnet'\nlr = 0.25").unwrap();
        assert_eq!(plan.settings.method(), MethodName::Individual);
        assert_eq!(plan.data[1].name.as_deref(), Some("more"));
        assert!(
            refused(&["--lr", "1"], "").contains("method piggyback has no option --lr; it has --")
        );
        let error = refused(&["--method", "individual"], "lr-mask = 1e-4");
        assert!(
            error.starts_with("flags.toml: unknown key 'lr-mask'; method individual"),
            "{error}"
        );
        assert!(message("method = 'magic'").contains("packnet"));
    }

    #[test]
    fn places_may_stand_in_the_file() {
        let file = "backbone = 'w'\narch = 'vgg16'\nprecision = 'bf16'\ndata = 'd'\nout = 'o'\nrun-dir = 'r'\ndevice = 'cuda'\ncheckpoint-seconds = 60";
        let plan = merged(&["--data", "elsewhere"], file).unwrap();
        assert_eq!(plan.data[0].path, Path::new("elsewhere"));
        assert_eq!(plan.run.run_dir, Path::new("r"));
        assert_eq!(plan.load.architecture, Some(Architecture::Vgg16));
        assert_eq!(plan.load.precision, Some(Precision::Bf16));
        assert_eq!(plan.run.device, "cuda");
        assert_eq!(plan.run.checkpoint_every, Duration::from_secs(60));
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
        assert!(masks(&PATHS, "skip-bad = true").run.skip_bad);
        assert!(!masks(&flags, "skip-bad = true").run.skip_bad);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_the_known_ones() {
        let message = message("learning-rate = 1");
        assert!(
            message.starts_with("flags.toml: unknown key 'learning-rate'; method piggyback has")
        );
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
            schedule: Schedule::Step,
            ..PretrainConfig::default()
        };
        assert_eq!(plan.settings, expected);
        let refused = |file| merged_pretrain(&[], file).unwrap_err().to_string();
        assert!(refused("data = 'd'\nout = 'o'").contains("--arch is missing"));
        assert!(refused("backbone = 'w'").starts_with("places.toml: unknown key 'backbone'"));
        assert!(refused("momentum = 2").contains("momentum"));
    }
}
