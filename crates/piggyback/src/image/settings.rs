//! Image preprocessing settings. Unset fields follow the backbone.

use std::str::FromStr;

use piggyback_task::{Interpolation, MAX_IMAGE_SIZE, Preprocessing, Resize};
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::name::named;

/// Minimum side of a network's input, pixels. Below it, the last layers have no output.
const MIN_IMAGE_SIZE: u32 = 32;

/// The word for a setting that follows the backbone.
const BACKBONE: &str = "backbone";

/// A setting that follows the backbone if unset: in files a value, or `backbone`.
mod or_backbone {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::BACKBONE;
    use crate::name::{read_or, write_or};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        setting: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        write_or(BACKBONE, setting.as_ref(), serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        read_or(BACKBONE, deserializer)
    }
}

/// Numbers for red, green and blue; written comma-separated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Channels(pub [f64; 3]);

impl FromStr for Channels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<f64>> = text
            .split(',')
            .map(|number| number.trim().parse().ok())
            .collect();
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .map(Self)
            .ok_or_else(|| "expected three numbers such as 0.485,0.456,0.406".into())
    }
}

impl Channels {
    fn to_f32(self) -> [f32; 3] {
        self.0.map(|number| number as f32)
    }
}

/// How images are resized to the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ResizeMode {
    /// As the backbone expects. Its short side, if any, is scaled with the image size.
    #[default]
    Backbone,
    /// Both sides to the size; the aspect ratio is not kept.
    Squash,
    /// The short side to 8/7 of the size, then a centre crop, like ImageNet's 256 to 224.
    Crop,
    /// The short side to the size, then a centre crop.
    Fit,
}

/// The interpolation of a resize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InterpolationMode {
    /// As the backbone expects.
    #[default]
    Backbone,
    /// Triangle filter.
    Bilinear,
    /// Cubic filter.
    Bicubic,
}

named!(ResizeMode, InterpolationMode);

/// Image preprocessing. Unset fields follow the backbone; in `default()` all are unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ImageSettings {
    /// Side of the network's input, pixels.
    #[serde(with = "or_backbone")]
    pub image_size: Option<u32>,
    /// How images are resized to that size.
    pub resize: ResizeMode,
    /// The interpolation of the resize.
    pub interpolation: InterpolationMode,
    /// Mean of each channel, in units of the full range.
    #[serde(with = "or_backbone")]
    pub mean: Option<Channels>,
    /// Standard deviation of each channel, in units of the full range.
    #[serde(with = "or_backbone")]
    pub std: Option<Channels>,
}

impl ImageSettings {
    /// The resulting preprocessing, given the backbone's.
    ///
    /// # Errors
    ///
    /// The first setting out of range, with its valid range.
    pub fn apply(&self, backbone: &Preprocessing) -> Result<Preprocessing, Error> {
        self.validate()?;
        let image_size = self.image_size.unwrap_or(backbone.image_size);
        let scaled = |numerator: u32, denominator: u32| {
            let side = u64::from(image_size) * u64::from(numerator) / u64::from(denominator);
            Resize::ShortSide(side.min(u64::from(u32::MAX)) as u32)
        };
        let preprocessing = Preprocessing {
            image_size,
            resize: match (self.resize, backbone.resize) {
                (ResizeMode::Squash, _) | (ResizeMode::Backbone, Resize::Squash) => Resize::Squash,
                (ResizeMode::Crop, _) => scaled(8, 7),
                (ResizeMode::Fit, _) => scaled(1, 1),
                (ResizeMode::Backbone, Resize::ShortSide(side)) => {
                    scaled(side, backbone.image_size)
                }
            },
            interpolation: match self.interpolation {
                InterpolationMode::Backbone => backbone.interpolation,
                InterpolationMode::Bilinear => Interpolation::Bilinear,
                InterpolationMode::Bicubic => Interpolation::Bicubic,
            },
            mean: self.mean.map_or(backbone.mean, Channels::to_f32),
            std: self.std.map_or(backbone.std, Channels::to_f32),
        };
        match preprocessing.validate() {
            Ok(()) => Ok(preprocessing),
            // Everything else was checked: only the resized size can be too large.
            Err(error) => Err(Error::preparation("image-size", error.to_string())),
        }
    }

    /// Fails if these settings contradict the preprocessing in `recorded`.
    ///
    /// # Errors
    ///
    /// The settings that differ from the recorded ones.
    pub fn check(&self, recorded: &Preprocessing) -> Result<(), Error> {
        let asked = self.apply(recorded)?;
        let differing = (described(&asked).into_iter())
            .zip(described(recorded))
            .find(|(asked, recorded)| asked != recorded);
        let Some(((setting, asked), (_, recorded))) = differing else {
            return Ok(());
        };
        Err(Error::preparation(
            setting,
            format!(
                "{asked} differs from {recorded}, which the task was trained with; omit it, or \
                 train another task"
            ),
        ))
    }

    /// Checks what can be checked without a backbone.
    ///
    /// # Errors
    ///
    /// Those of [`Self::apply`].
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(size) = self.image_size
            && !(MIN_IMAGE_SIZE..=MAX_IMAGE_SIZE).contains(&size)
        {
            let reason = format!(
                "{size} pixels is not between {MIN_IMAGE_SIZE} and \
                 {MAX_IMAGE_SIZE}"
            );
            return Err(Error::preparation("image-size", reason));
        }
        let refused = |setting, [r, g, b]: [f32; 3], what| {
            let reason = format!("{r},{g},{b} are not three {what}");
            Err(Error::preparation(setting, reason))
        };
        match self.mean.map(Channels::to_f32) {
            Some(mean) if !mean.iter().all(|mean| mean.is_finite()) => {
                return refused("mean", mean, "finite numbers");
            }
            _ => {}
        }
        match self.std.map(Channels::to_f32) {
            Some(std) if !std.iter().all(|std| std.is_finite() && *std > 0.0) => {
                refused("std", std, "finite numbers above 0")
            }
            _ => Ok(()),
        }
    }
}

/// The parts of a preprocessing by the settings' names.
fn described(preprocessing: &Preprocessing) -> [(&'static str, String); 5] {
    let numbers = |[r, g, b]: [f32; 3]| format!("{r},{g},{b}");
    let resize = match preprocessing.resize {
        Resize::Squash => "squash".into(),
        Resize::ShortSide(side) => format!("a short side of {side} pixels"),
    };
    let interpolation = match preprocessing.interpolation {
        Interpolation::Bilinear => "bilinear".into(),
        Interpolation::Bicubic => "bicubic".into(),
    };
    [
        ("image-size", preprocessing.image_size.to_string()),
        ("resize", resize),
        ("interpolation", interpolation),
        ("mean", numbers(preprocessing.mean)),
        ("std", numbers(preprocessing.std)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::Architecture;

    #[test]
    fn what_is_not_given_is_the_backbones() {
        let backbone = Architecture::EfficientNetLite2.preprocessing();
        let nothing = ImageSettings::default();
        assert_eq!(nothing.apply(&backbone).unwrap(), backbone);
        nothing.check(&backbone).unwrap();
    }

    #[test]
    fn a_short_side_follows_the_image_size() {
        let applied = |image_size: u32, resize| {
            let settings = ImageSettings {
                image_size: image_size.into(),
                resize,
                ..ImageSettings::default()
            };
            let backbone = Architecture::EfficientNetLite0.preprocessing();
            settings.apply(&backbone).unwrap().resize
        };
        assert_eq!(applied(224, ResizeMode::Backbone), Resize::ShortSide(256));
        assert_eq!(applied(96, ResizeMode::Backbone), Resize::ShortSide(109));
        assert_eq!(applied(70, ResizeMode::Crop), Resize::ShortSide(80));
        assert_eq!(applied(70, ResizeMode::Fit), Resize::ShortSide(70));
        assert_eq!(applied(70, ResizeMode::Squash), Resize::Squash);
    }

    #[test]
    fn what_contradicts_a_task_is_named() {
        let recorded = Architecture::ResNet18.preprocessing();
        let refused = |text: &str, setting: &str| {
            let settings: ImageSettings = toml::from_str(text).unwrap();
            let message = settings.check(&recorded).unwrap_err().to_string();
            assert!(message.starts_with(setting), "{message}");
        };
        refused("image-size = 96", "image-size");
        refused("resize = 'squash'", "resize");
        refused("interpolation = 'bicubic'", "interpolation");
        refused("mean = [0.5, 0.5, 0.5]", "mean");
        refused("std = [0.5, 0.5, 0.5]", "std");
        let agreeing = "image-size = 224\nresize = 'crop'\nmean = [0.485, 0.456, 0.406]";
        let agreeing: ImageSettings = toml::from_str(agreeing).unwrap();
        agreeing.check(&recorded).unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let backbone = Architecture::ResNet18.preprocessing();
        for (text, setting) in [
            ("image-size = 31", "image-size"),
            ("image-size = 4294967295", "image-size"),
            ("image-size = 4000", "image-size"),
            ("std = [1, 0, 1]", "std"),
            ("mean = [0, nan, 0]", "mean"),
        ] {
            let settings: ImageSettings = toml::from_str(text).unwrap();
            let message = settings.apply(&backbone).unwrap_err().to_string();
            assert!(message.starts_with(setting), "{message}");
        }
    }

    #[test]
    fn what_is_left_to_the_backbone_is_said_in_a_word() {
        let nothing = ImageSettings::default();
        let text = toml::to_string(&nothing).unwrap();
        assert!(text.contains("image-size = \"backbone\""), "{text}");
        assert_eq!(toml::from_str::<ImageSettings>(&text).unwrap(), nothing);
        let error = toml::from_str::<ImageSettings>("image-size = \"network\"").unwrap_err();
        assert!(error.message().contains("or \"backbone\""), "{error}");
    }

    #[test]
    fn channels_are_read_as_they_are_written_on_the_command_line() {
        assert_eq!("0.5, 1,2".parse(), Ok(Channels([0.5, 1.0, 2.0])));
        assert!("1,2".parse::<Channels>().is_err());
    }
}
