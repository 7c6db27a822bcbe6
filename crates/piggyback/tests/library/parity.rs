//! The networks compute what torchvision and timm compute, and EfficientNet-Lite what a PyTorch definition of
//! its own computes.

use std::collections::BTreeMap;

use crate::support::{filled, golden, uniform};
use burn::tensor::{Device, Tensor};
use piggyback::checkpoint::{LoadOptions, StateDict};
use piggyback::{Architecture, Backbone};
use safetensors::tensor::TensorView;

fn check(folder: &str, architecture: Architecture) {
    let golden = golden(folder, architecture.name());
    let state = filled(architecture, 1000);

    let shapes: BTreeMap<String, Vec<u64>> = golden["state_dict"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, shape)| (name.clone(), serde_json::from_value(shape.clone()).unwrap()))
        .collect();
    let ours: BTreeMap<String, Vec<u64>> = state
        .tensors
        .iter()
        .map(|(name, tensor)| {
            (
                name.clone(),
                tensor.shape().iter().map(|&n| n as u64).collect(),
            )
        })
        .collect();
    assert_eq!(ours, shapes);

    let device = Device::flex();
    let backbone =
        Backbone::from_state_dict(state.clone(), LoadOptions::default(), &device).unwrap();
    assert_eq!(backbone.architecture(), architecture);
    compare(&backbone, &golden);
}

/// Holds the logits of two images against the golden ones.
fn compare(backbone: &Backbone, golden: &serde_json::Value) {
    let device = Device::flex();
    let pixels = uniform("images", 2 * 3 * 64 * 64);
    let images = Tensor::<1>::from_data(pixels.as_slice(), &device).reshape([2, 3, 64, 64]);
    let logits = backbone
        .classify(images)
        .unwrap()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_value(golden["logits"].clone()).unwrap();
    let expected = expected.concat();
    assert_eq!(logits.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (ours, theirs) in logits.iter().zip(&expected) {
        assert!(
            (ours - theirs).abs() <= 1e-4 * largest,
            "{ours} instead of {theirs}"
        );
    }
}

#[test]
fn mobilenet_v2() {
    check("torchvision", Architecture::MobileNetV2);
}

#[test]
fn resnet18() {
    check("torchvision", Architecture::ResNet18);
}

#[test]
fn resnet34() {
    check("torchvision", Architecture::ResNet34);
}

#[test]
fn resnet50() {
    check("torchvision", Architecture::ResNet50);
}

#[test]
fn resnet101() {
    check("torchvision", Architecture::ResNet101);
}

#[test]
fn resnet152() {
    check("torchvision", Architecture::ResNet152);
}

#[test]
fn vgg11() {
    check("torchvision", Architecture::Vgg11);
}

#[test]
fn vgg11_bn() {
    check("torchvision", Architecture::Vgg11Bn);
}

#[test]
fn vgg13() {
    check("torchvision", Architecture::Vgg13);
}

#[test]
fn vgg13_bn() {
    check("torchvision", Architecture::Vgg13Bn);
}

#[test]
fn vgg16() {
    check("torchvision", Architecture::Vgg16);
}

#[test]
fn vgg16_bn() {
    check("torchvision", Architecture::Vgg16Bn);
}

#[test]
fn vgg19() {
    check("torchvision", Architecture::Vgg19);
}

#[test]
fn vgg19_bn() {
    check("torchvision", Architecture::Vgg19Bn);
}

#[test]
fn densenet121() {
    check("torchvision", Architecture::DenseNet121);
}

#[test]
fn densenet161() {
    check("torchvision", Architecture::DenseNet161);
}

#[test]
fn densenet169() {
    check("torchvision", Architecture::DenseNet169);
}

#[test]
fn densenet201() {
    check("torchvision", Architecture::DenseNet201);
}

#[test]
fn efficientnet_b0() {
    check("torchvision", Architecture::EfficientNetB0);
}

#[test]
fn efficientnet_b1() {
    check("torchvision", Architecture::EfficientNetB1);
}

#[test]
fn efficientnet_b2() {
    check("torchvision", Architecture::EfficientNetB2);
}

#[test]
fn efficientnet_b3() {
    check("torchvision", Architecture::EfficientNetB3);
}

#[test]
fn mobilenet_v3_small() {
    check("torchvision", Architecture::MobileNetV3Small);
}

#[test]
fn mobilenet_v3_large() {
    check("torchvision", Architecture::MobileNetV3Large);
}

#[test]
fn regnet_y_400mf() {
    check("torchvision", Architecture::RegNetY400Mf);
}

#[test]
fn regnet_y_800mf() {
    check("torchvision", Architecture::RegNetY800Mf);
}

#[test]
fn regnet_y_1_6gf() {
    check("torchvision", Architecture::RegNetY1_6Gf);
}

/// Files with timm's names hold the same networks.
#[test]
fn timms_names_are_translated() {
    for architecture in [
        Architecture::EfficientNetB0,
        Architecture::EfficientNetB1,
        Architecture::EfficientNetB2,
        Architecture::EfficientNetB3,
        Architecture::MobileNetV3Small,
        Architecture::MobileNetV3Large,
        Architecture::RegNetY400Mf,
        Architecture::RegNetY1_6Gf,
    ] {
        let golden = golden("timm", architecture.name());
        let shapes: BTreeMap<String, Vec<usize>> =
            serde_json::from_value(golden["state_dict"].clone()).unwrap();
        let shapes = shapes.into_iter();
        let shapes = shapes.filter(|(name, _)| !name.ends_with("num_batches_tracked"));
        let tensors = piggyback_testing::filled(shapes);
        let bytes: BTreeMap<&str, (&[usize], Vec<u8>)> = (tensors.iter())
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (name.as_str(), (shape.as_slice(), bytes.collect()))
            })
            .collect();
        let views = bytes.iter().map(|(name, (shape, bytes))| {
            let view = TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes);
            (*name, view.unwrap())
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();

        let device = Device::flex();
        let state = StateDict::open(&path).unwrap();
        // timm's MobileNetV3 is never torchvision's, but for the golden file, which says so by its options.
        let is_ours = !architecture.name().starts_with("mobilenet_v3");
        let own = Backbone::from_state_dict(state.clone(), LoadOptions::default(), &device);
        match own {
            Ok(own) => assert!(is_ours && own.architecture() == architecture),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !is_ours && text.contains("uses a different epsilon"),
                    "{text}"
                );
            }
        }
        let options = LoadOptions {
            architecture: Some(architecture),
            ..LoadOptions::default()
        };
        let backbone = Backbone::from_state_dict(state, options, &device).unwrap();
        compare(&backbone, &golden);
    }
}

#[test]
fn efficientnet_lite0() {
    check("efficientnet", Architecture::EfficientNetLite0);
}

#[test]
fn efficientnet_lite1() {
    check("efficientnet", Architecture::EfficientNetLite1);
}

#[test]
fn efficientnet_lite2() {
    check("efficientnet", Architecture::EfficientNetLite2);
}

#[test]
fn efficientnet_lite3() {
    check("efficientnet", Architecture::EfficientNetLite3);
}

#[test]
fn efficientnet_lite4() {
    check("efficientnet", Architecture::EfficientNetLite4);
}

/// The least input: one pixel is left after the last stage, or none but padding.
#[test]
fn images_of_32_pixels_are_enough() {
    for architecture in [
        Architecture::MobileNetV2,
        Architecture::ResNet18,
        Architecture::Vgg11,
        Architecture::DenseNet121,
        Architecture::EfficientNetLite0,
        Architecture::EfficientNetB0,
        Architecture::MobileNetV3Small,
        Architecture::RegNetY400Mf,
    ] {
        let device = Device::flex();
        let state = filled(architecture, 3);
        let backbone =
            Backbone::from_state_dict(state.clone(), LoadOptions::default(), &device).unwrap();
        for side in [32, 37] {
            let pixels = uniform("images", 3 * side * side);
            let images = Tensor::<1>::from_data(pixels.as_slice(), &device);
            let logits = backbone
                .classify(images.reshape([1, 3, side, side]))
                .unwrap();
            let logits = logits.into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(logits.len(), 3);
            assert!(
                logits.iter().all(|logit| logit.is_finite()),
                "{architecture} {side}"
            );
        }
    }
}
