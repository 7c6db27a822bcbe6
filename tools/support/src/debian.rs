//! What the peers' tests need of the system, through Debian's package manager.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Installs packages where that can be; whoever may not is told by apt-get, and finds nothing
/// afterwards.
pub fn install(packages: &[&str]) {
    let install = ["install", "--yes", "--no-install-recommends"];
    for arguments in [&["update"][..], &[&install, packages].concat()] {
        say(&format!("apt-get {}", arguments.join(" ")));
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(io::stderr());
        match command.env("DEBIAN_FRONTEND", "noninteractive").status() {
            Ok(status) if status.success() => {}
            Ok(status) => say(&format!("apt-get did not succeed ({status})")),
            Err(error) => say(&format!("apt-get cannot be run: {error}")),
        }
    }
}

/// A program of the search path, by the first of `names` that it has.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}

/// A line on stderr.
pub fn say(what: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(io::stderr(), "{what}");
}
