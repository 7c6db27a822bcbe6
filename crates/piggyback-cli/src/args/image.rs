use anyhow::Result;
use piggyback::image::{Channels, ImageSettings, InterpolationMode, ResizeMode};
use serde::Serialize;
use toml::Value;

use super::{named, value_or};

/// Image preprocessing, under the library's names; unset fields follow the backbone.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageArgs {
    /// Side length of the network's input in pixels
    #[arg(
        long,
        value_name = "PIXELS",
        env = "PIGGYBACK_IMAGE_SIZE",
        help_heading = "Images"
    )]
    #[arg(value_parser = value_or::<u32>("backbone"))]
    pub(crate) image_size: Option<Value>,
    /// How to resize images: backbone (as it expects), squash (both sides to --image-size), crop
    /// (short side to 8/7 of it, then centre crop), fit (short side to it, then centre crop)
    #[arg(long, env = "PIGGYBACK_RESIZE", help_heading = "Images")]
    #[arg(value_parser = named::<ResizeMode>())]
    pub(crate) resize: Option<ResizeMode>,
    /// Interpolation for resizing; backbone: as it expects
    #[arg(long, env = "PIGGYBACK_INTERPOLATION", help_heading = "Images")]
    #[arg(value_parser = named::<InterpolationMode>())]
    pub(crate) interpolation: Option<InterpolationMode>,
    /// Mean of the red, green and blue channels, for values from 0 to 1
    #[arg(
        long,
        value_name = "R,G,B",
        env = "PIGGYBACK_MEAN",
        help_heading = "Images"
    )]
    #[arg(allow_hyphen_values = true, value_parser = value_or::<Channels>("backbone"))]
    pub(crate) mean: Option<Value>,
    /// Standard deviation of the red, green and blue channels, for values from 0 to 1
    #[arg(
        long,
        value_name = "R,G,B",
        env = "PIGGYBACK_STD",
        help_heading = "Images"
    )]
    #[arg(value_parser = value_or::<Channels>("backbone"))]
    pub(crate) std: Option<Value>,
}

impl ImageArgs {
    /// The library's settings; unset fields follow the backbone.
    pub(crate) fn settings(&self) -> Result<ImageSettings> {
        Ok(toml::Table::try_from(self)?.try_into()?)
    }
}
