//! The settings of any method.

use toml::Table;

use super::delta::DeltaConfig;
use super::fine_tune::FineTuneConfig;
use super::layers::{Layer, Settings, lay, placed, understood};
use super::low_rank::LowRankConfig;
use super::masks::{MaskLayers, NormMode, Preset, TrainConfig};
use super::packnet::PackNetConfig;
use crate::error::{Error, Result};
use crate::files::MethodName;
use crate::image::ImageSettings;

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
    Bitdelta(DeltaConfig),
    /// [`MethodName::SignDelta`].
    SignDelta(DeltaConfig),
    /// [`MethodName::LowRank`].
    LowRank(LowRankConfig),
    /// [`MethodName::Individual`].
    Individual(FineTuneConfig),
    /// [`MethodName::Joint`].
    Joint(FineTuneConfig),
    /// [`MethodName::Packnet`].
    Packnet(PackNetConfig),
}

/// The key of a preset. Methods accept it even if their settings do not record it.
const PRESET: &str = "preset";

impl MethodSettings {
    /// The settings from `layers`, each overriding those before. Keys are the fields of the
    /// method's configuration ([`TrainConfig`], [`DeltaConfig`], [`FineTuneConfig`],
    /// [`LowRankConfig`], [`PackNetConfig`]) and `preset`, which sets the defaults.
    ///
    /// Without a method it is [`MethodName::Piggyback`], or `norm-only` or `classifier-only` if the
    /// settings disable masks.
    ///
    /// # Errors
    ///
    /// An unknown setting, a value of the wrong type or out of range, or settings that contradict
    /// the method.
    pub fn from_layers(method: Option<MethodName>, layers: &[Layer<'_>]) -> Result<Self> {
        let mut preset = Preset::default();
        for layer in layers {
            if let Some(value) = layer.table.get(PRESET) {
                preset = understood(layer, PRESET, value)?;
            }
        }
        let name = method.unwrap_or(MethodName::Piggyback);
        let of = &format!("method {name}");
        Ok(match Self::new(name, preset) {
            Self::Piggyback(start) | Self::ClassifierOnly(start) | Self::NormOnly(start) => {
                Self::of_masks(method, lay(start, of, layers, &[])?)
                    .map_err(|error| placed(error, &["mask-layers", "norm"], layers))?
            }
            Self::Bitdelta(start) => Self::Bitdelta(lay(start, of, layers, &[PRESET])?),
            Self::SignDelta(start) => Self::SignDelta(lay(start, of, layers, &[PRESET])?),
            Self::LowRank(start) => Self::LowRank(lay(start, of, layers, &[PRESET])?),
            Self::Individual(start) => Self::Individual(lay(start, of, layers, &[PRESET])?),
            Self::Joint(start) => Self::Joint(lay(start, of, layers, &[PRESET])?),
            Self::Packnet(start) => Self::Packnet(lay(start, of, layers, &[PRESET])?),
        })
    }

    /// [`from_layers`](Self::from_layers) with one table and no location in messages.
    ///
    /// # Errors
    ///
    /// Those of [`from_layers`](Self::from_layers).
    pub fn from_table(method: Option<MethodName>, table: &Table) -> Result<Self> {
        Self::from_layers(method, &[Layer::new("", table)])
    }

    fn of_masks(method: Option<MethodName>, config: TrainConfig) -> Result<Self> {
        let found = config.method();
        if let Some(method) = method.filter(|method| *method != found) {
            let reason = format!(
                "mask-layers '{}' and norm '{}' select method {found}, but method {method} is \
                 given; omit these settings or the method",
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

    /// The settings of a preset for `method`.
    pub fn new(method: MethodName, preset: Preset) -> Self {
        let without_masks = |norm| TrainConfig {
            mask_layers: MaskLayers::None,
            norm,
            ..TrainConfig::preset(preset)
        };
        match method {
            MethodName::Piggyback => Self::Piggyback(TrainConfig::preset(preset)),
            MethodName::ClassifierOnly => Self::ClassifierOnly(without_masks(NormMode::Frozen)),
            MethodName::NormOnly => Self::NormOnly(without_masks(NormMode::Task)),
            MethodName::Bitdelta => Self::Bitdelta(DeltaConfig::preset(preset)),
            MethodName::SignDelta => Self::SignDelta(DeltaConfig::sparse(preset)),
            MethodName::LowRank => Self::LowRank(LowRankConfig::preset(preset)),
            MethodName::Individual => Self::Individual(FineTuneConfig::preset(preset)),
            MethodName::Joint => Self::Joint(FineTuneConfig::preset(preset)),
            MethodName::Packnet => Self::Packnet(PackNetConfig::preset(preset)),
        }
    }

    /// The method.
    pub fn method(&self) -> MethodName {
        match self {
            Self::Piggyback(_) => MethodName::Piggyback,
            Self::ClassifierOnly(_) => MethodName::ClassifierOnly,
            Self::NormOnly(_) => MethodName::NormOnly,
            Self::Bitdelta(_) => MethodName::Bitdelta,
            Self::SignDelta(_) => MethodName::SignDelta,
            Self::LowRank(_) => MethodName::LowRank,
            Self::Individual(_) => MethodName::Individual,
            Self::Joint(_) => MethodName::Joint,
            Self::Packnet(_) => MethodName::Packnet,
        }
    }

    fn any(&self) -> &dyn AnySettings {
        match self {
            Self::Piggyback(config) | Self::ClassifierOnly(config) | Self::NormOnly(config) => {
                config
            }
            Self::Bitdelta(config) | Self::SignDelta(config) => config,
            Self::LowRank(config) => config,
            Self::Individual(config) | Self::Joint(config) => config,
            Self::Packnet(config) => config,
        }
    }

    /// Checks the ranges of all settings.
    ///
    /// # Errors
    ///
    /// The first setting out of range, with its valid range.
    pub fn validate(&self) -> Result<()> {
        self.any().check()
    }

    /// The settings as a table, without the method.
    ///
    /// # Errors
    ///
    /// A number that TOML cannot hold, such as a seed above `i64::MAX`.
    pub fn to_table(&self) -> Result<Table> {
        self.any().table()
    }

    /// Image preprocessing.
    pub fn images(&self) -> &ImageSettings {
        self.any().image_settings()
    }

    /// Names of the settings of `method`, sorted.
    pub fn names(method: MethodName) -> Vec<String> {
        let mut names = Self::new(method, Preset::default()).any().all_names();
        names.push(PRESET.into());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Names of the settings common to all methods, sorted.
    pub fn shared_names() -> Vec<String> {
        let mut names = Self::names(MethodName::Piggyback);
        for method in MethodName::ALL {
            let of_method = Self::names(method);
            names.retain(|name| of_method.contains(name));
        }
        names
    }
}

/// [`Settings`] of any method.
trait AnySettings {
    fn check(&self) -> Result<()>;
    fn table(&self) -> Result<Table>;
    fn image_settings(&self) -> &ImageSettings;
    fn all_names(&self) -> Vec<String>;
}

impl<S: Settings> AnySettings for S {
    fn check(&self) -> Result<()> {
        self.validate()
    }

    fn table(&self) -> Result<Table> {
        self.to_table()
    }

    fn image_settings(&self) -> &ImageSettings {
        self.images()
    }

    fn all_names(&self) -> Vec<String> {
        Self::names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AugmentPreset;

    fn settings(method: Option<MethodName>, text: &str) -> Result<MethodSettings> {
        MethodSettings::from_table(method, &text.parse().unwrap())
    }

    fn refusal(method: MethodName, text: &str) -> String {
        settings(Some(method), text).unwrap_err().to_string()
    }

    #[test]
    fn every_method_has_settings_of_its_own_name() {
        for method in MethodName::ALL {
            let settings = MethodSettings::new(method, Preset::Paper);
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
        assert_eq!((config.preset, config.run.epochs), (Preset::Paper, 30));
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
        let error = refusal(MethodName::Individual, "lr = 'fast'");
        assert!(error.starts_with("lr = \"fast\": "), "{error}");
        assert!(settings(Some(MethodName::Individual), "augment = 'paper'").is_ok());
    }

    #[test]
    fn a_later_layer_wins_and_a_mistake_is_told_with_its_place() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let laid = |first: &str, second: &str| {
            let (first, second) = (table(first), table(second));
            let others = ["data".to_owned()];
            let file = Layer {
                place: "a.toml",
                table: &first,
                others: &others,
            };
            let flags = Layer::new("", &second);
            MethodSettings::from_layers(Some(MethodName::Joint), &[file, flags])
        };
        let settings = laid(
            "epochs = 3\nlr = 1\ndata = 'd'",
            "epochs = 4\npreset = 'paper'",
        );
        let MethodSettings::Joint(config) = settings.unwrap() else {
            panic!("another method")
        };
        assert_eq!((config.run.epochs, config.lr), (4, 1.0));
        assert_eq!(config.run.augment, AugmentPreset::Paper);
        for (file, flags, message) in [
            (
                "norm = 'task'",
                "",
                "a.toml: unknown key 'norm'; method joint has augment, ",
            ),
            (
                "",
                "norm = 'task'",
                "method joint has no option --norm; it has --augment, --",
            ),
            ("epochs = 'x'", "", "a.toml: epochs = \"x\": invalid type"),
            (
                "preset = 'x'",
                "",
                "a.toml: preset = \"x\": unknown variant 'x'",
            ),
            ("epochs = 0", "", "a.toml: epochs: 0 is less than 1"),
            ("epochs = 3", "epochs = 0", "epochs: 0 is less than 1"),
        ] {
            let error = laid(file, flags).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn some_settings_are_those_of_all_methods() {
        let names = MethodSettings::shared_names();
        assert!(names.contains(&"image-size".to_owned()) && names.contains(&"seed".to_owned()));
        assert!(!names.contains(&"lr".to_owned()) && !names.contains(&"norm".to_owned()));
    }
}
