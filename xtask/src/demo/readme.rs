//! Whether the README shows what the program prints.
//!
//! A block of the README that begins with ```` ```console ```` has commands after `$ `, each
//! followed by its output. The commands are run as they stand, and their output is compared line by
//! line. Times are not compared, and a line `...` stands for any lines.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use piggyback_tools::child::Children;
use piggyback_tools::program::Program;

/// Where a command's stderr is caught: a terminal shows it together with stdout.
const STDERR: &str = "runs/demo/readme.stderr";

/// A command and what the README says it prints.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    arguments: Vec<String>,
    output: Vec<String>,
}

/// How what was printed compares with what is shown.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    None,
    /// The same words, other numbers: another machine may round in another way.
    Numbers,
    Words,
}

/// Runs the README's commands; returns whether all print what it shows, numbers aside, and tells
/// what differs.
///
/// # Errors
///
/// The README cannot be read or shows no commands, or one fails.
pub(super) fn check(
    root: &Path,
    program: &Program,
    children: &Children,
    tell: impl Fn(&str),
) -> Result<bool> {
    let readme = fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let commands = commands(&readme)?;
    ensure!(!commands.is_empty(), "README.md shows no commands");
    let mut holds = true;
    for Shown { arguments, output } in &commands {
        let line = arguments.join(" ");
        tell(&format!("README: piggyback {line}"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = program.command(&arguments);
        let stderr = root.join(STDERR);
        command
            // What an earlier demo left is replaced.
            .env("PIGGYBACK_FORCE", "1")
            .stderr(File::create(&stderr).context("cannot write what a command prints")?);
        let stdout = children.output(&mut command);
        let mut printed =
            fs::read_to_string(&stderr).context("cannot read what a command printed")?;
        let stdout = stdout.with_context(|| printed.clone())?;
        printed.push_str(&String::from_utf8_lossy(&stdout));
        let printed: Vec<&str> = printed.lines().collect();
        let what = match compare(output, &printed) {
            Difference::None => continue,
            Difference::Numbers => "other numbers than",
            Difference::Words => {
                holds = false;
                "something else than"
            }
        };
        tell(&format!(
            "README: `piggyback {line}` printed {what} README.md shows:\n{}",
            printed.join("\n")
        ));
    }
    Ok(holds)
}

/// The commands of the README's console blocks.
fn commands(readme: &str) -> Result<Vec<Shown>> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut in_console = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            in_console = line == "```console";
            continue;
        }
        if !in_console {
            continue;
        }
        match line.strip_prefix("$ ") {
            Some(command) => {
                let arguments = command
                    .strip_prefix("piggyback ")
                    .with_context(|| format!("README.md: '{command}' does not run piggyback"))?;
                commands.push(Shown {
                    arguments: arguments.split_whitespace().map(str::to_owned).collect(),
                    output: Vec::new(),
                });
            }
            None => (commands.last_mut())
                .context("README.md: a console block begins without a command")?
                .output
                .push(line.to_owned()),
        }
    }
    Ok(commands)
}

fn compare(shown: &[String], printed: &[&str]) -> Difference {
    let normalised = |normalise: fn(&str) -> String| {
        let shown: Vec<String> = shown.iter().map(|line| normalise(line)).collect();
        let printed: Vec<String> = printed.iter().map(|line| normalise(line)).collect();
        matches(&shown, &printed)
    };
    if normalised(without_seconds) {
        Difference::None
    } else if normalised(|line| without_numbers(&without_seconds(line))) {
        Difference::Numbers
    } else {
        Difference::Words
    }
}

/// Whether lines are those shown, where `...` stands for any.
fn matches(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line.trim() == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((line, rest)) => (printed.split_first())
            .is_some_and(|(first, others)| first == line && matches(rest, others)),
    }
}

/// A line whose times are all the same, and whose columns are one space apart.
fn without_seconds(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    for unit in 1..words.len() {
        if words[unit] == "s" && words[unit - 1].parse::<f64>().is_ok() {
            words[unit - 1] = "0";
        }
    }
    words.join(" ")
}

/// A line whose numbers are all the same.
fn without_numbers(line: &str) -> String {
    let mut kept = String::new();
    for letter in line.chars() {
        let letter = if letter.is_ascii_digit() { '0' } else { letter };
        // As many digits as there are.
        if !(letter == '0' && kept.ends_with('0')) {
            kept.push(letter);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_output_are_found() {
        let readme = "```sh\n$ not this\n```\n```console\n$ piggyback predict --top-k 1 a.png\na.png\n  99 %  zebra\n\
                      $ piggyback list\n```\n$ nor this\n";
        let found = commands(readme).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].arguments, ["predict", "--top-k", "1", "a.png"]);
        assert_eq!(found[0].output, ["a.png", "  99 %  zebra"]);
        assert!(commands("```console\n$ rm -r data\n```").is_err());
        assert!(commands("```console\noutput\n```").is_err());
    }

    #[test]
    fn words_and_numbers_are_told_apart_and_times_are_not_compared() {
        let shown = ["epoch 1/3  error 5.1 %  16.2 s", "...", "zeros  3.91 %"].map(str::to_owned);
        let compared = |printed: &[&str]| compare(&shown, printed);
        assert_eq!(
            compared(&["epoch  1/3 error 5.1 %  9 s", "more", "zeros 3.91 %"]),
            Difference::None
        );
        assert_eq!(
            compared(&["epoch 1/3 error 12.25 % 9 s", "zeros 3.91 %"]),
            Difference::Numbers
        );
        for printed in [
            &["epoch 1/3 loss 5.1 % 9 s", "zeros 3.91 %"][..],
            &["epoch 1/3 error 5.1 % 9 s"],
            &["epoch 1/3 error 5.1 % 9 s", "zeros 3.91 %", "more"],
        ] {
            assert_eq!(compared(printed), Difference::Words, "{printed:?}");
        }
    }

    /// Every command of the README is one that the check understands.
    #[test]
    fn the_readme_shows_commands() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let commands = commands(&readme).unwrap();
        assert!(commands.len() >= 3, "{commands:?}");
        assert!(commands.iter().all(|shown| !shown.output.is_empty()));
    }
}
