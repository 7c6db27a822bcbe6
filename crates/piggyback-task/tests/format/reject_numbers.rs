//! Floats, integers and scales that are refused, in files whose digest is right.

use piggyback_task::{Error, Matrix, Norm, Precision};

use crate::example;
use crate::forge::{Forge, assert_starts, changed, refuse};

/// The message for a golden file with the first float of a tensor changed.
fn with_float(name: &str, value: f32) -> String {
    changed(|forge| forge.tensor(name).3[..4].copy_from_slice(&value.to_le_bytes()))
}

/// The message for the task with norms and head of floats with one change to it.
fn changed_floats(change: impl FnOnce(&mut Forge)) -> String {
    let mut forge = Forge::of(&example::floats());
    change(&mut forge);
    refuse(&forge.bytes()).to_string()
}

#[test]
fn floats_that_are_not_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_starts(
            &with_float("affine", bad),
            "features.2.weight: a factor is ",
        );
        assert_starts(
            &with_float("feature_summary", bad),
            "feature_summary: value 0 is ",
        );
        assert_starts(&with_float("head.bias", bad), "head.bias: value 0 is ");
        assert_starts(&with_float("replaced", bad), "features.4.bias: value 0 is ");
        for (name, expected) in [
            ("head.weight", "head.weight: value 0 is "),
            ("norms", "features.0.1.weight: value 0 is "),
        ] {
            let message = changed_floats(|forge| {
                forge.tensor(name).3[..4].copy_from_slice(&bad.to_le_bytes());
            });
            assert_starts(&message, expected);
        }
    }
}

/// Negative zero would be a second encoding of zero, and 127 times the largest float is infinite.
#[test]
fn scales_that_no_writer_chooses() {
    for bad in [-0.5, -0.0, f32::NAN, f32::INFINITY] {
        for (name, expected) in [
            ("delta.scales", "features.2.weight: its scale is "),
            ("low_rank.scales", "features.4.weight: its scale is "),
            ("head.scales", "head.weight: a scale is "),
            ("norms.scales", "features.0.1.weight: a scale is "),
        ] {
            assert_starts(&with_float(name, bad), expected);
        }
    }
    for name in ["head.scales", "norms.scales"] {
        assert!(with_float(name, f32::MAX).contains("finite if multiplied by 127"));
    }
}

#[test]
fn the_integer_that_no_writer_chooses() {
    for (name, expected) in [
        (
            "head.weight",
            "head.weight: expected -127 to 127, found -128",
        ),
        (
            "norms",
            "features.0.1.weight: expected -127 to 127, found -128",
        ),
    ] {
        assert_eq!(changed(|forge| forge.tensor(name).3[0] = 0x80), expected);
    }
    for byte in [0x18, 0x81] {
        let mut forge = Forge::of(&example::int4_head());
        forge.tensor("head.weight").3[0] = byte;
        assert_eq!(
            refuse(&forge.bytes()).to_string(),
            "head.weight: expected -7 to 7, found -8"
        );
    }
}

#[test]
fn bytes_that_are_not_a_number_of_floats() {
    for name in ["affine", "delta.scales", "head.bias", "replaced"] {
        let message = changed(|forge| forge.tensor(name).3.truncate(3));
        assert!(
            message.contains("3 bytes are not a whole number of floats"),
            "{message}"
        );
        assert_starts(&message, name);
    }
    let message = changed_floats(|forge| forge.tensor("head.weight").3.truncate(23));
    assert_eq!(
        message,
        "head.weight: 23 bytes are not a whole number of floats"
    );
}

// The head.

#[test]
fn a_head_that_is_no_matrix() {
    for shape in [vec![6], vec![3, 2, 1]] {
        let message = changed(|forge| forge.tensor("head.weight").2 = shape);
        assert_starts(
            &message,
            "head.weight: expected [classes, features], found [",
        );
    }
}

#[test]
fn a_head_unlike_its_bytes() {
    let message = changed(|forge| forge.tensor("head.weight").2 = vec![3, 3]);
    assert_eq!(message, "head.weight: expected 9 values of [3, 3], found 6");
}

#[test]
fn a_head_whose_shape_overflows() {
    let message = changed(|forge| forge.tensor("head.weight").2 = vec![u64::MAX, 2]);
    assert_starts(
        &message,
        "head.weight: shape [18446744073709551615, 2] overflows",
    );
    let mut forge = Forge::of(&example::int4_head());
    forge.tensor("head.weight").2 = vec![3, u64::MAX];
    assert_eq!(
        refuse(&forge.bytes()).to_string(),
        "head.weight: its number of features overflows"
    );
}

#[test]
fn a_head_of_floats_with_scales() {
    let message = changed_floats(|forge| {
        let scales = (
            "head.scales".to_owned(),
            "F32".to_owned(),
            vec![3],
            vec![0; 12],
        );
        forge.tensors.insert(1, scales);
    });
    assert_starts(&message, "head.weight: unexpected dtype F32, with 3 scales");
}

#[test]
fn a_head_with_more_or_fewer_scales_than_classes() {
    for count in [2, 4] {
        let message = changed(|forge| {
            let scales = forge.tensor("head.scales");
            scales.2 = vec![count];
            scales.3.resize(4 * count as usize, 0);
        });
        assert_eq!(
            message,
            format!("head.weight: expected 3 scales, found {count}")
        );
    }
}

#[test]
fn a_bias_of_another_length() {
    let message = changed(|forge| {
        forge.tensor("head.bias").2 = vec![2];
        forge.tensor("head.bias").3.truncate(8);
    });
    assert_eq!(message, "head.bias: expected [3 classes], found [2]");
}

// The feature summary.

#[test]
fn a_feature_summary_of_other_features() {
    let message = changed(|forge| {
        let summary = forge.tensor("feature_summary");
        summary.2 = vec![2, 3];
        summary.3.extend([0; 8]);
    });
    assert_eq!(
        message,
        "feature_summary: expected [2, 2] floats, found [2, 3]"
    );
    let message = changed(|forge| forge.tensor("feature_summary").3.truncate(12));
    assert_starts(&message, "feature_summary: expected 2 values");
}

#[test]
fn a_negative_standard_deviation() {
    let message = changed(|forge| {
        forge.tensor("feature_summary").3[8..12].copy_from_slice(&(-0.5f32).to_le_bytes());
    });
    assert_eq!(message, "feature_summary: a standard deviation is negative");
}

// The norms.

#[test]
fn norms_of_floats_with_scales() {
    let message = changed_floats(|forge| {
        let scales = (
            "norms.scales".to_owned(),
            "F32".to_owned(),
            vec![1, 2],
            vec![0; 8],
        );
        forge.tensors.push(scales);
    });
    assert_eq!(message, "norms.scales: not a tensor of this task file");
}

#[test]
fn norms_of_different_precisions() {
    let mut task = example::floats();
    let norm = Norm::new(&[1.0], &[0.0], Precision::Int8).unwrap();
    task.norms.insert("features.0.0".to_owned(), norm);
    assert_eq!(
        task.to_bytes().unwrap_err().to_string(),
        "norms: some are quantised and some are not"
    );
}

#[test]
fn numbers_that_cannot_be_written() {
    assert!(Norm::new(&[1.0, 2.0], &[0.0], Precision::F32).is_err());
    assert!(Norm::new(&[1.0, 2.0], &[0.0; 2], Precision::Int4).is_err());
    assert!(Norm::new(&[], &[], Precision::F32).is_err());
    let mut task = example::golden();
    task.feature_summary = Some(Matrix::new(2, 2, &[1.0; 4], Precision::Int8).unwrap());
    assert!(matches!(task.to_bytes(), Err(Error::Invalid { .. })));
}
