//! The settings of every method, as one value.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use super::bitdelta::BitDeltaConfig;
use super::fine_tune::FineTuneConfig;
use super::masks::{MaskLayers, NormMode, Preset, TrainConfig};
use super::packnet::PackNetConfig;
use crate::error::{Error, Result};
use crate::files::MethodName;
use crate::image::PreprocessingSettings;

/// A method with its settings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MethodSettings {
    /// [`MethodName::Piggyback`].
    Piggyback(TrainConfig),
    /// [`MethodName::ClassifierOnly`].
    ClassifierOnly(TrainConfig),
    /// [`MethodName::NormOnly`].
    NormOnly(TrainConfig),
    /// [`MethodName::Bitdelta`].
    Bitdelta(BitDeltaConfig),
    /// [`MethodName::Individual`].
    Individual(FineTuneConfig),
    /// [`MethodName::Joint`].
    Joint(FineTuneConfig),
    /// [`MethodName::Packnet`].
    Packnet(PackNetConfig),
}

impl MethodSettings {
    /// The settings that a table of them gives, under the names of the method's configuration
    /// ([`TrainConfig`], [`BitDeltaConfig`], [`FineTuneConfig`], [`PackNetConfig`]) and `preset`; what it leaves out is the preset's.
    ///
    /// Without a method, it is [`MethodName::Piggyback`], or what the settings leave of it.
    ///
    /// # Errors
    ///
    /// An unknown setting, a value of another type or out of range, and settings that
    /// contradict the method.
    pub fn from_table(method: Option<MethodName>, table: &Table) -> Result<Self> {
        let preset = match table.get("preset") {
            Some(name) => understood::<Preset>("preset", name.clone())?,
            None => Preset::default(),
        };
        let settings = match method {
            Some(MethodName::Bitdelta) => {
                let start = BitDeltaConfig::preset(preset);
                Self::Bitdelta(merged(start, &without_preset(table))?)
            }
            Some(MethodName::Individual) => Self::Individual(tuned(preset, table)?),
            Some(MethodName::Joint) => Self::Joint(tuned(preset, table)?),
            Some(MethodName::Packnet) => {
                let start = PackNetConfig::preset(preset);
                Self::Packnet(merged(start, &without_preset(table))?)
            }
            method => Self::of_masks(method, merged(masks_start(method, preset), table)?)?,
        };
        settings.validate()?;
        Ok(settings)
    }

    fn of_masks(method: Option<MethodName>, config: TrainConfig) -> Result<Self> {
        let found = config.method();
        if let Some(method) = method.filter(|method| *method != found) {
            let reason = format!(
                "mask-layers '{}' and norm '{}' make it method {found}, and method {method} is \
                 asked for; leave these settings or the method out",
                config.mask_layers, config.norm
            );
            return Err(Error::setting("method", reason));
        }
        Ok(match found {
            MethodName::NormOnly => Self::NormOnly(config),
            MethodName::ClassifierOnly => Self::ClassifierOnly(config),
            _ => Self::Piggyback(config),
        })
    }

    /// All settings of a preset, for `method`.
    ///
    /// # Errors
    ///
    /// A preset of another method.
    pub fn new(method: MethodName, preset: Preset) -> Result<Self> {
        let preset = Table::from_iter([("preset".to_owned(), preset.to_string().into())]);
        Self::from_table(Some(method), &preset)
    }

    /// The method.
    pub fn method(&self) -> MethodName {
        match self {
            Self::Piggyback(_) => MethodName::Piggyback,
            Self::ClassifierOnly(_) => MethodName::ClassifierOnly,
            Self::NormOnly(_) => MethodName::NormOnly,
            Self::Bitdelta(_) => MethodName::Bitdelta,
            Self::Individual(_) => MethodName::Individual,
            Self::Joint(_) => MethodName::Joint,
            Self::Packnet(_) => MethodName::Packnet,
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// The first setting out of its range, with the range.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Piggyback(config) | Self::ClassifierOnly(config) | Self::NormOnly(config) => {
                config.validate()
            }
            Self::Individual(config) | Self::Joint(config) => config.validate(),
            Self::Bitdelta(config) => config.validate(),
            Self::Packnet(config) => config.validate(),
        }
    }

    /// The settings as a table, without the method.
    ///
    /// # Errors
    ///
    /// A number that TOML cannot hold, such as a seed above `i64::MAX`.
    pub fn to_table(&self) -> Result<Table> {
        let table = match self {
            Self::Piggyback(config) | Self::ClassifierOnly(config) | Self::NormOnly(config) => {
                Table::try_from(config)
            }
            Self::Individual(config) | Self::Joint(config) => Table::try_from(config),
            Self::Bitdelta(config) => Table::try_from(config),
            Self::Packnet(config) => Table::try_from(config),
        };
        table.map_err(|error| Error::setting("settings", error.to_string()))
    }

    /// Names of the settings that `method` has, sorted.
    pub fn names(method: MethodName) -> Vec<String> {
        let table = match method {
            MethodName::Piggyback | MethodName::ClassifierOnly | MethodName::NormOnly => {
                Table::try_from(TrainConfig::default())
            }
            MethodName::Individual | MethodName::Joint => {
                Table::try_from(FineTuneConfig::default())
            }
            MethodName::Bitdelta => Table::try_from(BitDeltaConfig::default()),
            MethodName::Packnet => Table::try_from(PackNetConfig::default()),
        };
        let mut names: Vec<String> = table.unwrap_or_default().keys().cloned().collect();
        names.push("preset".into());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Checks one setting by itself.
    ///
    /// # Errors
    ///
    /// What is expected instead of `value`.
    pub fn check(method: MethodName, name: &str, value: &toml::Value) -> Result<(), String> {
        let alone = || Table::from_iter([(name.to_owned(), value.clone())]);
        let outcome = match (name, method) {
            ("preset", _) => value.clone().try_into::<Preset>().map(drop),
            (_, MethodName::Piggyback | MethodName::ClassifierOnly | MethodName::NormOnly) => {
                alone().try_into::<TrainConfig>().map(drop)
            }
            (_, MethodName::Individual | MethodName::Joint) => {
                alone().try_into::<FineTuneConfig>().map(drop)
            }
            (_, MethodName::Bitdelta) => alone().try_into::<BitDeltaConfig>().map(drop),
            (_, MethodName::Packnet) => alone().try_into::<PackNetConfig>().map(drop),
        };
        outcome.map_err(|error| error.message().to_owned())
    }

    /// How images are prepared, as far as it is not left to the backbone.
    pub fn preprocessing(&self) -> PreprocessingSettings {
        match self {
            Self::Piggyback(config) | Self::ClassifierOnly(config) | Self::NormOnly(config) => {
                config.preprocessing()
            }
            Self::Individual(config) | Self::Joint(config) => config.preprocessing(),
            Self::Bitdelta(config) => config.preprocessing(),
            Self::Packnet(config) => config.preprocessing(),
        }
    }
}

/// Where the settings of a method with masks, or of what remains of it without them, start.
fn masks_start(method: Option<MethodName>, preset: Preset) -> TrainConfig {
    let config = TrainConfig::preset(preset);
    match method {
        Some(MethodName::NormOnly) => TrainConfig {
            mask_layers: MaskLayers::None,
            norm: NormMode::Task,
            ..config
        },
        Some(MethodName::ClassifierOnly) => TrainConfig {
            mask_layers: MaskLayers::None,
            norm: NormMode::Frozen,
            ..config
        },
        _ => config,
    }
}

fn tuned(preset: Preset, table: &Table) -> Result<FineTuneConfig> {
    merged(FineTuneConfig::preset(preset), &without_preset(table))
}

/// The preset is no setting of methods that do not record it.
fn without_preset(table: &Table) -> Table {
    let mut table = table.clone();
    table.remove("preset");
    table
}

/// `start` with what `table` sets.
fn merged<S: Serialize + DeserializeOwned>(start: S, table: &Table) -> Result<S> {
    let problem = |error: &dyn std::fmt::Display| Error::setting("settings", error.to_string());
    let mut settings = Table::try_from(start).map_err(|error| problem(&error))?;
    settings.extend(table.clone());
    (settings.try_into()).map_err(|error: toml::de::Error| problem(&error.message()))
}

fn understood<T: DeserializeOwned>(setting: &str, value: toml::Value) -> Result<T> {
    (value.try_into()).map_err(|error: toml::de::Error| Error::setting(setting, error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(method: Option<MethodName>, text: &str) -> Result<MethodSettings> {
        MethodSettings::from_table(method, &text.parse().unwrap())
    }

    fn refusal(method: MethodName, text: &str) -> String {
        settings(Some(method), text).unwrap_err().to_string()
    }

    #[test]
    fn every_method_has_settings_of_its_own_name() {
        for method in MethodName::ALL {
            let settings = MethodSettings::new(method, Preset::Paper).unwrap();
            assert_eq!(settings.method(), method);
            let again = MethodSettings::from_table(Some(method), &settings.to_table().unwrap());
            assert_eq!(again.unwrap(), settings);
            let names = MethodSettings::names(method);
            assert!(names.contains(&"preset".to_owned()) && names.contains(&"epochs".to_owned()));
            assert_eq!(method.to_string().parse(), Ok(method));
        }
    }

    #[test]
    fn settings_without_masks_choose_their_method() {
        let chosen = |text| settings(None, text).unwrap();
        assert_eq!(
            chosen(""),
            MethodSettings::Piggyback(TrainConfig::default())
        );
        assert_eq!(
            chosen("mask-layers = 'none'").method(),
            MethodName::NormOnly
        );
        assert_eq!(
            chosen("mask-layers = 'none'\nnorm = 'frozen'").method(),
            MethodName::ClassifierOnly
        );
    }

    #[test]
    fn a_method_keeps_its_settings() {
        let settings = settings(Some(MethodName::ClassifierOnly), "preset = 'paper'").unwrap();
        let MethodSettings::ClassifierOnly(config) = settings else {
            panic!("{settings:?}")
        };
        assert_eq!((config.preset, config.epochs), (Preset::Paper, 30));
        let error = refusal(MethodName::NormOnly, "norm = 'frozen'");
        assert!(error.contains("classifier-only"), "{error}");
        let error = refusal(MethodName::Piggyback, "mask-layers = 'none'");
        assert!(error.contains("norm-only"), "{error}");
    }

    #[test]
    fn settings_of_other_methods_are_refused() {
        let error = refusal(MethodName::Individual, "lr-mask = 1e-4");
        assert!(error.contains("lr-mask"), "{error}");
        assert!(refusal(MethodName::Piggyback, "lr = 1e-4").contains("lr"));
        assert!(refusal(MethodName::Individual, "epochs = 0").contains("epochs"));
        let check =
            |name, value: &str| MethodSettings::check(MethodName::Individual, name, &value.into());
        assert!(check("augment", "paper").is_ok() && check("lr", "fast").is_err());
    }
}
