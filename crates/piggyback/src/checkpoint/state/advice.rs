//! Advice for unsupported files and tensors.

use piggyback_task::foreign;

/// Advice for unsupported tensor types: for the first that is not merely a counter or a mask.
pub(super) fn of_types<'a>(types: impl Iterator<Item = &'a String>) -> Option<&'static str> {
    types.into_iter().find_map(|name| {
        let lower = name.to_ascii_lowercase();
        Some(match lower.as_str() {
            "quantised" => {
                "it is quantised: give the network from before quantisation, or convert every \
                 tensor to floats with .dequantize() and save the float network's state dict"
            }
            "sparse" => "it has sparse tensors: convert them with .to_dense() and save again",
            "nested" => {
                "it has nested tensors, which no supported network has; give another \
             checkpoint"
            }
            "without numbers" => {
                "it was saved from the meta device and holds only shapes: load the weights into \
                 the network, then save it"
            }
            "wrapped" => {
                "it has tensor subclasses (distributed or quantised): gather or dequantise them \
                 into plain tensors and save again"
            }
            "of another device" => "move it to the CPU with .cpu() and save again",
            _ if lower.starts_with("float8")
                || lower.starts_with("f8")
                || lower.starts_with("float4")
                || lower.starts_with("f4")
                || lower.starts_with("f6") =>
            {
                "it has floats of 8 bits or fewer: convert them to f16 or f32 (applying their \
                 scales, if any) and save again"
            }
            _ if lower.starts_with("q") && lower.ends_with("storage") => {
                "it is quantised: give the network from before quantisation"
            }
            _ if lower.contains("complex") => {
                "it has complex numbers, which no supported \
                 network has"
            }
            _ => return None,
        })
    })
}

/// The error for an unsupported file: its format, if detected, else `unknown`.
pub(super) fn foreign_or(file: &[u8], unknown: &str) -> String {
    match foreign::what_is(&file[..file.len().min(foreign::FIRST_BYTES)]) {
        Some(found) => format!("is {}, not a checkpoint; {}", found.name, found.advice),
        None => unknown.to_owned(),
    }
}
