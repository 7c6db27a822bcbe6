//! Layered settings: a preset's defaults, then a file, then environment and flags, or the tables of
//! a plan. All are checked here, so the same mistake always gives the same message.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::error::{Error, Result};
use crate::image::ImageSettings;
use crate::text::toml_reason;

/// A table of settings and its location.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Prefix of messages about it, such as a file name. Empty for the command line.
    pub place: &'a str,
    /// Settings by name.
    pub table: &'a Table,
    /// Other valid keys of the table.
    pub others: &'a [String],
}

impl<'a> Layer<'a> {
    /// A table with only settings.
    pub fn new(place: &'a str, table: &'a Table) -> Self {
        Self {
            place,
            table,
            others: &[],
        }
    }

    fn refuse(&self, reason: &str) -> Error {
        let reason = if self.place.is_empty() {
            reason.to_owned()
        } else {
            format!("{}: {reason}", self.place)
        };
        Error::Settings { reason }
    }
}

/// The settings of a method: a flat table, with defaults for all but a few.
pub trait Settings: Clone + Default + Serialize + DeserializeOwned {
    /// Names of settings without a default.
    const UNSET: &'static [&'static str] = &[];

    /// Image preprocessing.
    fn images(&self) -> &ImageSettings;

    /// Checks the ranges of all settings.
    ///
    /// # Errors
    ///
    /// The first setting out of range, with its valid range.
    fn validate(&self) -> Result<()>;

    /// The defaults, overridden by each of `layers` in order. `of` names the method or table in
    /// messages.
    ///
    /// # Errors
    ///
    /// An unknown key, with a list of valid ones; a value of the wrong type, with its key; a
    /// setting out of range.
    fn from_layers(of: &str, layers: &[Layer<'_>]) -> Result<Self> {
        lay(Self::default(), of, layers, &[])
    }

    /// Names of all settings, sorted.
    fn names() -> Vec<String> {
        let table = Table::try_from(Self::default()).unwrap_or_default();
        let unset = Self::UNSET.iter().map(|name| (*name).to_owned());
        let mut names: Vec<String> = table
            .into_iter()
            .map(|(name, _)| name)
            .chain(unset)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The settings as a table.
    ///
    /// # Errors
    ///
    /// A number that TOML cannot hold, such as a seed above `i64::MAX`.
    fn to_table(&self) -> Result<Table> {
        let table = Table::try_from(self);
        table.map_err(|error| Error::Settings {
            reason: error.to_string(),
        })
    }
}

/// [`Settings::from_layers`] with `base` instead of the defaults. Keys in `read` are already
/// handled.
pub(super) fn lay<S: Settings>(
    base: S,
    of: &str,
    layers: &[Layer<'_>],
    read: &[&str],
) -> Result<S> {
    let mut names = S::names();
    names.extend(read.iter().map(|key| (*key).to_owned()));
    let mut table = base.to_table()?;
    let mut settings = base;
    for layer in layers {
        for (key, value) in layer.table {
            if layer.others.contains(key) || read.contains(&key.as_str()) {
                continue;
            }
            if !names.contains(key) {
                let reason = if layer.place.is_empty() {
                    format!(
                        "{of} has no option --{key}; it has --{}",
                        names.join(", --")
                    )
                } else {
                    unknown(key, of, &names, layer.others)
                };
                return Err(layer.refuse(&reason));
            }
            table.insert(key.clone(), value.clone());
            // One key at a time, so that an error names the key.
            settings = (table.clone().try_into())
                .map_err(|error| layer.refuse(&wrong(key, value, &error)))?;
        }
    }
    match settings.validate() {
        Ok(()) => Ok(settings),
        Err(error) => {
            let key = match &error {
                Error::Setting { setting, .. } => setting.clone(),
                _ => String::new(),
            };
            Err(placed(error, &[&key], layers))
        }
    }
}

/// The error for a key that is not a setting of `of`.
fn unknown(key: &str, of: &str, names: &[String], others: &[String]) -> String {
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; other keys are {}", others.join(", "))
    };
    format!("unknown key '{key}'; {of} has {}{others}", names.join(", "))
}

/// The error for a value of the wrong type.
fn wrong(key: &str, value: &toml::Value, error: &toml::de::Error) -> String {
    format!("{key} = {value}: {}", toml_reason(error))
}

/// One value of a layer as `T`.
pub(super) fn understood<T: DeserializeOwned>(
    layer: &Layer<'_>,
    key: &str,
    value: &toml::Value,
) -> Result<T> {
    let read = value.clone().try_into();
    read.map_err(|error| layer.refuse(&wrong(key, value, &error)))
}

/// An error about settings, with the location of the layer that set one of them last.
pub(super) fn placed(error: Error, settings: &[&str], layers: &[Layer<'_>]) -> Error {
    let sets = |layer: &&Layer<'_>| settings.iter().any(|key| layer.table.contains_key(*key));
    match layers.iter().rev().find(sets) {
        Some(layer) if !layer.place.is_empty() => layer.refuse(&error.to_string()),
        _ => error,
    }
}

/// The error for settings in a text.
#[cfg(test)]
pub(super) fn refusal<S: Settings + std::fmt::Debug>(text: &str) -> String {
    let table = text.parse().unwrap();
    let settings = S::from_layers("this method", &[Layer::new("", &table)]);
    settings.unwrap_err().to_string()
}
