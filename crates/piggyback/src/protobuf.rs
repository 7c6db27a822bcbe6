//! Minimal Protocol Buffers encoder for ONNX and TensorBoard files: varints, strings, nested
//! messages.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding>. A library would add a code
//! generator for only about two dozen fields.

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

/// How a field's value is encoded.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

impl Message {
    /// An integer field.
    pub(crate) fn int(mut self, field: u32, value: i64) -> Self {
        self.tag(field, Wire::Varint);
        // Negative numbers are written as the unsigned ones with the same bits.
        varint(&mut self.0, value as u64);
        self
    }

    /// A 32-bit float field.
    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, Wire::Fixed32);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A 64-bit float field.
    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        self.tag(field, Wire::Fixed64);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A string or bytes field.
    pub(crate) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self = self.length(field, value.len());
        self.0.extend(value);
        self
    }

    /// A nested message.
    pub(crate) fn message(self, field: u32, message: Message) -> Self {
        self.bytes(field, message.0)
    }

    /// The header of a field of `length_bytes`, which are written after this message.
    pub(crate) fn length(mut self, field: u32, length_bytes: usize) -> Self {
        self.tag(field, Wire::Bytes);
        varint(&mut self.0, length_bytes as u64);
        self
    }

    /// Appends the fields of `other`.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn tag(&mut self, field: u32, wire: Wire) {
        varint(&mut self.0, u64::from(field) << 3 | wire as u64);
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification.
    #[test]
    fn fields_are_encoded_as_specified() {
        assert_eq!(Message::default().int(1, 150).0, [0x08, 0x96, 0x01]);
        let testing = Message::default().bytes(2, "testing");
        assert_eq!(testing.0, *b"\x12\x07testing");
        let nested = Message::default().message(3, Message::default().int(1, 150));
        assert_eq!(nested.0, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut minus_two = vec![0x08, 0xfe];
        minus_two.extend([0xff; 8]);
        minus_two.push(0x01);
        assert_eq!(Message::default().int(1, -2).0, minus_two);
        assert_eq!(Message::default().float(1, 1.0).0, [0x0d, 0, 0, 0x80, 0x3f]);
        let double = Message::default().double(1, 1.0);
        assert_eq!(double.0, [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    }
}
