//! Environment variables that set options.
//!
//! clap uses an environment variable whenever it is set. Here an empty variable is ignored, and so
//! is a switch's variable that is off, and a variable whose option conflicts with a flag on the
//! command line. Errors name the variable that they are about, and escape names as all errors do.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error};
use piggyback::text::visible;

/// Values of a switch's variable that mean off.
const OFF: [&str; 6] = ["0", "false", "no", "off", "n", "f"];

/// Parses the command line and the environment for `command`.
pub(super) fn matches(command: &Command, line: &[OsString]) -> Result<ArgMatches, Error> {
    let given = Given::on(command, line);
    let command = with_speaking_twins(command.clone(), &given.ids);
    // Errors write their message when they are shown: until then names can be replaced in it.
    let told = |error| {
        // Options are shown as errors show them once their command is built.
        let mut built = command.clone();
        built.build();
        told(error, &built, &given)
    };
    command.clone().try_get_matches_from(line).map_err(told)
}

/// What the command line itself holds.
#[derive(Default)]
struct Given {
    /// The options, of all verbs.
    ids: BTreeSet<String>,
    /// The verbs.
    verbs: Vec<String>,
}

impl Given {
    /// Parses as much of the line as possible, without the environment.
    fn on(command: &Command, line: &[OsString]) -> Self {
        let command = without_twins(command.clone()).ignore_errors(true);
        let mut given = Self::default();
        // Help and the version end parsing, whatever else is there.
        let Ok(matches) = command.try_get_matches_from(line) else {
            return given;
        };
        let mut matches = Some(&matches);
        while let Some(level) = matches {
            let on_line =
                |id: &&clap::Id| level.value_source(id.as_str()) == Some(ValueSource::CommandLine);
            given
                .ids
                .extend(level.ids().filter(on_line).map(ToString::to_string));
            matches = level.subcommand().map(|(verb, below)| {
                given.verbs.push(verb.to_owned());
                below
            });
        }
        given
    }

    /// The options of the verbs on the line.
    fn options<'a>(&self, command: &'a Command) -> Vec<&'a Arg> {
        let mut options: Vec<&Arg> = command.get_arguments().collect();
        let mut level = command;
        for verb in &self.verbs {
            let Some(below) = level.find_subcommand(verb) else {
                break;
            };
            options.extend(below.get_arguments());
            level = below;
        }
        options
    }
}

fn without_twins(command: Command) -> Command {
    command
        .mut_args(|arg| arg.env(None::<&'static str>))
        .mut_subcommands(without_twins)
}

/// `command` without the variables that are ignored: silent ones, and ones that an option `given`
/// on the line excludes.
fn with_speaking_twins(command: Command, given: &BTreeSet<String>) -> Command {
    let excluded = excluded(&command, given);
    command
        .mut_args(|arg| {
            let speaks = value(&arg).is_some() && !excluded.contains(arg.get_id().as_str());
            if speaks {
                arg
            } else {
                arg.env(None::<&'static str>)
            }
        })
        .mut_subcommands(|verb| with_speaking_twins(verb, given))
}

/// The options of a verb that conflict with one of those `given`, in either direction.
fn excluded(command: &Command, given: &BTreeSet<String>) -> BTreeSet<String> {
    let mut excluded = BTreeSet::new();
    for arg in command.get_arguments() {
        let own = arg.get_id().as_str();
        for other in command.get_arg_conflicts_with(arg) {
            let other = other.get_id().as_str();
            for (one, against) in [(own, other), (other, own)] {
                if given.contains(one) && !given.contains(against) {
                    excluded.insert(against.to_owned());
                }
            }
        }
    }
    excluded
}

/// The value of an option's variable, unless it is empty or an off switch.
fn value(arg: &Arg) -> Option<OsString> {
    let value = std::env::var_os(arg.get_env()?)?;
    let is_off = |text: &str| OFF.contains(&text.trim().to_lowercase().as_str());
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let text = value.to_str();
    let is_silent = text.is_some_and(|text| text.trim().is_empty() || (is_switch && is_off(text)));
    (!is_silent).then_some(value)
}

/// The error with environment variables named where it is about them, and with names escaped.
fn told(mut error: Error, command: &Command, given: &Given) -> Error {
    let options = given.options(command);
    if error.kind() == ErrorKind::InvalidUtf8 {
        let is_broken = |arg: &&&Arg| value(arg).is_some_and(|value| value.to_str().is_none());
        if let Some(twin) = options.iter().find(is_broken).and_then(|arg| arg.get_env()) {
            let message = format!("{} is not UTF-8 text\n", shown(twin));
            return Error::raw(ErrorKind::InvalidUtf8, message).format(&mut command.clone());
        }
        return error;
    }
    let bad = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => Some(value.clone()),
        _ => None,
    };
    // An option's name in errors: its variable, if the value came from there.
    let named = |name: &str| {
        let arg = options.iter().find(|arg| arg.to_string() == name);
        let twin = arg.and_then(|arg| Some((arg, arg.get_env()?, value(arg)?)));
        let is_meant = |arg: &Arg, value: &OsStr| match &bad {
            Some(bad) => value.to_str() == Some(bad),
            None => !given.ids.contains(arg.get_id().as_str()),
        };
        match twin {
            Some((arg, twin, value)) if is_meant(arg, &value) => {
                format!("{} ({name})", shown(twin))
            }
            _ => visible(name).into_owned(),
        }
    };
    if error.kind() == ErrorKind::ValueValidation
        && let (Some(bad), Some(ContextValue::String(name)), Some(reason)) = (
            &bad,
            error.get(ContextKind::InvalidArg),
            error.source().map(ToString::to_string),
        )
    {
        let (bad, name, reason) = (visible(bad), named(name), visible(&reason).into_owned());
        let message = format!("invalid value '{bad}' for '{name}': {reason}\n");
        return Error::raw(ErrorKind::ValueValidation, message).format(&mut command.clone());
    }
    let context: Vec<(ContextKind, ContextValue)> = error
        .context()
        .map(|(kind, value)| {
            let is_arg = matches!(kind, ContextKind::InvalidArg | ContextKind::PriorArg);
            let name = |text: &String| match is_arg {
                true => named(text),
                false => visible(text).into_owned(),
            };
            let value = match value {
                ContextValue::String(text) => ContextValue::String(name(text)),
                ContextValue::Strings(texts) => {
                    ContextValue::Strings(texts.iter().map(name).collect())
                }
                ContextValue::StyledStrs(texts) => {
                    ContextValue::StyledStrs(texts.iter().map(visible_styled).collect())
                }
                other => other.clone(),
            };
            (kind, value)
        })
        .collect();
    for (kind, value) in context {
        error.insert(kind, value);
    }
    error
}

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// A suggestion of clap's, which may repeat what was typed.
fn visible_styled(text: &StyledStr) -> StyledStr {
    let plain = text.to_string();
    match visible(&plain) {
        shown if shown == plain => text.clone(),
        shown => shown.into_owned().into(),
    }
}
