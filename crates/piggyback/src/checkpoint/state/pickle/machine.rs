//! The stack machine that runs pickles.

use super::stack::{Stack, Step, broken};
use super::value::{Id, Value};

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Stack<'a>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            stack: Stack::new(),
        }
    }

    /// The values of the pickle, its result, and its length in bytes.
    pub(super) fn run(mut self) -> Step<(Vec<Value<'a>>, Id, usize)> {
        loop {
            let code = self.byte()?;
            if code == b'.' {
                let root = self.stack.pop()?;
                return Ok((self.stack.values, root, self.position));
            }
            self.stack.spend(1)?;
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step<()> {
        match code {
            // Protocol and frames, which only help to read ahead.
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.stack.mark(),
            b'0' => drop(self.stack.pop()?),
            b'1' => drop(self.stack.since_mark()?),
            b'2' => {
                let top = self.stack.top()?;
                self.stack.again(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'I' | b'L' => {
                let line = self.line()?;
                self.stack.push(integer(line));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.stack.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            0x8A => {
                let length = self.byte()?;
                let bytes = self.sized(length.into())?;
                self.stack.push(whole(bytes));
            }
            0x8B => {
                let length = u32::from_le_bytes(self.array()?);
                let bytes = self.sized(length.into())?;
                self.stack.push(whole(bytes));
            }
            b'F' => {
                self.line()?;
                self.stack.push(Value::Opaque);
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Opaque);
            }
            b'S' => {
                let line = self.line()?;
                let quoted = line.get(1..line.len().saturating_sub(1)).unwrap_or(b"");
                self.stack.text(if quoted.contains(&b'\\') {
                    b"\xFF"
                } else {
                    quoted
                });
            }
            b'V' => {
                let line = self.line()?;
                self.stack.text(line);
            }
            // Text, and the strings of Python 2, by the size of their length.
            0x8C | b'U' => {
                let length = self.byte()?;
                self.sized_text(length.into())?;
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.sized_text(length.into())?;
            }
            0x8D => {
                let length = u64::from_le_bytes(self.array()?);
                self.sized_text(length)?;
            }
            b'C' => {
                let length = self.byte()?;
                self.opaque(length.into())?;
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.opaque(length.into())?;
            }
            0x8E | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.opaque(length)?;
            }
            b']' | b')' | 0x8F => self.stack.push(Value::Sequence(Vec::new())),
            b'l' | b't' | 0x91 => {
                let items = self.stack.since_mark()?;
                self.stack.push(Value::Sequence(items));
            }
            0x85..=0x87 => {
                let items = self.stack.last(usize::from(code - 0x84))?;
                self.stack.push(Value::Sequence(items));
            }
            b'a' => {
                let items = self.stack.last(1)?;
                self.stack.extend(items)?;
            }
            b'e' | 0x90 => {
                let items = self.stack.since_mark()?;
                self.stack.extend(items)?;
            }
            b'}' => self.stack.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.stack.since_mark()?;
                self.stack.push(Value::Dict(Vec::new()));
                self.stack.set_items(&items)?;
            }
            b's' => {
                let items = self.stack.last(2)?;
                self.stack.set_items(&items)?;
            }
            b'u' => {
                let items = self.stack.since_mark()?;
                self.stack.set_items(&items)?;
            }
            b'p' => {
                let key = self.line_number()?;
                self.stack.remember(key)?;
            }
            b'q' => {
                let key = self.byte()?;
                self.stack.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.stack.remember(key.into())?;
            }
            0x94 => self.stack.remember(self.stack.remembered())?,
            b'g' => {
                let key = self.line_number()?;
                self.stack.recall(key)?;
            }
            b'h' => {
                let key = self.byte()?;
                self.stack.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.stack.recall(key.into())?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let utf8 = |text| std::str::from_utf8(text).map_err(|_| broken());
                self.stack.global(utf8(module)?, utf8(name)?)?;
            }
            0x93 => {
                let names = self.stack.last(2)?;
                match (&self.stack.values[names[0]], &self.stack.values[names[1]]) {
                    (Value::Text(module), Value::Text(name)) => self.stack.global(module, name)?,
                    _ => return Err(broken()),
                }
            }
            b'R' | 0x81 => {
                let call = self.stack.last(2)?;
                self.stack.call(call[0], call[1])?;
            }
            0x92 => {
                let call = self.stack.last(3)?;
                self.stack.call(call[0], call[1])?;
            }
            b'b' => {
                let state = self.stack.last(1)?;
                self.stack.set_state(state[0])?;
            }
            b'P' => {
                let line = self.line()?;
                self.stack.text(line);
                self.stack.persistent()?;
            }
            b'Q' => self.stack.persistent()?,
            _ => return Err(format!("its pickle has an unknown opcode {code:#04x}")),
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Step<&'a [u8]> {
        let end = self.position.checked_add(length).ok_or_else(broken)?;
        let taken = self.bytes.get(self.position..end).ok_or_else(broken)?;
        self.position = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| broken())
    }

    /// The bytes up to the end of the line.
    fn line(&mut self) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let length = (rest.iter().position(|byte| *byte == b'\n')).ok_or_else(broken)?;
        let line = self.take(length)?;
        self.position += 1;
        Ok(line)
    }

    fn line_number(&mut self) -> Step<u64> {
        let text = std::str::from_utf8(self.line()?).map_err(|_| broken())?;
        text.parse().map_err(|_| broken())
    }

    fn sized(&mut self, length: u64) -> Step<&'a [u8]> {
        self.take(usize::try_from(length).map_err(|_| broken())?)
    }

    fn sized_text(&mut self, length: u64) -> Step<()> {
        let bytes = self.sized(length)?;
        self.stack.text(bytes);
        Ok(())
    }

    fn opaque(&mut self, length: u64) -> Step<()> {
        self.sized(length)?;
        self.stack.push(Value::Opaque);
        Ok(())
    }
}

/// The number in a line; `00` and `01` are false and true.
fn integer(line: &[u8]) -> Value<'_> {
    match line {
        b"00" => Value::Bool(false),
        b"01" => Value::Bool(true),
        _ => (std::str::from_utf8(line).ok())
            .and_then(|text| text.trim_end_matches('L').parse().ok())
            .map_or(Value::Opaque, Value::Int),
    }
}

/// A whole number in two's complement, little-endian.
fn whole(bytes: &[u8]) -> Value<'_> {
    match bytes.last() {
        None => Value::Int(0),
        Some(_) if bytes.len() > 8 => Value::Long(bytes),
        Some(top) => {
            let mut word = [if *top < 0x80 { 0 } else { 0xFF }; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(word))
        }
    }
}
