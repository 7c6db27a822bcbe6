//! A training that is stopped in the middle and resumed writes the same task file, bit for bit.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use safetensors::SafeTensors;

use crate::common::{Run, command, names, train, training};

/// Epochs of three steps each: so many that a signal after the first comes long before the last.
const FLAGS: [&str; 2] = ["--epochs", "50"];

/// Starts a training and returns once it has said `line`.
pub(crate) fn start_until(
    out: &Path,
    more: &[&str],
    line: &str,
) -> (Child, BufReader<std::process::ChildStderr>) {
    let flags = match more.contains(&FLAGS[0]) {
        true => &FLAGS[..0],
        false => &FLAGS[..],
    };
    let arguments = training(out, &[flags, more].concat());
    wait_for(
        command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
        line,
    )
}

/// Starts a program and returns once it has said `line`.
pub(crate) fn wait_for(
    mut command: Command,
    line: &str,
) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said
        .lines()
        .last()
        .is_some_and(|last| last.starts_with(line))
    {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    (child, stderr)
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The bytes of an uninterrupted training's task file.
fn uninterrupted() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("hues.task.safetensors");
        train(&out, &FLAGS).ends_with(0);
        fs::read(out).unwrap()
    })
}

#[test]
fn sigterm_leaves_a_checkpoint_that_continues_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    let (child, mut stderr) = start_until(&out, &[], "epoch   1/50");
    signal(&child, "-TERM");
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    let run = Run::of(child.wait_with_output().unwrap()).ends_with(130);
    assert_eq!(run.stdout, "");
    assert!(said.contains("--resume"), "{said}");
    assert!(!said.contains("epoch  50/50"), "{said}");
    assert_eq!(names(folder.path()), ["hues.run"]);

    train(&out, &FLAGS).refused_with(&["hues.run", "--resume", "--force"]);
    train(
        &out,
        &[&FLAGS[..], &["--resume", "--lr-mask", "0.5"]].concat(),
    )
    .refused_with(&["checkpoint.safetensors", "settings"]);
    let run = train(&out, &[&FLAGS[..], &["--resume"]].concat()).ends_with(0);
    assert!(run.stderr.contains("resumed after"), "{}", run.stderr);
    assert_eq!(fs::read(&out).unwrap(), uninterrupted());
}

#[test]
fn sigkill_costs_no_more_than_the_epoch_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    let (child, _stderr) = start_until(&out, &[], "epoch   2/50");
    signal(&child, "-KILL");
    Run::of(child.wait_with_output().unwrap()).ends_with(-1);
    assert!(!out.exists());

    let run = train(&out, &[&FLAGS[..], &["--resume"]].concat()).ends_with(0);
    assert!(!run.stderr.contains("epoch   1/50"), "{}", run.stderr);
    assert_eq!(fs::read(&out).unwrap(), uninterrupted());
}

/// Batches done of the epoch under way, as the checkpoint in a run folder says.
fn batches_done(run: &Path) -> u64 {
    let bytes = fs::read(run.join("checkpoint.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = &header.metadata().as_ref().unwrap()["piggyback.run"];
    let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
    metadata["position"]["batch"].as_u64().unwrap()
}

/// Starts a training that leaves a checkpoint at each step, and kills it while the last one is from
/// within an epoch.
fn kill_within_an_epoch(out: &Path) {
    let every_step = ["--checkpoint-seconds", "0"];
    let (child, _stderr) = start_until(out, &every_step, "epoch   1/50");
    let run = out.with_file_name("hues.run");
    loop {
        signal(&child, "-STOP");
        if batches_done(&run) > 0 {
            break;
        }
        signal(&child, "-CONT");
    }
    signal(&child, "-KILL");
    Run::of(child.wait_with_output().unwrap()).ends_with(-1);
    assert!(!out.exists());
}

#[test]
fn sigkill_within_an_epoch_costs_no_more_than_what_follows_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    kill_within_an_epoch(&out);
    let run_dir = folder.path().join("hues.run");
    let left = run_dir.join(".piggyback-a1b2c3d4e5.tmp");
    fs::write(left, "half of one").unwrap();

    let run = train(&out, &[&FLAGS[..], &["--resume"]].concat()).ends_with(0);
    assert!(!run.stderr.contains("epoch   1/50"), "{}", run.stderr);
    assert_eq!(fs::read(&out).unwrap(), uninterrupted());
    let left: Vec<String> = names(&run_dir);
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
}

#[test]
fn a_disk_without_room_leaves_the_checkpoint_before() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    kill_within_an_epoch(&out);
    let checkpoint = folder.path().join("hues.run/checkpoint.safetensors");
    let before = fs::read(&checkpoint).unwrap();

    // No file may become larger than 100 blocks: the system refuses to write more, as if it were full.
    let more = ["--resume", "--checkpoint-seconds", "0"];
    let arguments = training(&out, &[&FLAGS[..], &more].concat());
    let program = command(&[]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(arguments)
        .stdin(Stdio::null());
    let run = Run::of(limited.output().unwrap()).ends_with(2);
    assert!(
        run.stderr.contains("cannot write a checkpoint"),
        "{}",
        run.stderr
    );
    let error = run.stderr.lines().last().unwrap();
    assert!(error.contains("checkpoint.safetensors"), "{error}");
    assert!(fs::read(&checkpoint).unwrap() == before);

    train(&out, &[&FLAGS[..], &["--resume"]].concat()).ends_with(0);
    assert_eq!(fs::read(&out).unwrap(), uninterrupted());
}

#[test]
fn resuming_without_a_checkpoint_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hues.task.safetensors");
    let run = train(&out, &["--resume", "--epochs", "1"]).ends_with(0);
    assert!(run.stderr.contains("starting a new run"), "{}", run.stderr);
}
