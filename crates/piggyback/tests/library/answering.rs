//! Several files at once: what they answer, and whether they always answer the same.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use piggyback::checkpoint::{ClassSource, LoadOptions};
use piggyback::engine::{Answerer, Answers, CheckName, NamedFile, verify};
use piggyback::export::{ExportOptions, Format, export};
use piggyback::files::MethodName;
use piggyback::image::Image;
use piggyback::learn::Run;
use piggyback::task::{Matrix, Precision};
use piggyback::{Architecture, Backbone, Error, LearnedFile};

use crate::export::{picture, random_task};
use crate::methods::{backbone, set, settings};
use crate::support::filled;
use crate::tasks::folder as images_in_folders;

/// Files in a folder, each under its name.
fn named(folder: &Path, names: &[&str]) -> Vec<(String, PathBuf)> {
    let path = |name: &str| folder.join(format!("{name}.safetensors"));
    let named = names.iter().map(|name| ((*name).to_owned(), path(name)));
    named.collect()
}

fn answerer(folder: &Path, names: &[&str], backbone: Option<&Backbone>) -> Result<Answerer, Error> {
    let files = NamedFile::open_all(&named(folder, names))?;
    Answerer::new(files, backbone, &Device::flex())
}

fn bits(answers: &Answers<'_>) -> Vec<Vec<u32>> {
    let logits = |prediction: &Result<piggyback::engine::Prediction, Error>| {
        let logits = &prediction.as_ref().unwrap().logits;
        logits.iter().map(|logit| logit.to_bits()).collect()
    };
    answers.predictions.iter().map(logits).collect()
}

fn images() -> Vec<Image> {
    (0..35).map(|index| picture(40, index)).collect()
}

/// A folder with task files of two input sizes, one of which answers no numbers, a network of its own, and a network that
/// two tasks share.
fn files(backbone: &Backbone) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.safetensors"));
    let first = random_task(backbone, 32, false);
    first.save(path("first")).unwrap();
    random_task(backbone, 40, true)
        .save(path("second"))
        .unwrap();
    random_task(backbone, 32, true).save(path("third")).unwrap();
    let mut huge = first.clone();
    let [classes, features] = first.head.weight.shape();
    let values = vec![f32::MAX; classes * features];
    huge.head.weight = Matrix::new(classes, features, &values, Precision::F32).unwrap();
    huge.save(path("huge")).unwrap();
    let options = ExportOptions::default();
    let network = path("network");
    export(
        backbone,
        "first",
        &first,
        Format::Safetensors,
        options,
        network,
    )
    .unwrap();
    let data = images_in_folders(&[("train", 4)]);
    let sets = [set("a", data.path()), set("b", data.path())];
    let joint = settings(MethodName::Joint, "epochs = 1");
    let joint = Run::new().learn(&joint, backbone, &sets[..]).unwrap();
    joint.product.save(path("joint")).unwrap();
    folder
}

#[test]
fn several_files_answer_as_each_alone() {
    let backbone = backbone();
    let folder = files(&backbone);
    let (folder, images) = (folder.path(), images());
    let names = ["first", "network", "second", "joint", "huge", "third"];
    let together = answerer(folder, &names, Some(&backbone)).unwrap();
    let answers = together.answers(&images).unwrap();
    let order: Vec<_> = answers.iter().map(|of| of.task.name().unwrap()).collect();
    let expected = [
        "first", "network", "second", "joint/a", "joint/b", "huge", "third",
    ];
    assert_eq!(order, expected);
    for answers in &answers {
        let task = answers.task.name().unwrap();
        let file = task.split('/').next().unwrap();
        let learned_file = LearnedFile::open(folder.join(format!("{file}.safetensors"))).unwrap();
        let engine = learned_file
            .engine(file, Some(&backbone), &Device::flex())
            .unwrap();
        assert_eq!(answers.task.classes(), engine.task(task).unwrap().classes);
        assert_eq!(answers.predictions.len(), images.len());
        if task == "huge" {
            let is_no_number =
                |answer: &Result<_, _>| matches!(answer, Err(Error::NotNumbers { .. }));
            assert!(answers.predictions.iter().all(is_no_number));
            assert!(engine.predict(task, &images).is_err());
            continue;
        }
        let alone = engine.predict(task, &images).unwrap();
        for (found, expected) in answers.predictions.iter().zip(&alone) {
            assert_eq!(found.as_ref().unwrap(), expected, "{task}");
        }
    }
    // A task by name, alone and twice, gives the same again.
    let some = together
        .answers_of(&["third", "joint/b", "third"], &images)
        .unwrap();
    let [third, joint, again] = &some[..] else {
        panic!("three were asked for");
    };
    assert_eq!(bits(third), bits(&answers[6]));
    assert_eq!(bits(joint), bits(&answers[4]));
    assert_eq!(bits(again), bits(third));
    let unknown = together.answers_of(&["fourth"], &images).unwrap_err();
    assert!(unknown.to_string().contains("joint/a"), "{unknown}");
    assert!(
        together
            .answers(&[])
            .unwrap()
            .iter()
            .all(|of| of.predictions.is_empty())
    );
}

#[test]
fn an_answerer_says_which_file_is_in_the_way() {
    let backbone = backbone();
    let folder = files(&backbone);
    let folder = folder.path();
    // Before anything is read.
    let twice = NamedFile::open_all(&named(folder, &["none", "none"])).unwrap_err();
    assert!(
        matches!(&twice, Error::NameTaken { name, .. } if name == "none"),
        "{twice}"
    );
    let alone = answerer(folder, &["network", "first"], None).unwrap_err();
    let path = folder.join("first.safetensors");
    assert!(
        matches!(&alone, Error::NeedsBackbone { path: of } if *of == path),
        "{alone}"
    );
    let other = filled(Architecture::ResNet18, 10);
    let other = Backbone::from_state_dict(other, LoadOptions::default(), &Device::flex()).unwrap();
    let error = answerer(folder, &["first"], Some(&other)).unwrap_err();
    assert!(
        matches!(&error, Error::InFile { path: of, .. } if *of == path),
        "{error}"
    );
    // One of a file's own tasks has the name of another file.
    let mut files = NamedFile::open_all(&named(folder, &["joint", "first"])).unwrap();
    files[1].name = "joint/b".into();
    let taken = Answerer::new(files, Some(&backbone), &Device::flex()).unwrap_err();
    assert!(
        matches!(&taken, Error::NameTaken { path: of, .. } if *of == path),
        "{taken}"
    );
}

#[test]
fn a_backbones_own_head_answers_by_the_names_that_it_is_given() {
    let backbone = backbone();
    let preprocessing = backbone.preprocessing().clone();
    let images = images();
    let predictions = backbone.predict(&images[..2], &preprocessing).unwrap();
    let answerer = Answerer::of_own_head(backbone.clone(), preprocessing.clone()).unwrap();
    let answers = answerer.answers(&images[..2]).unwrap();
    assert_eq!((answers.len(), answers[0].task.name()), (1, None));
    for (found, expected) in answers[0].predictions.iter().zip(&predictions) {
        assert_eq!(found.as_ref().unwrap(), expected);
    }
    let numbered = backbone.own_classes().unwrap();
    assert_eq!(
        (&*numbered.names[9], numbered.source),
        ("9", ClassSource::Numbers)
    );
    let refused = backbone
        .clone()
        .with_classes(vec!["cat".into()])
        .unwrap_err();
    assert!(refused.to_string().contains("10 classes"), "{refused}");
    let names: Vec<String> = (0..10).map(|class| format!("class {class}")).collect();
    let backbone = backbone.with_classes(names).unwrap();
    assert_eq!(backbone.own_classes().unwrap().source, ClassSource::Given);
    let likeliest = predictions[0].top_indices(1)[0];
    let named = backbone.predict(&images[..1], &preprocessing).unwrap();
    assert_eq!(named[0].top(1)[0].0, format!("class {likeliest}"));
    assert_eq!(named[0].logits, predictions[0].logits);
}

#[test]
fn every_check_of_a_sound_file_passes_and_the_first_that_fails_is_the_last() {
    let backbone = backbone();
    let folder = files(&backbone);
    let path = |name: &str| folder.path().join(format!("{name}.safetensors"));
    let device = Device::flex();
    let verified = |name: &str, backbone: Option<&Backbone>| {
        let mut begun = Vec::new();
        let checks = verify(&path(name), backbone, &device, |name| begun.push(name)).unwrap();
        assert!(begun.iter().eq(checks.iter().map(|check| &check.name)));
        let (last, before) = checks.split_last().unwrap();
        assert!(before.iter().all(|check| check.ok), "{checks:?}");
        assert_eq!(last.ok, last.reason.is_none());
        (begun, last.ok)
    };
    let all = CheckName::on(&device).to_vec();
    for name in ["first", "network", "joint"] {
        assert_eq!(
            verified(name, Some(&backbone)),
            (all.clone(), true),
            "{name}"
        );
    }
    assert_eq!(verified("joint", None), (all.clone(), true));
    assert_eq!(
        verified("huge", Some(&backbone)),
        (all[..4].to_vec(), false)
    );
    let other = filled(Architecture::ResNet18, 10);
    let other = Backbone::from_state_dict(other, LoadOptions::default(), &device).unwrap();
    assert_eq!(verified("first", Some(&other)), (all[..2].to_vec(), false));
    let mut bytes = std::fs::read(path("first")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path("damaged"), bytes).unwrap();
    assert_eq!(
        verified("damaged", Some(&backbone)),
        (all[..1].to_vec(), false)
    );

    let refused = |name: &str| verify(&path(name), None, &device, |_| {}).unwrap_err();
    assert!(matches!(refused("first"), Error::NeedsBackbone { .. }));
    assert!(matches!(refused("none"), Error::Read { .. }));
    assert_eq!(CheckName::Instructions.to_string(), "instructions");
}
