//! The command line and its environment variables. Nothing here reads a file or prints.

mod backbone;
mod compare;
mod compress;
mod environment;
mod eval;
mod export;
mod image;
mod inspect;
mod method;
mod named;
mod predict;
mod pretrain;
mod run;
mod train;
mod unpack;
mod values;
mod verbs;
mod verify;

use std::path::PathBuf;

use clap::Command;
use piggyback::Architecture;
use piggyback::checkpoint::{Precision, WeightsChoice};
use piggyback::files::MethodName;
use piggyback::methods::{MethodSettings, Preset};
use serde::Serialize;

#[cfg(feature = "hub")]
pub(crate) use backbone::FetchArgs;
pub(crate) use backbone::{
    BackboneCommand, BackboneInspectArgs, BackboneVerb, ConvertArgs, ListArgs,
};
pub(crate) use compare::{CompareArgs, CompareUnitArgs, Shard};
pub(crate) use compress::CompressArgs;
pub(crate) use eval::EvalArgs;
pub(crate) use export::ExportArgs;
pub(crate) use image::ImageArgs;
pub(crate) use inspect::InspectArgs;
pub(crate) use named::NamedPath;
pub(crate) use predict::{PredictArgs, task_name};
pub(crate) use pretrain::{PretrainArgs, PretrainPlaces, PretrainSettings};
pub(crate) use run::{RunPlaces, RunSwitches, TrainingImages};
pub(crate) use train::{Places, Settings, TrainArgs};
pub(crate) use unpack::UnpackArgs;
use values::{count, named, seed, switch, value_or, weights};
pub(crate) use verbs::{Args, Verb, command, parse};
pub(crate) use verify::VerifyArgs;

/// The backbone that tasks run on.
#[derive(Debug, clap::Args)]
pub(crate) struct BackboneArgs {
    /// Checkpoint of the pretrained network: .pth, .safetensors, or the index of a sharded
    /// checkpoint. Not needed for files that hold a whole network
    #[arg(long, value_name = "FILE", env = "PIGGYBACK_BACKBONE")]
    pub(crate) backbone: Option<PathBuf>,
    /// Architecture of the checkpoint; `piggyback backbone list` shows the names [default: detected
    /// from the tensors]
    #[arg(long, env = "PIGGYBACK_ARCH", value_parser = named::<Architecture>(), hide_possible_values = true)]
    pub(crate) arch: Option<Architecture>,
    /// Which weights to load if the checkpoint holds several sets: ema (moving average), raw, or
    /// the name of a set [default: the same as timm and torchvision, ema before raw]
    #[arg(long, value_name = "ema|raw|NAME", env = "PIGGYBACK_WEIGHTS", value_parser = weights())]
    pub(crate) weights: Option<WeightsChoice>,
    /// Convert the weights to this precision; computation stays in 32 bits. A task only fits the
    /// precision it was trained with [default: as stored]
    #[arg(long, env = "PIGGYBACK_PRECISION", value_parser = named::<Precision>())]
    pub(crate) precision: Option<Precision>,
    /// Accept tasks that were trained on the same weights in another precision
    #[arg(long, env = "PIGGYBACK_ALLOW_PRECISION", value_parser = switch())]
    pub(crate) allow_precision: bool,
    /// Device: cpu; or cuda, metal, rocm or wgpu if the program was built with it
    #[arg(long, default_value = DEFAULT_DEVICE, env = "PIGGYBACK_DEVICE")]
    pub(crate) device: String,
}

/// The default device.
pub(crate) const DEFAULT_DEVICE: &str = "cpu";

/// The long names of the options that `F` defines.
pub(crate) fn long_names<F: clap::Args>() -> Vec<String> {
    F::augment_args(Command::new("options"))
        .get_arguments()
        .filter_map(|option| option.get_long().map(str::to_owned))
        .collect()
}

/// Hides the environment variables in the help: they follow one rule, which is stated once.
fn quiet_about_twins(command: Command) -> Command {
    command
        .mut_args(|arg| arg.hide_env(true))
        .mut_subcommands(quiet_about_twins)
}

/// Methods whose defaults may differ from Piggyback's.
const WITHOUT_MASKS: [MethodName; 6] = [
    MethodName::Individual,
    MethodName::Joint,
    MethodName::Bitdelta,
    MethodName::SignDelta,
    MethodName::LowRank,
    MethodName::Packnet,
];

/// Adds default values to the help of settings, and the defaults of `methods` that differ.
fn with_defaults<S: clap::Args>(
    command: Command,
    defaults: &impl Serialize,
    methods: &[MethodName],
) -> Command {
    let Ok(defaults) = toml::Table::try_from(defaults) else {
        return command;
    };
    let settings = S::augment_args(Command::new("settings"));
    settings.get_arguments().fold(command, |command, setting| {
        let default = setting.get_long().and_then(|name| defaults.get(name));
        match default {
            None => command,
            Some(value) => command.mut_arg(setting.get_id(), |arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let name = setting.get_long().unwrap_or_default();
                let others = other_defaults(name, value, methods);
                arg.help(format!("{help} [default: {}{others}]", plain(value)))
            }),
        }
    })
}

/// Lists the options of `A` after all others in the help.
fn at_the_end<A: clap::Args>(command: Command) -> Command {
    let options = A::augment_args(Command::new("options"));
    // An argument that is changed goes to the end of the command's list.
    (options.get_arguments()).fold(command, |command, option| {
        command.mut_arg(option.get_id(), |option| option)
    })
}

/// The defaults of setting `name` that differ from `value`, with their methods.
fn other_defaults(name: &str, value: &toml::Value, methods: &[MethodName]) -> String {
    let mut others: Vec<(String, String)> = Vec::new();
    for method in methods {
        let table = MethodSettings::new(*method, Preset::Default).to_table();
        let Some(other) = table.ok().and_then(|table| table.get(name).cloned()) else {
            continue;
        };
        if other == *value {
            continue;
        }
        match others.iter_mut().find(|(_, same)| *same == plain(&other)) {
            Some((methods, _)) => methods.push_str(&format!(", {method}")),
            None => others.push((method.to_string(), plain(&other))),
        }
    }
    (others.iter())
        .map(|(methods, value)| format!("; {methods}: {value}"))
        .collect()
}

/// A setting's value as one would type it.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        // 32-bit settings were widened to 64 bits: show the 32-bit number.
        toml::Value::Float(number) => (*number as f32).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::ffi::OsString;

    use clap::Command;

    use super::command;

    #[test]
    fn the_definitions_are_sound() {
        command().debug_assert();
    }

    fn check_twins(command: &Command) {
        for arg in command.get_arguments() {
            let Some(long) = arg
                .get_long()
                .filter(|long| !["help", "version"].contains(long))
            else {
                continue;
            };
            let twin = format!("PIGGYBACK_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(
                arg.get_env(),
                Some(twin.as_ref()),
                "{} --{long}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(check_twins);
    }

    #[test]
    fn every_option_has_its_environment_twin() {
        check_twins(&command());
    }

    /// The kind of value that an option takes, as text.
    fn meaning(arg: &clap::Arg) -> String {
        let is_bool = arg.get_value_parser().type_id() == std::any::TypeId::of::<bool>();
        if is_bool {
            return "BOOL".into();
        }
        let names = arg.get_value_names().unwrap_or_default().iter();
        // FILE.svg and FILE are both files.
        let names: Vec<&str> = names
            .map(|name| name.split('.').next().unwrap_or(name))
            .collect();
        let values = arg.get_possible_values();
        let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        format!("{} {}", names.join(" "), values.join(" "))
    }

    fn collect_meanings(command: &Command, meanings: &mut BTreeMap<OsString, BTreeSet<String>>) {
        for arg in command.get_arguments() {
            if let Some(twin) = arg.get_env() {
                let of_twin = meanings.entry(twin.to_owned()).or_default();
                of_twin.insert(meaning(arg));
            }
        }
        let verbs = command.get_subcommands();
        verbs.for_each(|verb| collect_meanings(verb, meanings));
    }

    #[test]
    fn an_environment_twin_means_the_same_to_every_verb() {
        let mut meanings = BTreeMap::new();
        collect_meanings(&command(), &mut meanings);
        assert!(meanings.len() > 60);
        for (twin, meanings) in meanings {
            assert_eq!(meanings.len(), 1, "{}: {meanings:?}", twin.display());
        }
    }

    fn check_help(command: &Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for arg in command.get_arguments() {
            assert!(
                arg.get_help().is_some(),
                "{} {}",
                command.get_name(),
                arg.get_id()
            );
        }
        command.get_subcommands().for_each(check_help);
    }

    #[test]
    fn every_option_and_verb_has_help() {
        check_help(&command());
    }
}
