//! One named test for each content that is refused, in files whose digest is right.

use piggyback_task::Error;
use serde_json::json;

use crate::example;
use crate::forge::{Forge, MASK, assert_starts, changed, changed_json, refuse};

// Are the tensors sound?

#[test]
fn offsets_that_overflow() {
    let header = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen(
            "\"data_offsets\":[0,12]",
            "\"data_offsets\":[0,18446744073709551615]",
            1,
        )
    });
    assert!(matches!(
        refuse(&header),
        Error::WrongLength {
            expected_bytes: u64::MAX,
            ..
        }
    ));
}

#[test]
fn offsets_that_run_backwards() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen("\"data_offsets\":[0,12]", "\"data_offsets\":[12,0]", 1)
    });
    assert_eq!(
        refuse(&bytes).to_string(),
        "head.bias: its bytes 12 to 0 are not in the file"
    );
}

#[test]
fn offsets_that_overlap() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen("\"data_offsets\":[12,36]", "\"data_offsets\":[0,24]", 1)
    });
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn a_gap_between_tensors() {
    let mut forge = Forge::of(&example::golden());
    forge.tensor("head.bias").3.extend([0; 4]);
    let bytes = forge.bytes_with(|header| {
        header.replacen("\"data_offsets\":[0,16]", "\"data_offsets\":[0,12]", 1)
    });
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn a_shape_that_overflows() {
    let message = changed_json("piggyback.masks", |masks| {
        masks[MASK]["shape"] = json!([1u64 << 40, 1u64 << 40]);
    });
    assert_starts(
        &message,
        "mask.features.0.0.weight: shape [1099511627776, 1099511627776] overflows",
    );
}

#[test]
fn a_shape_larger_than_its_bits() {
    let message = changed_json("piggyback.masks", |masks| {
        masks[MASK]["shape"] = json!([u64::MAX])
    });
    assert_starts(
        &message,
        "mask.features.0.0.weight: 18446744073709551615 bits need",
    );
}

#[test]
fn a_shape_with_a_zero() {
    let message = changed_json("piggyback.masks", |masks| {
        masks[MASK]["shape"] = json!([4, 0])
    });
    assert_starts(
        &message,
        "mask.features.0.0.weight: shape [4, 0] has a dimension of zero",
    );
}

#[test]
fn a_shape_with_a_negative_dimension() {
    let message = changed_json("piggyback.masks", |masks| {
        masks[MASK]["shape"] = json!([-36])
    });
    assert_starts(&message, "piggyback.masks: invalid value");
}

#[test]
fn a_tensor_shape_that_overflows() {
    let message = changed(|forge| forge.tensor("head.weight").2 = vec![u64::MAX, 2]);
    assert_starts(
        &message,
        "head.weight: shape [18446744073709551615, 2] overflows",
    );
}

#[test]
fn a_tensor_shape_unlike_its_bytes() {
    let message = changed(|forge| forge.tensor("head.weight").2 = vec![3, 3]);
    assert_eq!(
        message,
        "head.weight: shape [3, 3] has 9 values, but 6 were given"
    );
}

#[test]
fn a_mask_tensor_shape_unlike_its_bytes() {
    let message = changed(|forge| forge.tensor("mask.features.0.0.weight").2 = vec![5, 1]);
    assert_starts(&message, "not in canonical form");
}

#[test]
fn bytes_that_are_not_a_number_of_floats() {
    let message = changed(|forge| forge.tensor("head.bias").3.truncate(11));
    assert_eq!(
        message,
        "head.bias: 11 bytes are not a whole number of floats"
    );
}

#[test]
fn floats_of_another_dtype() {
    let message = changed(|forge| forge.tensor("head.bias").1 = "I32".to_owned());
    assert_eq!(message, "head.bias: expected dtype F32, found I32");
}

#[test]
fn bits_of_another_dtype() {
    let message = changed(|forge| forge.tensor("mask.features.0.0.weight").1 = "I8".to_owned());
    assert_eq!(
        message,
        "mask.features.0.0.weight: expected dtype U8, found I8"
    );
}

#[test]
fn values_that_are_not_finite() {
    for name in ["head.weight", "head.bias", "norm.features.0.1.weight"] {
        for bad in [f32::NAN, f32::INFINITY] {
            let message =
                changed(|forge| forge.tensor(name).3[..4].copy_from_slice(&bad.to_le_bytes()));
            assert_starts(&message, &format!("{name}: value 0 is "));
        }
    }
}

#[test]
fn a_missing_tensor() {
    for name in [
        "head.weight",
        "head.bias",
        "mask.features.0.0.weight",
        "sign.features.1.weight",
    ] {
        let message = changed(|forge| forge.tensors.retain(|tensor| tensor.0 != name));
        assert_eq!(message, format!("{name}: the tensor is missing"));
    }
}

#[test]
fn a_tensor_too_many() {
    let message = changed(|forge| {
        let extra = ("zzz".to_owned(), "U8".to_owned(), vec![1], vec![0]);
        forge.tensors.push(extra);
    });
    assert_eq!(message, "zzz: not a tensor of this task file");
}

#[test]
fn signs_of_a_binary_mask() {
    let message = changed_json("piggyback.masks", |masks| {
        masks["features.1.weight"]["kind"] = json!("binary");
    });
    assert_eq!(
        message,
        "sign.features.1.weight: not a tensor of this task file"
    );
}

// Are the masks sound?

#[test]
fn an_unknown_codec() {
    let message = changed_json("piggyback.masks", |masks| {
        masks[MASK]["codec"] = json!("huffman")
    });
    assert_eq!(
        message,
        "mask.features.0.0.weight: unknown codec \"huffman\", this version reads only \"packed\"; update Piggyback"
    );
}

#[test]
fn an_unknown_kind_of_mask() {
    let message = changed_json("piggyback.masks", |masks| {
        masks[MASK]["kind"] = json!("real")
    });
    assert_starts(&message, "piggyback.masks: unknown variant `real`");
}

#[test]
fn a_wrong_count_of_zeros() {
    let message = changed_json("piggyback.masks", |masks| masks[MASK]["zeros"] = json!(11));
    assert_eq!(
        message,
        "mask.features.0.0.weight: expected 11 zeros, found 12"
    );
}

#[test]
fn a_padding_bit() {
    let message = changed(|forge| forge.tensor("mask.features.0.0.weight").3[4] |= 0x80);
    assert_starts(
        &message,
        "mask.features.0.0.weight: the last byte has bits set beyond the first 36",
    );
}

#[test]
fn a_padding_bit_among_the_signs() {
    let message = changed(|forge| forge.tensor("sign.features.1.weight").3[1] |= 0x80);
    assert_starts(
        &message,
        "sign.features.1.weight: the last byte has bits set beyond the first 10",
    );
}

#[test]
fn a_sign_where_the_weight_is_zeroed() {
    let message = changed(|forge| forge.tensor("sign.features.1.weight").3[0] |= 0b10);
    assert_eq!(
        message,
        "mask.features.1.weight: a sign bit is set where the weight is zeroed"
    );
}

#[test]
fn a_mask_without_a_name() {
    let mut task = example::golden();
    let mask = task.masks.remove(MASK).unwrap();
    task.masks.insert(String::new(), mask);
    assert_eq!(
        task.to_bytes().unwrap_err().to_string(),
        "masks: a mask has no weight name"
    );
}

// Is the rest sound?

#[test]
fn no_classes() {
    let message = changed(|forge| forge.set("piggyback.classes", "[]"));
    assert_eq!(message, "classes: there are none");
}

#[test]
fn a_class_without_a_name() {
    let message = changed(|forge| forge.set("piggyback.classes", r#"["cat","","dog"]"#));
    assert_eq!(message, "classes: class 1 has no name");
}

#[test]
fn a_class_twice() {
    let message = changed(|forge| forge.set("piggyback.classes", r#"["cat","dog","cat"]"#));
    assert_eq!(message, "classes: \"cat\" occurs twice");
}

#[test]
fn fewer_classes_than_the_head_has() {
    let message = changed(|forge| forge.set("piggyback.classes", r#"["cat","dog"]"#));
    assert_eq!(
        message,
        "head.weight: expected [2 classes, features], found [3, 2]"
    );
}

#[test]
fn a_head_that_is_no_matrix() {
    let message = changed(|forge| forge.tensor("head.weight").2 = vec![3, 2, 1]);
    assert_eq!(
        message,
        "head.weight: expected [3 classes, features], found [3, 2, 1]"
    );
}

#[test]
fn a_bias_that_is_no_vector() {
    let message = changed(|forge| forge.tensor("head.bias").2 = vec![3, 1]);
    assert_eq!(message, "head.bias: expected [3 classes], found [3, 1]");
}

#[test]
fn a_norm_of_an_unknown_field() {
    for name in [
        "norm.features.0.1.gamma",
        "norm.weight",
        "norm..weight",
        "norm.",
    ] {
        let message = changed(|forge| forge.tensor("norm.features.0.1.bias").0 = name.to_owned());
        assert_starts(&message, &format!("{name}: expected <module>.<field>"));
    }
}

#[test]
fn a_norm_that_is_no_vector() {
    let message = changed(|forge| forge.tensor("norm.features.0.1.bias").2 = vec![2, 2]);
    assert_eq!(
        message,
        "norm.features.0.1.bias: expected [channels], found [2, 2]"
    );
}

#[test]
fn a_negative_variance() {
    let message = changed(|forge| {
        let values = &mut forge.tensor("norm.features.0.1.running_var").3;
        values[..4].copy_from_slice(&(-1.0f32).to_le_bytes());
    });
    assert_eq!(
        message,
        "norm.features.0.1.running_var: a variance is negative"
    );
}

#[test]
fn a_fingerprint_that_is_none() {
    let message = changed_json("piggyback.backbone", |backbone| {
        backbone["fingerprint"] = json!("abc")
    });
    assert_starts(
        &message,
        "piggyback.backbone: fingerprint: expected 64 lowercase hexadecimal digits",
    );
}

#[test]
fn an_architecture_without_a_name() {
    let message = changed_json("piggyback.backbone", |backbone| {
        backbone["architecture"] = json!("")
    });
    assert_eq!(message, "backbone: its architecture has no name");
}

#[test]
fn an_unknown_layout() {
    let message = changed(|forge| forge.set("piggyback.layout", "keras"));
    assert_starts(
        &message,
        "piggyback.layout: expected \"torch\" or \"burn\", found \"keras\"",
    );
}

#[test]
fn unsound_preprocessing() {
    let message = changed_json("piggyback.preprocessing", |preprocessing| {
        preprocessing["image_size"] = json!(0)
    });
    assert_starts(
        &message,
        "preprocessing: image_size must be 1 to 4096 pixels, found 0",
    );
}

#[test]
fn preprocessing_beyond_the_range_of_a_float() {
    let text = r#"{"image_size":96,"interpolation":"bilinear","mean":[0,0,1e39],"resize":"squash","std":[1,1,1]}"#;
    let message = changed(|forge| forge.set("piggyback.preprocessing", text));
    assert_starts(&message, "piggyback.preprocessing: number out of range");
}

#[test]
fn an_unknown_field_of_the_preprocessing() {
    let message = changed_json("piggyback.preprocessing", |preprocessing| {
        preprocessing["rotate"] = json!(90);
    });
    assert_starts(&message, "piggyback.preprocessing: unknown field `rotate`");
}

#[test]
fn a_training_record_that_is_no_object() {
    let message = changed(|forge| forge.set("piggyback.training", "[]"));
    assert_starts(&message, "piggyback.training: invalid type");
}

#[test]
fn a_training_record_too_deep_to_read_back() {
    let mut value = json!(1);
    for _ in 0..200 {
        value = json!([value]);
    }
    let mut task = example::golden();
    task.training.insert("deep", value);
    assert_starts(
        &task.to_bytes().unwrap_err().to_string(),
        "training record: recursion limit exceeded",
    );
}

#[test]
fn an_unknown_metadata_key() {
    for key in ["piggyback.extra", "format"] {
        let message = changed(|forge| forge.set(key, "pt"));
        assert_eq!(message, format!("{key}: not a key of a task file"));
    }
}

#[test]
fn a_missing_metadata_key() {
    for key in [
        "backbone",
        "classes",
        "layout",
        "masks",
        "preprocessing",
        "training",
    ] {
        let key = format!("piggyback.{key}");
        let message = changed(|forge| drop(forge.metadata.remove(&key)));
        assert_eq!(message, format!("{key}: the metadata key is missing"));
    }
}

/// The message for the golden file of version 2 with one change to it.
fn changed_2(change: impl FnOnce(&mut Forge)) -> String {
    let mut forge = Forge::of(&example::version_2());
    change(&mut forge);
    refuse(&forge.bytes()).to_string()
}

#[test]
fn affine_factors_and_changes_that_break_a_rule() {
    let message = changed_2(|forge| forge.tensor("affine.features.0.0.weight").2 = vec![2, 2]);
    assert_starts(&message, "affine.features.0.0.weight: expected [4]");
    let message = changed_2(|forge| {
        forge.tensor("affine.features.0.0.weight").3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert_starts(&message, "affine.features.0.0.weight: value 0");
    let message = changed_2(|forge| forge.tensor("delta.features.2.weight").3 = vec![0xff]);
    assert_starts(&message, "delta.features.2.weight: ");
    for scale in [-0.5f32, -0.0] {
        let message = changed_2(|forge| {
            forge.tensor("scale.features.2.weight").3 = scale.to_le_bytes().to_vec();
        });
        assert_starts(&message, "delta.features.2.weight: its scale is");
    }
    let message = changed_2(|forge| {
        forge.edit_json("piggyback.deltas", |deltas| {
            deltas["features.2.weight"]["codec"] = "huffman".into();
        });
    });
    assert_starts(&message, "delta.features.2.weight: unknown codec");
    let message = changed_2(|forge| {
        forge.edit_json("piggyback.deltas", |deltas| {
            let delta = deltas["features.2.weight"].clone();
            *deltas = serde_json::json!({"features.1.weight": delta});
        });
        for part in ["delta", "scale"] {
            forge.tensor(&format!("{part}.features.2.weight")).0 =
                format!("{part}.features.1.weight");
        }
    });
    assert_starts(
        &message,
        "delta.features.1.weight: the weight also has a mask",
    );
}

/// What version 1 can say is written in version 1, and in it nothing else can be said.
#[test]
fn a_version_that_is_not_the_oldest_possible() {
    let message = changed(|forge| {
        forge.set("piggyback.format", "2");
        forge.set("piggyback.deltas", "{}");
    });
    assert_starts(&message, "not in canonical form");
    let message = changed_2(|forge| {
        forge.set("piggyback.format", "1");
        drop(forge.metadata.remove("piggyback.deltas"));
    });
    assert_starts(&message, "affine.features.0.0.weight: not a tensor");
}
