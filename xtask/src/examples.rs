//! Runs the library's examples on pictures made here.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool::{cargo_program, say};

/// Side of the pictures, and how many there are of each class.
const SIDE: usize = 32;
const IMAGES: usize = 8;

/// Runs the examples that need no GPU; whether all succeed.
///
/// # Errors
///
/// cargo cannot be started, or the pictures cannot be written.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let folder = root.join("target").join("examples-data");
    let data = folder.join("stripes");
    pictures(&data).with_context(|| format!("cannot write {}", data.display()))?;
    let backbone = folder.join("backbone.safetensors");
    say("\nexamples");
    let mut pretrain = cargo(
        root,
        "piggyback-cli",
        &["--bin", "piggyback", "--", "pretrain"],
    );
    pretrain
        .args([
            "--arch",
            "mobilenet_v2",
            "--epochs",
            "0",
            "--image-size",
            "32",
        ])
        .args(["--force", "--quiet", "--data"])
        .arg(&data)
        .arg("--out")
        .arg(&backbone);
    let mut learn = cargo(root, "piggyback", &["--example", "learn_a_task", "--"]);
    learn.arg(&backbone).arg(&data).arg(data.join("across"));
    let mut mask = cargo(root, "piggyback", &["--example", "mask_your_own_network"]);
    for command in [&mut pretrain, &mut learn, &mut mask] {
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            say(&format!("error: {command:?} failed ({status})"));
            return Ok(false);
        }
    }
    Ok(true)
}

fn cargo(root: &Path, package: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(cargo_program());
    command
        .args(["run", "--quiet", "--package", package])
        .args(arguments)
        .current_dir(root);
    command
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
