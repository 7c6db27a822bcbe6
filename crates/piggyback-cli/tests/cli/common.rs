//! Running the program, and inputs small enough to train on in a second.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use piggyback::Architecture;
pub(crate) use piggyback_testing::Tensors;
use piggyback_testing::uniform;
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

/// What a run of the program came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts the exit code, and shows the messages otherwise.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// Asserts exit code 2 with one error on stderr that says all of `parts`, and no result.
    #[track_caller]
    pub(crate) fn refused_with(self, parts: &[&str]) {
        let run = self.ends_with(2);
        assert_eq!(run.stdout, "");
        let errors: Vec<&str> = run
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        let [error] = errors[..] else {
            panic!("one error is expected: {}", run.stderr)
        };
        assert_eq!(run.stderr.lines().last(), Some(error));
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    /// The JSON object on every line of stdout.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// The program with these arguments, without settings of the environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_piggyback"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIGGYBACK_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("COLUMNS")
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Runs the program.
pub(crate) fn piggyback(arguments: &[&str]) -> Run {
    Run::of(command(arguments).output().unwrap())
}

/// Runs the program with bytes on stdin.
pub(crate) fn piggyback_reading(arguments: &[&str], input: &[u8]) -> Run {
    let mut command = command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Run::of(child.wait_with_output().unwrap())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// A MobileNetV2 with weights of about the size that training starts from.
pub(crate) fn mobilenet() -> Tensors {
    let tensors = Architecture::MobileNetV2.tensors();
    let filled = tensors.iter().map(|tensor| {
        let count = tensor.shape.iter().product();
        let fan_in: usize = tensor.shape.iter().skip(1).product();
        let is_matrix = tensor.shape.len() > 1;
        let scale = |u: f32| match tensor.name.rsplit('.').next() {
            Some("running_var") => 1.0 + 0.5 * u,
            Some("weight") if is_matrix => u * (6.0 / fan_in as f32).sqrt(),
            Some("weight") => 1.0 + 0.1 * u,
            _ => 0.1 * u,
        };
        let values = uniform(&tensor.name, count)
            .into_iter()
            .map(scale)
            .collect();
        (tensor.name.clone(), (tensor.shape.clone(), values))
    });
    filled.collect()
}

/// Writes a checkpoint.
pub(crate) fn write_checkpoint(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (
                name,
                shape,
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            )
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap(),
        )
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// What the tests of this process share: a backbone, images, and a task trained on them.
pub(crate) struct Shared {
    folder: TempDir,
}

impl Shared {
    pub(crate) fn backbone(&self) -> PathBuf {
        self.folder.path().join("backbone.safetensors")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    pub(crate) fn task(&self) -> PathBuf {
        self.folder.path().join("hues.task.safetensors")
    }
}

/// The shared inputs, made at first use.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let shared = Shared {
            folder: tempfile::tempdir().unwrap(),
        };
        write_checkpoint(&shared.backbone(), &mobilenet());
        write_images(&shared.images());
        train(&shared.task(), &[]).ends_with(0);
        shared
    })
}

/// Trains on the shared inputs, as small as it gets; does not use [`shared`] to train its task.
pub(crate) fn train(out: &Path, more: &[&str]) -> Run {
    piggyback(
        &training(out, more)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )
}

/// The arguments of a training on inputs beside `out`, or the shared ones.
pub(crate) fn training(out: &Path, more: &[&str]) -> Vec<String> {
    let beside = out.parent().unwrap();
    let of = |name: &str, shared: fn() -> PathBuf| {
        let here = beside.join(name);
        if here.exists() { here } else { shared() }
    };
    let backbone = of("backbone.safetensors", || shared().backbone());
    let images = of("images", || shared().images());
    let places = [
        "train",
        "--backbone",
        text(&backbone),
        "--data",
        text(&images),
        "--out",
        text(out),
    ];
    let small = ["--image-size", "32", "--batch-size", "4", "--epochs", "2"];
    // Flags may be given once, so what a test sets replaces what is set here.
    let kept = small
        .chunks(2)
        .filter(|pair| !more.contains(&pair[0]))
        .flatten();
    places
        .iter()
        .chain(kept)
        .chain(more)
        .map(|argument| (*argument).to_owned())
        .collect()
}

/// Writes `train/`, `val/` and `test/` of two classes.
pub(crate) fn write_images(folder: &Path) {
    for (split, count) in [("train", 6), ("val", 2), ("test", 2)] {
        for (class, hue) in [("blue", [30, 60, 220]), ("red", [220, 60, 30])] {
            let class = folder.join(split).join(class);
            fs::create_dir_all(&class).unwrap();
            for i in 0..count {
                write_image(&class.join(format!("{i}.png")), &format!("{split}{i}"), hue);
            }
        }
    }
}

/// Writes a noisy picture of one hue.
pub(crate) fn write_image(path: &Path, seed: &str, hue: [u8; 3]) {
    let (width, height) = (30, 24);
    let noise = uniform(seed, (width * height) as usize);
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let noise = 30.0 * noise[(y * width + x) as usize];
        Rgb(hue.map(|value| (f32::from(value) + noise) as u8))
    });
    picture.save(path).unwrap();
}
