//! The digest of a file with a full network.

use std::collections::BTreeMap;

use piggyback_task::Fingerprint;

/// Metadata key of the digest, 64 hexadecimal digits.
pub(super) const KEY: &str = "piggyback.digest";

/// What the digest's input begins with, so that it can never equal another use of BLAKE3.
const DOMAIN: &[u8] = b"piggyback network 1\n";

/// BLAKE3 of a file's metadata about its network and of all its `tensors`, including the head's.
///
/// It covers the content, not the file's bytes: other programs may write the same content in
/// another order.
pub(super) fn digest(about: &BTreeMap<String, String>, tensors: Fingerprint) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    for text in about.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&tensors.0);
    hasher.finalize().to_hex().to_string()
}
