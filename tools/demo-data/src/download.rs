//! Getting a package through its registry's own client, and trusting only its SHA-256.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::packages::{Package, Registry};
use super::progress::progress;

/// The folder downloaded archives are kept in.
pub(crate) struct Cache {
    folder: PathBuf,
    programs: Programs,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            programs: Programs::default(),
        }
    }

    /// Makes sure that the checked archives of `packages` are here.
    pub(crate) fn require(&self, packages: &[&Package]) -> Result<()> {
        require(packages, &self.folder, &self.programs)
    }

    /// Where the archive of `package` lies once it was required.
    pub(crate) fn path(&self, package: &Package) -> PathBuf {
        self.folder.join(package.archive())
    }
}

/// Where the clients are looked for.
#[derive(Default)]
pub(crate) struct Programs {
    /// Stands in for the environment's `PATH`.
    search_path: Option<OsString>,
}

impl Programs {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(search_path) = &self.search_path {
            command.env("PATH", search_path);
        }
        command
    }
}

/// Packages that one call of a client gets: starting it takes longer than a small package does, and
/// an interrupted fetch has lost no more than these.
const BATCH: usize = 20;

/// Downloads those of `packages` whose archives are not in `folder`.
///
/// # Errors
///
/// The client is missing or fails, or an archive has another SHA-256 than the recorded one.
pub(crate) fn require(packages: &[&Package], folder: &Path, programs: &Programs) -> Result<()> {
    let mut missing = Vec::new();
    for &package in packages {
        if !is_here(package, folder)? {
            missing.push(package);
        }
    }
    for of_one_registry in missing.chunk_by(|a, b| a.registry == b.registry) {
        for batch in of_one_registry.chunks(BATCH) {
            download(batch, folder, programs)?;
        }
    }
    Ok(())
}

fn is_here(package: &Package, folder: &Path) -> Result<bool> {
    let path = folder.join(package.archive());
    if !path.exists() {
        return Ok(false);
    }
    let found = sha256(&path)?;
    if found != package.sha256 {
        bail!(
            "{} is not the published package: its SHA-256 is {found}, expected {}; delete the file \
             and run this again",
            path.display(),
            package.sha256
        );
    }
    Ok(true)
}

/// Downloads packages of one registry.
fn download(packages: &[&Package], folder: &Path, programs: &Programs) -> Result<()> {
    let Some(first) = packages.first() else {
        return Ok(());
    };
    progress(&format!("downloading {}", names(packages)));
    // A folder of its own, so that an interrupted download is never taken for a package.
    let partial = folder.join(".partial");
    remove_folder(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    match first.registry {
        Registry::PyPi | Registry::PyPiOfBoth => pip_download(packages, &partial, programs)?,
        Registry::Npm => npm_pack(packages, &partial, programs)?,
        Registry::Debian => apt_get_download(packages, &partial, programs)?,
    }
    for package in packages {
        keep(package, &partial, folder)?;
    }
    remove_folder(&partial)
}

/// Moves the archive of `package` to `folder` if it is the recorded one.
fn keep(package: &Package, partial: &Path, folder: &Path) -> Result<()> {
    let Package {
        name,
        version,
        sha256: expected,
        ..
    } = package;
    let archive = package.archive();
    let downloaded = partial.join(&archive);
    if !downloaded.exists() {
        bail!("{name} {version} came without {archive}");
    }
    let found = sha256(&downloaded)?;
    if found != *expected {
        bail!(
            "{name} {version} was refused: its SHA-256 is {found}, expected {expected}; the package \
             index gave another file than the one this project was made with"
        );
    }
    let path = folder.join(archive);
    fs::rename(&downloaded, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// Packages as a person is told of them.
fn names(packages: &[&Package]) -> String {
    match packages {
        [] => String::new(),
        [only] => format!("{} {}", only.name, only.version),
        [first, others @ ..] => {
            format!("{} {} and {} more", first.name, first.version, others.len())
        }
    }
}

fn pip_download(packages: &[&Package], folder: &Path, programs: &Programs) -> Result<()> {
    let mut arguments: Vec<OsString> = [
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        // A cached file would spare nothing: the archive is kept in our own folder.
        "--no-cache-dir",
        "--dest",
    ]
    .map(OsString::from)
    .into();
    arguments.push(folder.into());
    arguments.extend(specifiers(packages, "=="));
    let output = match programs.command("pip").args(&arguments).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut python = programs.command("python3");
            python.args(["-m", "pip"]).args(&arguments).output()
        }
        output => output,
    };
    let missing = "pip was not found: install Python 3 with pip";
    check(packages, "pip download", missing, output)
}

fn npm_pack(packages: &[&Package], folder: &Path, programs: &Programs) -> Result<()> {
    let mut npm = programs.command(if cfg!(windows) { "npm.cmd" } else { "npm" });
    // By default npm waits more than a minute before it says that there is no network.
    npm.args([
        "pack",
        "--loglevel=error",
        "--fetch-retries=1",
        "--pack-destination",
    ])
    .arg(folder)
    .args(specifiers(packages, "@"));
    let missing = "npm was not found: install Node.js with npm";
    check(packages, "npm pack", missing, npm.output())
}

/// apt-get knows the packages of the system's own lists, so another system may not have the one
/// wanted; the error says how to go on by hand.
fn apt_get_download(packages: &[&Package], folder: &Path, programs: &Programs) -> Result<()> {
    let mut apt = programs.command("apt-get");
    apt.args(["download", "--quiet=2"])
        .args(specifiers(packages, "="))
        .current_dir(folder);
    let missing = "apt-get was not found";
    let archives: Vec<_> = packages.iter().map(|package| package.archive()).collect();
    check(packages, "apt-get download", missing, apt.output()).with_context(|| {
        format!(
            "run `apt-get update` and try again, or put {} of Debian 12 into {}",
            archives.join(", "),
            folder.parent().unwrap_or(folder).display()
        )
    })
}

/// Each package in its exact version, as its client spells that.
fn specifiers(packages: &[&Package], between: &str) -> Vec<OsString> {
    let specifier = |package: &&Package| format!("{}{between}{}", package.name, package.version);
    packages.iter().map(specifier).map(OsString::from).collect()
}

/// Turns what became of a client into one sentence.
fn check(
    packages: &[&Package],
    what: &str,
    missing: &str,
    output: io::Result<Output>,
) -> Result<()> {
    let names = names(packages);
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{missing} (it is needed to get {names})")
        }
        output => output.with_context(|| format!("cannot run {what}"))?,
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if stderr.contains("No module named pip") {
            bail!("{missing} (it is needed to get {names})");
        }
        bail!(
            "{what} could not get {names} ({}): is there a network connection? It said: {}",
            output.status,
            gist(&stderr)
        );
    }
    Ok(())
}

/// The line of a client's complaint that says what went wrong.
fn gist(stderr: &str) -> &str {
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    lines()
        .find(|line| {
            let line = line.to_ascii_lowercase();
            line.starts_with("error")
                || line.starts_with("npm error")
                || line.starts_with("npm err!")
        })
        .or_else(|| lines().next_back())
        .unwrap_or("nothing")
}

/// The SHA-256 of a file in lower-case hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path).with_context(context)?, &mut digest).with_context(context)?;
    Ok(format!("{:x}", digest.finalize()))
}

/// Removes a folder and all in it; one that is not there is fine.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{ANIMAL_MNIST, FASHION_MNIST, FLAG, NOTO, OPENMOJI};

    fn nothing_installed() -> Programs {
        Programs {
            search_path: Some("/nonexistent".into()),
        }
    }

    #[test]
    fn missing_pip_says_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let error = require(&[&ANIMAL_MNIST], folder.path(), &nothing_installed()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pip was not found: install Python 3 with pip (it is needed to get animal-mnist 0.4)"
        );
    }

    #[test]
    fn missing_npm_says_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let error = require(&[&OPENMOJI], folder.path(), &nothing_installed()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "npm was not found: install Node.js with npm (it is needed to get openmoji 17.0.0)"
        );
    }

    #[test]
    fn missing_apt_says_which_file_to_get_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let error = require(&[&FASHION_MNIST], folder.path(), &nothing_installed()).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("apt-get was not found"), "{message}");
        assert!(message.contains(&FASHION_MNIST.archive()), "{message}");
        assert!(
            message.contains(folder.path().to_str().unwrap()),
            "{message}"
        );
    }

    #[test]
    fn several_packages_are_named_in_short() {
        assert_eq!(names(&[&NOTO]), "@iconify-json/noto 1.2.9");
        assert_eq!(
            names(&[&NOTO, &FLAG, &OPENMOJI]),
            "@iconify-json/noto 1.2.9 and 2 more"
        );
    }

    #[test]
    fn cached_archive_with_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OPENMOJI.archive());
        fs::write(&path, b"abc").unwrap();
        let error = require(&[&OPENMOJI], folder.path(), &nothing_installed()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert!(
            message.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert!(message.contains(OPENMOJI.sha256));
        assert!(message.contains("delete the file"));
    }

    #[cfg(unix)]
    #[test]
    fn downloaded_archive_with_another_hash_is_not_kept() {
        use std::os::unix::fs::PermissionsExt;

        let programs = tempfile::tempdir().unwrap();
        let npm = programs.path().join("npm");
        // npm pack --loglevel=error --fetch-retries=1 --pack-destination FOLDER SPEC
        fs::write(
            &npm,
            format!("#!/bin/sh\necho abc > \"$5/{}\"\n", OPENMOJI.archive()),
        )
        .unwrap();
        fs::set_permissions(&npm, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let search_path = Some(programs.path().into());
        let error = require(&[&OPENMOJI], folder.path(), &Programs { search_path }).unwrap_err();
        assert!(
            error.to_string().contains("openmoji 17.0.0 was refused"),
            "{error}"
        );
        assert!(!folder.path().join(OPENMOJI.archive()).exists());
    }

    #[test]
    fn gist_is_the_clients_own_error() {
        let pip = "WARNING: Retrying\nERROR: No matching distribution found for x\n\n";
        assert_eq!(gist(pip), "ERROR: No matching distribution found for x");
        assert_eq!(
            gist("npm error code ENOTFOUND\nnpm error more\n"),
            "npm error code ENOTFOUND"
        );
        assert_eq!(gist("something\nelse\n"), "else");
        assert_eq!(gist(""), "nothing");
    }
}
