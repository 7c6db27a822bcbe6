//! Devices by name.

pub use burn::tensor::Device;

use crate::error::{Error, Result};
pub use piggyback_kernels::InstructionSet;

/// The names of the devices that this build can open.
pub fn names() -> Vec<&'static str> {
    let mut names = vec!["cpu"];
    let compiled = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("rocm", cfg!(feature = "rocm")),
        ("wgpu", cfg!(feature = "wgpu")),
    ];
    names.extend(
        compiled
            .into_iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| name),
    );
    names
}

/// Opens a device: `cpu`, or one that was compiled in as a Cargo feature.
///
/// # Errors
///
/// The name is unknown, or not enabled in this build.
pub fn open(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "rocm")]
        "rocm" => Ok(Device::rocm(0)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        _ => Err(Error::setting(
            "device",
            format!(
                "this build has no device '{name}', only {}; enable others as Cargo features",
                names().join(", ")
            ),
        )),
    }
}
