use anyhow::Result;
use piggyback::image::{Channels, OrBackbone, PreprocessingSettings};
use serde::Serialize;

/// How images are prepared, where it is not as the backbone expects; under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PreprocessingArgs {
    /// Side of the network's input, pixels
    #[arg(
        long,
        value_name = "PIXELS",
        env = "PIGGYBACK_IMAGE_SIZE",
        help_heading = "Images"
    )]
    pub(crate) image_size: Option<OrBackbone<u32>>,
    /// Bring images to that size: as the backbone expects; squash both sides; short side to 8/7 of
    /// it and crop the centre; or short side to it and crop
    #[arg(long, env = "PIGGYBACK_RESIZE", help_heading = "Images")]
    #[arg(value_parser = ["backbone", "squash", "crop", "fit"])]
    pub(crate) resize: Option<String>,
    /// Interpolation when images are resized
    #[arg(long, env = "PIGGYBACK_INTERPOLATION", help_heading = "Images")]
    #[arg(value_parser = ["backbone", "bilinear", "bicubic"])]
    pub(crate) interpolation: Option<String>,
    /// Mean of red, green and blue, of a full range of 1
    #[arg(
        long,
        value_name = "R,G,B",
        env = "PIGGYBACK_MEAN",
        help_heading = "Images"
    )]
    #[arg(allow_hyphen_values = true)]
    pub(crate) mean: Option<OrBackbone<Channels>>,
    /// Standard deviation of red, green and blue, of a full range of 1
    #[arg(
        long,
        value_name = "R,G,B",
        env = "PIGGYBACK_STD",
        help_heading = "Images"
    )]
    pub(crate) std: Option<OrBackbone<Channels>>,
}

impl PreprocessingArgs {
    /// The library's settings; what is not given is left to the backbone.
    pub(crate) fn settings(&self) -> Result<PreprocessingSettings> {
        Ok(toml::Table::try_from(self)?.try_into()?)
    }
}
