//! One named test for each header or metadata that is refused, in files whose digest is right.

use piggyback_task::{Error, MAX_WEIGHTS};
use serde_json::json;

use crate::example;
use crate::forge::{Forge, assert_starts, changed, changed_json, refuse};

// Are the tensors' places valid?

#[test]
fn offsets_that_overflow() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen(
            "\"data_offsets\":[0,16]",
            "\"data_offsets\":[0,18446744073709551615]",
            1,
        )
    });
    assert!(matches!(
        refuse(&bytes),
        Error::WrongLength {
            expected_bytes: u64::MAX,
            ..
        }
    ));
}

#[test]
fn offsets_that_run_backwards() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen("\"data_offsets\":[0,16]", "\"data_offsets\":[16,0]", 1)
    });
    assert_eq!(
        refuse(&bytes).to_string(),
        "affine: its bytes 16 to 0 are not in the file"
    );
}

#[test]
fn offsets_that_overlap() {
    let bytes = Forge::of(&example::golden()).bytes_with(|header| {
        header.replacen("\"data_offsets\":[16,24]", "\"data_offsets\":[8,16]", 1)
    });
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn a_gap_between_tensors() {
    let mut forge = Forge::of(&example::golden());
    forge.tensor("head.bias").3.extend([0; 4]);
    let bytes = forge.bytes_with(|header| {
        header.replacen("\"data_offsets\":[40,56]", "\"data_offsets\":[40,52]", 1)
    });
    assert!(matches!(refuse(&bytes), Error::NotCanonical));
}

#[test]
fn a_missing_tensor() {
    for (name, expected) in [
        ("head.weight", "head.weight: the tensor is missing"),
        ("head.bias", "head.bias: expected [3 classes], found [0]"),
        ("head.scales", "head.weight: expected 3 scales, found 0"),
        ("bits", "features.0.0.weight: the code ends too early"),
        ("parts", "bits: more bytes than the parts need"),
    ] {
        let message = changed(|forge| forge.tensors.retain(|tensor| tensor.0 != name));
        assert_eq!(message, expected);
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
fn bytes_of_another_dtype() {
    for (name, dtype, expected) in [
        ("affine", "I32", "F32"),
        ("bits", "I8", "U8"),
        ("delta.scales", "I32", "F32"),
        ("feature_summary", "U32", "F32"),
        ("head.bias", "I32", "F32"),
        ("head.scales", "I32", "F32"),
        ("low_rank.scales", "I32", "F32"),
        ("norms", "U8", "I8"),
        ("norms.scales", "I32", "F32"),
        ("parts", "BOOL", "U8"),
        ("replaced", "I32", "F32"),
    ] {
        let message = changed(|forge| forge.tensor(name).1 = dtype.to_owned());
        assert_eq!(
            message,
            format!("{name}: expected dtype {expected}, found {dtype}")
        );
    }
    let message = changed(|forge| forge.tensor("head.weight").1 = "BOOL".to_owned());
    assert_starts(&message, "head.weight: unexpected dtype BOOL");
}

#[test]
fn a_stream_in_another_shape() {
    for (name, shape) in [
        ("affine", vec![4]),
        ("delta.scales", vec![2, 1]),
        ("feature_summary", vec![4]),
        ("head.bias", vec![3, 1]),
        ("norms", vec![2, 4]),
        ("norms.scales", vec![2]),
        ("parts", vec![1, 11]),
        ("replaced", vec![2, 2]),
    ] {
        let message = changed(|forge| forge.tensor(name).2 = shape);
        assert_starts(&message, "not in canonical form");
    }
}

#[test]
fn a_stream_of_nothing() {
    for (name, dtype) in [
        ("affine", "F32"),
        ("bits", "U8"),
        ("norms", "I8"),
        ("replaced", "F32"),
    ] {
        let mut forge = Forge::of(&example::classifier_only());
        let empty = (name.to_owned(), dtype.to_owned(), vec![0], vec![]);
        forge.tensors.push(empty);
        assert!(
            matches!(refuse(&forge.bytes()), Error::NotCanonical),
            "{name}"
        );
    }
}

// Is the list of the backbone's tensors valid?

#[test]
fn no_list_of_an_unknown_architecture() {
    let message = changed(|forge| drop(forge.metadata.remove("piggyback.tensors")));
    assert_starts(
        &message,
        "backbone: the architecture \"example_net\" is not known to this program",
    );
}

#[test]
fn a_list_that_breaks_a_rule() {
    for (name, shape, expected) in [
        ("", json!([1]), "tensors: a tensor has no name"),
        (
            "z",
            json!([4, 0]),
            "z: shape [4, 0] has a dimension of zero",
        ),
        (
            "z",
            json!([1u64 << 40, 1u64 << 40]),
            "z: shape [1099511627776, 1099511627776] overflows",
        ),
        ("z", json!([-36]), "piggyback.tensors: invalid value"),
        ("z", json!(36), "piggyback.tensors: invalid type"),
        (
            "z",
            json!([MAX_WEIGHTS]),
            "tensors: they have 8589934783 elements, but at most 8589934592 are allowed",
        ),
    ] {
        let message = changed_json("piggyback.tensors", |list| list[name] = shape);
        assert_starts(&message, expected);
    }
}

#[test]
fn a_list_of_more_or_fewer_tensors_than_there_are_parts() {
    let message = changed_json("piggyback.tensors", |list| list["z"] = json!([1]));
    assert_eq!(
        message,
        "parts: expected a byte for each of 12 tensors, found 11"
    );
    let message = changed_json("piggyback.tensors", |list| {
        list.as_object_mut().unwrap().remove("scale");
    });
    assert_eq!(
        message,
        "parts: expected a byte for each of 10 tensors, found 11"
    );
}

#[test]
fn a_list_in_another_order() {
    let message = changed(|forge| {
        let list = forge.metadata["piggyback.tensors"].clone();
        let list = list
            .replacen('{', "{\"scale\":[],", 1)
            .replace(",\"scale\":[]}", "}");
        forge.set("piggyback.tensors", &list);
    });
    assert_starts(&message, "not in canonical form");
}

// Is the rest of the metadata valid?

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
fn answers_that_break_a_rule() {
    for (key, value, expected) in [
        (
            "temperature",
            json!(0.0),
            "answers: the temperature must be above 0",
        ),
        (
            "temperature",
            json!(-1.0),
            "answers: the temperature must be above 0",
        ),
        (
            "temperature",
            json!(1e39),
            "piggyback.answers: number out of range",
        ),
        (
            "threshold",
            json!(-0.5),
            "answers: the threshold must be 0 to 1",
        ),
        (
            "threshold",
            json!(1.5),
            "answers: the threshold must be 0 to 1",
        ),
        (
            "several-labels",
            json!(null),
            "piggyback.answers: invalid type",
        ),
        ("top", json!(5), "piggyback.answers: unknown field `top`"),
    ] {
        let message = changed_json("piggyback.answers", |answers| answers[key] = value);
        assert_starts(&message, expected);
    }
}

#[test]
fn answers_that_need_not_be_written() {
    let message = changed_json("piggyback.answers", |answers| {
        *answers = json!({"several-labels": false, "temperature": null, "threshold": null});
    });
    assert_starts(&message, "not in canonical form");
}

#[test]
fn answers_without_a_key() {
    let message = changed_json("piggyback.answers", |answers| {
        *answers = json!({"several-labels": true});
    });
    assert_starts(&message, "not in canonical form");
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
fn invalid_preprocessing() {
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
    for key in ["piggyback.masks", "format"] {
        let message = changed(|forge| forge.set(key, "pt"));
        assert_eq!(message, format!("{key}: not a key of a task file"));
    }
}

#[test]
fn a_missing_metadata_key() {
    for key in ["backbone", "classes", "layout", "preprocessing", "training"] {
        let key = format!("piggyback.{key}");
        let message = changed(|forge| drop(forge.metadata.remove(&key)));
        assert_eq!(message, format!("{key}: the metadata key is missing"));
    }
}
