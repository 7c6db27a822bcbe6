//! Runs the library's examples on pictures made here.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use piggyback_tools::child::Children;
use piggyback_tools::program::Program;

use crate::tool::say;

/// Side of the pictures, and how many there are of each class.
const SIDE: usize = 32;
const IMAGES: usize = 8;

/// Runs the examples that need no GPU; whether all succeed.
///
/// # Errors
///
/// The program cannot be built, or the pictures cannot be written.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let folder = root.join("target").join("examples-data");
    let data = folder.join("stripes");
    pictures(&data).with_context(|| format!("cannot write {}", data.display()))?;
    let backbone = folder.join("backbone.safetensors");
    say("\nexamples");
    // As the tests build it, so that nothing is compiled again; cargo test built the examples too.
    let [program] = Program::as_tested(root, ["piggyback"], &Children::new()?)?;
    let mut pretrain = program.command(&["pretrain", "--force", "--quiet"]);
    pretrain
        .args(["--arch", "mobilenet_v2", "--epochs", "0"])
        .args(["--image-size", "32", "--data"])
        .arg(&data)
        .arg("--out")
        .arg(&backbone);
    let examples = root.join(program.path()).with_file_name("examples");
    let example = |name: &str| {
        let mut command =
            Command::new(examples.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)));
        command.current_dir(root);
        command
    };
    let mut learn = example("learn_a_task");
    learn.arg(&backbone).arg(&data).arg(data.join("across"));
    let mut mask = example("mask_your_own_network");
    for command in [&mut pretrain, &mut learn, &mut mask] {
        let status = command.status().context("cannot run an example")?;
        if !status.success() {
            say(&format!("error: {command:?} failed ({status})"));
            return Ok(false);
        }
    }
    Ok(true)
}

/// Two classes: stripes across and stripes down, each shifted from picture to picture.
fn pictures(folder: &Path) -> std::io::Result<()> {
    for class in ["across", "down"] {
        let class_folder = folder.join(class);
        fs::create_dir_all(&class_folder)?;
        for image in 0..IMAGES {
            let pixel = |row: usize, column: usize| {
                let along = if class == "across" { row } else { column };
                if (along + image) / 4 % 2 == 0 { 255 } else { 0 }
            };
            let mut bytes = format!("P5 {SIDE} {SIDE} 255\n").into_bytes();
            bytes.extend((0..SIDE * SIDE).map(|index| pixel(index / SIDE, index % SIDE)));
            fs::write(class_folder.join(format!("{image}.pgm")), bytes)?;
        }
    }
    Ok(())
}
