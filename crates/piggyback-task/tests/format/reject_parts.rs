//! Parts that no task has, and streams that are longer or shorter than the parts need.

use piggyback_task::{BitMask, Delta, Error, LowRank, Mask, Norm, Precision, TaskFile};

use crate::example::{self, AFFINE, LOW_RANK, NORM, PACKED, REPLACED};
use crate::forge::{assert_starts, changed};

/// The message for the golden file in which a weight has these parts.
fn with_parts(weight: &str, parts: u8) -> String {
    let at = example::shapes()
        .iter()
        .position(|(name, _)| name == weight);
    changed(|forge| forge.tensor("parts").3[at.unwrap()] = parts)
}

#[test]
fn parts_that_no_task_has() {
    for (weight, parts) in [
        // A bit that means nothing.
        (PACKED, 1 | 128),
        // Signs or factors without a mask.
        (PACKED, 2),
        (PACKED, 4),
        (PACKED, 2 | 4 | 8),
        // A norm or a replaced tensor with anything else.
        (NORM, 32 | 1),
        (NORM, 32 | 64),
        (REPLACED, 64 | 1),
        (REPLACED, 64 | 8),
        (REPLACED, 64 | 16),
    ] {
        let expected = format!("{weight}: its parts are {parts}, which no task has");
        assert_starts(&with_parts(weight, parts), &expected);
    }
}

#[test]
fn a_norm_of_what_is_no_norm() {
    let expected = "a norm's weight is called <module>.weight and has one dimension";
    for weight in ["features.0.1.bias", PACKED, "scale"] {
        let message = with_parts(weight, 32);
        assert!(message.contains(expected), "{message}");
        assert_starts(&message, weight);
    }
}

#[test]
fn a_low_rank_change_of_a_vector() {
    // The parts of the weights before it are as in the golden file.
    let message = changed(|forge| {
        forge.tensor("parts").3[1] = 16;
        let bits = &mut forge.tensor("bits").3;
        bits.splice(6..6, [1, 0, 0]);
    });
    assert_eq!(
        message,
        "features.0.1.bias: expected two dimensions or more, found [4]"
    );
}

#[test]
fn parts_for_more_or_fewer_tensors() {
    for (count, expected) in [(10, "found 10"), (12, "found 12")] {
        let message = changed(|forge| {
            let parts = forge.tensor("parts");
            parts.2 = vec![count];
            parts.3.resize(count as usize, 0);
        });
        assert_starts(&message, "parts: expected a byte for each of 11 tensors");
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn parts_of_nothing() {
    let mut forge = crate::forge::Forge::of(&example::classifier_only());
    let parts = ("parts".to_owned(), "U8".to_owned(), vec![11], vec![0; 11]);
    forge.tensors.push(parts);
    assert!(matches!(
        crate::forge::refuse(&forge.bytes()),
        Error::NotCanonical
    ));
}

#[test]
fn streams_that_end_too_early() {
    for (name, size, weight) in [
        ("affine", 4, AFFINE),
        ("delta.scales", 4, "features.3.weight"),
        ("low_rank.scales", 4, LOW_RANK),
        ("norms", 1, NORM),
        ("norms.scales", 4, NORM),
        ("replaced", 4, REPLACED),
    ] {
        let message = changed(|forge| {
            let stream = forge.tensor(name);
            stream.3.truncate(stream.3.len() - size);
        });
        let expected = format!("{weight}: {name} has fewer numbers than the parts need");
        assert_eq!(message, expected);
    }
}

#[test]
fn streams_that_go_on() {
    for (name, size) in [
        ("affine", 4),
        ("delta.scales", 4),
        ("low_rank.scales", 4),
        ("norms", 1),
        ("norms.scales", 4),
        ("replaced", 4),
    ] {
        let message = changed(|forge| forge.tensor(name).3.extend(vec![0; size]));
        assert_eq!(
            message,
            format!("{name}: 1 more numbers than the parts need")
        );
    }
    let message = changed(|forge| forge.tensor("bits").3.push(0));
    assert_eq!(message, "bits: more bytes than the parts need");
}

// What a writer refuses.

fn refused(change: impl FnOnce(&mut TaskFile)) -> String {
    let mut task = example::golden();
    change(&mut task);
    task.to_bytes().unwrap_err().to_string()
}

#[test]
fn parts_for_tensors_that_the_backbone_does_not_have() {
    let bits = BitMask::filled(4, true);
    let mask = Mask::binary([2, 2], bits.clone()).unwrap();
    let delta = Delta::new([2, 2], bits.clone(), bits.clone(), 0.5).unwrap();
    let low_rank = LowRank::new([2, 2], 2, bits.clone(), bits, 0.5).unwrap();
    let norm = Norm::new(&[1.0], &[0.0], Precision::Int8).unwrap();
    for (name, has) in [("none.weight", false), (PACKED, true)] {
        let reason = match has {
            true => "expected shape [4, 1, 3, 3], found [2, 2]",
            false => "the backbone has no such tensor",
        };
        let message = refused(|task| drop(task.masks.insert(name.to_owned(), mask.clone())));
        assert_eq!(message, format!("mask {name}: {reason}"));
        let message = refused(|task| drop(task.deltas.insert(name.to_owned(), delta.clone())));
        assert_eq!(message, format!("delta {name}: {reason}"));
        let message = refused(|task| drop(task.low_rank.insert(name.to_owned(), low_rank.clone())));
        assert_eq!(message, format!("low rank {name}: {reason}"));
        let module = name.strip_suffix(".weight").unwrap().to_owned();
        let message = refused(|task| drop(task.norms.insert(module, norm.clone())));
        assert_starts(&message, &format!("norm {name}: "));
        let message = refused(|task| drop(task.replaced.insert(name.to_owned(), vec![0.0])));
        assert_starts(&message, &format!("replaced {name}: "));
    }
}

#[test]
fn a_norm_or_a_replaced_tensor_with_another_part() {
    let reason = "a norm or a replaced tensor has no other part";
    let mask = Mask::binary([4], BitMask::filled(4, true)).unwrap();
    let message = refused(|task| drop(task.masks.insert(NORM.to_owned(), mask.clone())));
    assert_eq!(message, format!("{NORM}: {reason}"));
    let message = refused(|task| drop(task.masks.insert(REPLACED.to_owned(), mask)));
    assert_eq!(message, format!("{REPLACED}: {reason}"));
    let message = refused(|task| drop(task.replaced.insert(NORM.to_owned(), vec![0.0; 4])));
    assert_eq!(message, format!("{NORM}: {reason}"));
}
