//! What to do about files and tensors that are nothing we read.

use piggyback_task::foreign;

/// What to do about tensors of these types, the first of them that is more than a counter or a mask.
pub(super) fn of_types<'a>(types: impl Iterator<Item = &'a String>) -> Option<&'static str> {
    types.into_iter().find_map(|name| {
        let lower = name.to_ascii_lowercase();
        Some(match lower.as_str() {
            "quantised" => {
                "it is quantised: give the network of before it was quantised, or turn every tensor \
                 into floats with .dequantize() and save the state dict of the float network"
            }
            "sparse" => "it has sparse tensors: turn them into dense ones with .to_dense() and save again",
            "nested" => "it has nested tensors, which no network here has; give another checkpoint",
            "without numbers" => {
                "it was saved from the meta device and holds shapes alone: load the weights into the \
                 network before you save it"
            }
            "wrapped" => {
                "it has tensors of a class of their own (distributed or quantised): gather or \
                 dequantise them into plain tensors and save again"
            }
            "of another device" => "move it to the CPU with .cpu() and save again",
            _ if lower.starts_with("float8") || lower.starts_with("f8") || lower.starts_with("float4")
                || lower.starts_with("f4") || lower.starts_with("f6") =>
            {
                "it has floats of 8 bits or fewer: turn them into f16 or f32 (with their scales, where \
                 it has any) and save again"
            }
            _ if lower.starts_with("q") && lower.ends_with("storage") => {
                "it is quantised: give the network of before it was quantised"
            }
            _ if lower.contains("complex") => "it has complex numbers, which no network here has",
            _ => return None,
        })
    })
}

/// What is wrong with a file that is nothing we read: what it is, if that can be told, else `unknown`.
pub(super) fn foreign_or(file: &[u8], unknown: &str) -> String {
    match foreign::what_is(&file[..file.len().min(foreign::FIRST_BYTES)]) {
        Some(found) => format!(
            "is {}, where a checkpoint was expected; {}",
            found.name, found.advice
        ),
        None => unknown.to_owned(),
    }
}
