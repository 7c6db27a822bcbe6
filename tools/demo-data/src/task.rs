//! What there is to learn.

use anyhow::Result;

use super::download::Cache;
use super::packages::Package;
use super::tree::Picture;

/// Something to learn: a folder of pictures per class, built from packages.
pub(super) struct Task {
    pub(super) name: &'static str,
    pub(super) packages: fn() -> Vec<&'static Package>,
    pub(super) pictures: fn(&Cache) -> Result<Vec<Picture>>,
}
