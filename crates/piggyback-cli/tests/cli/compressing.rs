//! `piggyback compress` and `piggyback unpack`.

use std::fs;

use crate::common::{piggyback, shared, text, train};

#[test]
fn a_network_fine_tuned_elsewhere_becomes_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (backbone, images) = (shared().backbone(), shared().images());
    let network = path("network.safetensors");
    train(&network, &["--method", "individual", "--epochs", "1"]).ends_with(0);
    let out = path("birds.task.safetensors");
    let fixed = [
        "compress",
        "--backbone",
        text(&backbone),
        "--checkpoint",
        text(&network),
        "--out",
        text(&out),
    ];
    let run = |more: &[&str]| piggyback(&[&fixed[..], more].concat());

    let told = run(&["--budget", "100kB"]).ends_with(0);
    assert!(told.stdout.contains("changes lost"), "{}", told.stdout);
    assert!(fs::metadata(&out).unwrap().len() <= 100_000);
    run(&[]).refused_with(&["birds.task.safetensors", "--force"]);

    // With images it says what both get wrong.
    let more = [
        "--data",
        text(&images),
        "--scale-epochs",
        "1",
        "--force",
        "--json",
    ];
    let settled = run(&more).ends_with(0).json();
    assert_eq!(settled[0]["classes"], 2);
    assert_eq!(settled[0]["errors"]["on"], "test");
    assert!(settled[0]["errors"]["network"].is_number());
    assert!(settled[0]["lost_share"].as_f64().unwrap() < 1.0);
    assert!(settled[0]["bytes"].as_u64().unwrap() <= 150_000);
    let picture = images.join("test/red/0.png");
    let predict = [
        "predict",
        text(&picture),
        "--backbone",
        text(&backbone),
        "--task",
        text(&out),
    ];
    piggyback(&predict).ends_with(0);

    run(&["--force", "--budget", "20kB"]).refused_with(&["budget", "--head-precision int4"]);
    run(&["--force", "--budget", "much"]).refused_with(&["--budget much", "150kB"]);
    let (task, other) = (shared().task(), path("x"));
    let not_a_network = [&fixed[..4], &[text(&task), "--out", text(&other)]].concat();
    piggyback(&not_a_network).ends_with(2);
}

#[test]
fn a_task_file_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("plain.safetensors");
    let task = shared().task();
    let unpack = ["unpack", text(&task), text(&out)];
    let told = piggyback(&unpack).ends_with(0);
    assert!(told.stdout.contains("tensors"), "{}", told.stdout);
    let bytes = fs::read(&out).unwrap();
    let plain = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(plain.names().iter().any(|name| name.starts_with("mask.")));
    assert!(plain.names().contains(&"head.bias"));
    piggyback(&unpack).refused_with(&["plain.safetensors", "--force"]);
    let other = shared().backbone();
    piggyback(&["unpack", text(&other), text(&folder.path().join("x"))]).ends_with(2);
}
