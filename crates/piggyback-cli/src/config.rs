//! Where the settings of a run come from: preset or defaults, then config file, then environment and
//! flags, each over the one before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use piggyback::Architecture;
use piggyback::checkpoint::{LoadOptions, Precision, WeightsChoice};
use piggyback::data::{DataSet, Layout};
use piggyback::files::MethodName;
use piggyback::learn::CHECKPOINT_EVERY;
use piggyback::methods::{MethodSettings, PretrainConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::args::{
    DEFAULT_DEVICE, NAMED_DATA, NamedPath, PretrainArgs, PretrainSettings, RunPlaces, Settings,
    TrainArgs, long_names,
};

/// A run of any method on a backbone, everything decided.
#[derive(Debug)]
pub(crate) struct TrainPlan {
    pub(crate) backbone: PathBuf,
    pub(crate) load: LoadOptions,
    pub(crate) weights: WeightsChoice,
    pub(crate) data: Vec<NamedPath>,
    pub(crate) layout: Layout,
    pub(crate) run: RunPlan,
    pub(crate) settings: MethodSettings,
}

/// A run of training from scratch, everything decided.
#[derive(Debug)]
pub(crate) struct PretrainPlan {
    pub(crate) architecture: Architecture,
    pub(crate) data: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) run: RunPlan,
    pub(crate) settings: PretrainConfig,
}

/// What a run writes and computes on.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) out: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) device: String,
    pub(crate) checkpoint_every: Duration,
}

/// What a config file may name besides the settings; paths are relative to the current folder.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PlacesInFile {
    backbone: Option<PathBuf>,
    arch: Option<Architecture>,
    weights: Option<String>,
    precision: Option<Precision>,
    #[serde(default)]
    data: OneOrMore,
    layout: Option<Layout>,
    method: Option<MethodName>,
    out: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    device: Option<String>,
    checkpoint_seconds: Option<u64>,
}

/// Folders of images: one as a text, or a list.
#[derive(Debug, Default, Deserialize)]
#[serde(
    from = "OneOrList",
    expecting = "expected a folder, or a list of folders"
)]
struct OneOrMore(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a folder, or a list of folders")]
enum OneOrList {
    One(String),
    List(Vec<String>),
}

impl From<OneOrList> for OneOrMore {
    fn from(folders: OneOrList) -> Self {
        match folders {
            OneOrList::One(folder) => Self(vec![folder]),
            OneOrList::List(folders) => Self(folders),
        }
    }
}

/// What `piggyback train` looks for in a config file besides its settings.
const TRAIN_PLACES: [&str; 11] = [
    "backbone",
    "arch",
    "weights",
    "precision",
    "data",
    "layout",
    "method",
    "out",
    "run-dir",
    "device",
    "checkpoint-seconds",
];

/// What `piggyback pretrain` looks for in a config file besides its settings.
const PRETRAIN_PLACES: [&str; 7] = [
    "arch",
    "data",
    "layout",
    "out",
    "run-dir",
    "device",
    "checkpoint-seconds",
];

/// A config file's content.
#[derive(Default)]
struct Layer {
    places: PlacesInFile,
    settings: Table,
}

impl Layer {
    /// Reads `config`, if one is given, for a verb that has these places, and flags `F` for its
    /// settings; `check` tells what is wrong with a setting of the whole table.
    fn read<F: clap::Args>(
        config: Option<&PathBuf>,
        places: &[&str],
        check: &CheckSetting<'_>,
    ) -> Result<Self> {
        let Some(path) = config else {
            return Ok(Self::default());
        };
        let text = piggyback::text::read(path).context("the config file")?;
        Self::parse::<F>(path, &text, places, check)
    }

    /// Understands the content of a config file, whose mistakes are to be told with its name.
    fn parse<F: clap::Args>(
        path: &Path,
        text: &str,
        places: &[&str],
        check: &CheckSetting<'_>,
    ) -> Result<Self> {
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
            let outcome = match is_place(key) {
                true => alone::<PlacesInFile>(key, value),
                false => check(&table, key, value),
            };
            outcome.map_err(|error| anyhow!("{shown}: {key} = {value}: {error}"))?;
        }
        let (of_places, settings): (Table, Table) =
            table.into_iter().partition(|(key, _)| is_place(key));
        Ok(Self {
            places: of_places.try_into()?,
            settings,
        })
    }
}

/// Tells what is wrong with a setting, given all that stand with it.
type CheckSetting<'a> = dyn Fn(&Table, &str, &Value) -> Result<(), String> + 'a;

/// Checks one key of a table of `S` by itself.
fn alone<S: DeserializeOwned>(key: &str, value: &Value) -> Result<(), String> {
    let table = Table::from_iter([(key.to_owned(), value.clone())]);
    let outcome = table.try_into::<S>().map(drop);
    outcome.map_err(|error| error.message().to_owned())
}

/// Checks a setting of the method that a table asks for, or `given` before it.
fn check_train(
    given: Option<MethodName>,
    table: &Table,
    key: &str,
    value: &Value,
) -> Result<(), String> {
    let named = |key: &str| table.get(key).and_then(Value::as_str);
    let in_file = named("method").and_then(|name| name.parse().ok());
    let method = given.or(in_file).unwrap_or(MethodName::Piggyback);
    check_known(method, key)?;
    MethodSettings::check(method, key, value)
}

/// Fails on a setting that `method` does not have.
fn check_known(method: MethodName, key: &str) -> Result<(), String> {
    let names = MethodSettings::names(method);
    if names.iter().any(|name| name == key) {
        return Ok(());
    }
    let names = names.join(", ");
    Err(format!(
        "method {method} has no setting '{key}'; it has {names}"
    ))
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
    let given = args.places.method;
    let check = |table: &Table, key: &str, value: &Value| check_train(given, table, key, value);
    decide_train(
        args,
        Layer::read::<Settings>(config, &TRAIN_PLACES, &check)?,
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
        Layer::read::<PretrainSettings>(config, &PRETRAIN_PLACES, &check_pretrain)?,
    )
}

fn check_pretrain(_: &Table, key: &str, value: &Value) -> Result<(), String> {
    alone::<PretrainConfig>(key, value)
}

fn decide_train(args: &TrainArgs, file: Layer) -> Result<TrainPlan> {
    let (places, mut in_file) = (&args.places, file.places);
    let method = places.method.or(in_file.method);
    let mut settings = file.settings;
    settings.extend(Table::try_from(&args.settings)?);
    for key in settings.keys() {
        let known = check_known(method.unwrap_or(MethodName::Piggyback), key);
        known.map_err(anyhow::Error::msg)?;
    }
    let settings = MethodSettings::from_table(method, &settings)?;

    let backbone = required(
        places.backbone.as_ref(),
        in_file.backbone.take(),
        "backbone",
    )?;
    let data = match places.data.is_empty() {
        false => places.data.clone(),
        true => (in_file.data.0.iter())
            .map(|text| {
                NamedPath::parse(text, NAMED_DATA).map_err(|error| anyhow!("data: {error}"))
            })
            .collect::<Result<_>>()?,
    };
    if data.is_empty() {
        return Err(missing("data"));
    }
    // A PackNet file takes many tasks: each has a run folder of its own.
    let of_task = match (settings.method(), &data[..]) {
        (MethodName::Packnet, [set]) => Some(set.name_or(DataSet::name_of)),
        _ => None,
    };
    Ok(TrainPlan {
        backbone,
        data,
        layout: places.layout.or(in_file.layout).unwrap_or_default(),
        weights: match (&places.weights, &in_file.weights) {
            (Some(choice), _) => choice.clone(),
            (None, Some(name)) => (name.parse()).map_err(|reason| anyhow!("weights: {reason}"))?,
            (None, None) => WeightsChoice::Usual,
        },
        load: LoadOptions {
            architecture: places.arch.or(in_file.arch),
            precision: places.precision.or(in_file.precision),
        },
        run: decide_run(places.out.as_ref(), &places.run, in_file, of_task)?,
        settings,
    })
}

fn decide_pretrain(args: &PretrainArgs, file: Layer) -> Result<PretrainPlan> {
    let mut settings = file.settings;
    settings.extend(Table::try_from(&args.settings)?);
    let settings: PretrainConfig = understood(settings)?;
    settings.validate()?;

    let (places, mut in_file) = (&args.places, file.places);
    let data = in_file.data.0.drain(..).next().map(PathBuf::from);
    Ok(PretrainPlan {
        architecture: required(places.arch.as_ref(), in_file.arch, "arch")?,
        data: required(places.data.as_ref(), data, "data")?,
        layout: places.layout.or(in_file.layout).unwrap_or_default(),
        run: decide_run(places.out.as_ref(), &places.run, in_file, None)?,
        settings,
    })
}

/// `of_task` names the task whose run it is, where the file may have several.
fn decide_run(
    out: Option<&PathBuf>,
    given: &RunPlaces,
    in_file: PlacesInFile,
    of_task: Option<String>,
) -> Result<RunPlan> {
    let out = required(out, in_file.out, "out")?;
    let run_dir = || match &of_task {
        None => run_dir(&out),
        Some(task) => {
            let name = out.file_name().unwrap_or_default().to_string_lossy();
            out.with_file_name(format!("{name}.{task}.run"))
        }
    };
    Ok(RunPlan {
        run_dir: (given.run_dir.clone().or(in_file.run_dir)).unwrap_or_else(run_dir),
        device: (given.device.clone().or(in_file.device)).unwrap_or_else(|| DEFAULT_DEVICE.into()),
        checkpoint_every: (given.checkpoint_seconds.or(in_file.checkpoint_seconds))
            .map_or(CHECKPOINT_EVERY, Duration::from_secs),
        out,
    })
}

fn required<T: Clone>(flag: Option<&T>, in_file: Option<T>, name: &str) -> Result<T> {
    flag.cloned().or(in_file).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> anyhow::Error {
    anyhow!("--{name} is missing; give it here, or as '{name}' in a --config file")
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
    use piggyback::methods::{MaskRate, NormMode, Preset, TrainConfig};

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
        let args = args(flags);
        let given = args.places.method;
        let check = |table: &Table, key: &str, value: &Value| check_train(given, table, key, value);
        let file = Layer::parse::<Settings>(path, file, &TRAIN_PLACES, &check)?;
        decide_train(&args, file)
    }

    fn masks(flags: &[&str], file: &str) -> TrainConfig {
        match merged(flags, file).unwrap().settings {
            MethodSettings::Piggyback(config)
            | MethodSettings::ClassifierOnly(config)
            | MethodSettings::NormOnly(config) => config,
            other => panic!("{other:?}"),
        }
    }

    fn merged_pretrain(flags: &[&str], file: &str) -> Result<PretrainPlan> {
        let line = ["piggyback", "pretrain"].iter().chain(flags);
        let matches = command().try_get_matches_from(line).unwrap();
        let Verb::Pretrain(args) = Args::from_arg_matches(&matches).unwrap().verb else {
            panic!("another verb");
        };
        let path = Path::new("places.toml");
        let file = Layer::parse::<PretrainSettings>(path, file, &PRETRAIN_PLACES, &check_pretrain)?;
        decide_pretrain(&args, file)
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
            (settings.lr_mask, settings.lr_head, settings.epochs),
            (MaskRate::Fixed(0.5), 0.125, 3)
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
        assert_eq!(of(&[], "lr-mask = 1"), MaskRate::Fixed(1.0));
        assert_eq!(of(&["--lr-mask", "auto"], "lr-mask = 1e-4"), MaskRate::AUTO);
        assert_eq!(
            of(&[], "preset = 'paper'\nlr-mask = 'auto'"),
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
        assert!(refused(&["--lr", "1"], "").contains("piggyback has no setting 'lr'"));
        let error = refused(&["--method", "individual"], "lr-mask = 1e-4");
        assert!(error.starts_with("flags.toml: lr-mask"), "{error}");
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
        assert!(masks(&PATHS, "skip-bad = true").skip_bad);
        assert!(!masks(&flags, "skip-bad = true").skip_bad);
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
            schedule: piggyback::methods::Schedule::Step,
            ..PretrainConfig::default()
        };
        assert_eq!(plan.settings, expected);
        let refused = |file| merged_pretrain(&[], file).unwrap_err().to_string();
        assert!(refused("data = 'd'\nout = 'o'").contains("--arch is missing"));
        assert!(refused("backbone = 'w'").starts_with("places.toml: unknown key 'backbone'"));
        assert!(refused("momentum = 2").contains("momentum"));
    }
}
