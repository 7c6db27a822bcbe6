//! The stack machine that pickles are programs for.

use std::collections::HashMap;

use super::globals::Global;
use crate::checkpoint::state::pickle::{Id, Pickle, Value};

/// Steps that a pickle may take. One of a network takes some forty a tensor; a limit keeps a small
/// file from filling the memory.
const MAX_STEPS: usize = 1 << 22;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Steps left.
    steps: usize,
}

type Step<T> = Result<T, String>;

fn broken() -> String {
    "its pickle is cut short or damaged".into()
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            steps: MAX_STEPS,
        }
    }

    pub(super) fn run(mut self) -> Step<Pickle<'a>> {
        loop {
            let code = self.byte()?;
            if code == b'.' {
                let root = self.pop()?;
                return Ok(Pickle {
                    values: self.values,
                    root,
                    length: self.position,
                });
            }
            self.spend(1)?;
            self.step(code)?;
        }
    }

    /// Counts the steps, and the values that are copied in one.
    fn spend(&mut self, steps: usize) -> Step<()> {
        self.steps = self.steps.checked_sub(steps).ok_or_else(|| {
            format!("its pickle has more than {MAX_STEPS} steps, which no checkpoint needs")
        })?;
        Ok(())
    }

    fn step(&mut self, code: u8) -> Step<()> {
        match code {
            // Protocol and frames, which only help to read ahead.
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' => {
                let line = self.line()?;
                self.push(integer(line));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()));
            }
            0x8A => {
                let length = self.byte()?;
                self.long(length.into())?;
            }
            0x8B => {
                let length = u32::from_le_bytes(self.array()?);
                self.long(length.into())?;
            }
            b'F' => {
                self.line()?;
                self.push(Value::Opaque);
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Opaque);
            }
            b'S' => {
                let line = self.line()?;
                let quoted = line.get(1..line.len().saturating_sub(1)).unwrap_or(b"");
                self.text(if quoted.contains(&b'\\') {
                    b"\xFF"
                } else {
                    quoted
                });
            }
            b'V' => {
                let line = self.line()?;
                self.text(line);
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
            b']' | b')' | 0x8F => self.push(Value::Sequence(Vec::new())),
            b'l' | b't' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Value::Sequence(items));
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.push(Value::Sequence(items));
            }
            b'a' => {
                let items = self.last(1)?;
                self.extend(items)?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.set_items(&items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(&items)?;
            }
            b'p' => {
                let key = self.line_number()?;
                self.remember(key)?;
            }
            b'q' => {
                let key = self.byte()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remember(key.into())?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let key = self.line_number()?;
                self.recall(key)?;
            }
            b'h' => {
                let key = self.byte()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key.into())?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let utf8 = |text| std::str::from_utf8(text).map_err(|_| broken());
                self.global(utf8(module)?, utf8(name)?)?;
            }
            0x93 => {
                let names = self.last(2)?;
                match (&self.values[names[0]], &self.values[names[1]]) {
                    (Value::Text(module), Value::Text(name)) => self.global(module, name)?,
                    _ => return Err(broken()),
                }
            }
            b'R' | 0x81 => {
                let call = self.last(2)?;
                self.call(call[0], call[1])?;
            }
            0x92 => {
                let call = self.last(3)?;
                self.call(call[0], call[1])?;
            }
            b'b' => {
                let state = self.last(1)?;
                self.set_state(state[0])?;
            }
            b'P' => {
                let line = self.line()?;
                self.text(line);
                self.persistent()?;
            }
            b'Q' => self.persistent()?,
            _ => return Err(format!("its pickle has an unknown code {code:#04x}")),
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

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn text(&mut self, bytes: &'a [u8]) {
        // Python 2 wrote bytes this way too.
        self.push(std::str::from_utf8(bytes).map_or(Value::Opaque, Value::Text));
    }

    fn sized(&mut self, length: u64) -> Step<&'a [u8]> {
        self.take(usize::try_from(length).map_err(|_| broken())?)
    }

    fn sized_text(&mut self, length: u64) -> Step<()> {
        let bytes = self.sized(length)?;
        self.text(bytes);
        Ok(())
    }

    fn opaque(&mut self, length: u64) -> Step<()> {
        self.sized(length)?;
        self.push(Value::Opaque);
        Ok(())
    }

    /// A whole number of `length` bytes, in two's complement.
    fn long(&mut self, length: u64) -> Step<()> {
        let bytes = self.sized(length)?;
        let value = match bytes.last() {
            None => Value::Int(0),
            Some(_) if bytes.len() > 8 => Value::Long(bytes),
            Some(top) => {
                let mut word = [if *top < 0x80 { 0 } else { 0xFF }; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(word))
            }
        };
        self.push(value);
        Ok(())
    }

    fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(broken)
    }

    fn pop(&mut self) -> Step<Id> {
        Ok(self.last(1)?[0])
    }

    /// Takes the last `count` values off the stack, but none from before a mark.
    fn last(&mut self, count: usize) -> Step<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).ok_or_else(broken)?;
        if start < floor {
            return Err(broken());
        }
        Ok(self.stack.split_off(start))
    }

    fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(broken)?;
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, items: Vec<Id>) -> Step<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Sequence(sequence) => sequence.extend(items),
            Value::Opaque => {}
            _ => return Err(broken()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(broken());
        };
        match &mut self.values[top] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Value::Opaque => {}
            _ => return Err(broken()),
        }
        Ok(())
    }

    /// Sets the state of an object, which is no concern of ours unless it is one of named values.
    fn set_state(&mut self, state: Id) -> Step<()> {
        let top = self.top()?;
        if let (Value::Namespace(_), Value::Dict(state)) = (&self.values[top], &self.values[state])
        {
            let state = state.clone();
            self.spend(state.len())?;
            self.values[top] = Value::Namespace(state);
        }
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step<()> {
        let id = self.memo.get(&key).copied().ok_or_else(broken)?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Step<()> {
        let global = Global::known(module, name).ok_or_else(|| {
            format!(
                "its pickle asks for '{module}.{name}', which no checkpoint of weights needs; nothing \
                 of it was run. If you trust its source, save the weights alone in Python: \
                 torch.save(model.state_dict(), \"weights.pth\")"
            )
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        self.push(Value::Persistent(id));
        Ok(())
    }

    /// What calling `function` would give, as far as it is a concern of ours.
    fn call(&mut self, function: Id, arguments: Id) -> Step<()> {
        let Value::Sequence(arguments) = &self.values[arguments] else {
            return Err(broken());
        };
        let arguments = arguments.clone();
        self.spend(arguments.len())?;
        let Value::Global(global) = self.values[function] else {
            self.push(Value::Opaque);
            return Ok(());
        };
        let value = match global {
            Global::RebuildTensor => Value::Tensor(arguments),
            Global::RebuildTypedTensor => Value::TypedTensor(arguments),
            Global::RebuildOther(what) => Value::Unusable(what),
            Global::First => {
                let first = arguments.first().copied().ok_or_else(broken)?;
                self.stack.push(first);
                return Ok(());
            }
            Global::RebuildFromType => {
                let [inner, _, inner_arguments, ..] = arguments[..] else {
                    return Err(broken());
                };
                // One level: a wrapper of a wrapper would be none of PyTorch's.
                if self.values[inner] == Value::Global(Global::RebuildFromType) {
                    return Err(broken());
                }
                return self.call(inner, inner_arguments);
            }
            Global::Dict => {
                let pairs = self.pairs(&arguments);
                self.spend(pairs.len())?;
                Value::Dict(pairs)
            }
            Global::Namespace => Value::Namespace(Vec::new()),
            Global::Sequence => match arguments.first() {
                Some(items) if matches!(self.values[*items], Value::Sequence(_)) => {
                    self.stack.push(*items);
                    return Ok(());
                }
                _ => Value::Sequence(Vec::new()),
            },
            Global::Storage(_) | Global::Dtype(_) | Global::Opaque => Value::Opaque,
        };
        self.push(value);
        Ok(())
    }

    /// The pairs that Python 2 handed to a dictionary when it made one.
    fn pairs(&self, arguments: &[Id]) -> Vec<(Id, Id)> {
        let Some(Value::Sequence(items)) = arguments.first().map(|id| &self.values[*id]) else {
            return Vec::new();
        };
        let pair = |id: &Id| match &self.values[*id] {
            Value::Sequence(pair) => <[Id; 2]>::try_from(pair.as_slice()).ok(),
            _ => None,
        };
        (items.iter().filter_map(pair))
            .map(|[key, value]| (key, value))
            .collect()
    }
}

/// A line's number, of which `00` and `01` were false and true.
fn integer(line: &[u8]) -> Value<'_> {
    match line {
        b"00" => Value::Bool(false),
        b"01" => Value::Bool(true),
        _ => (std::str::from_utf8(line).ok())
            .and_then(|text| text.trim_end_matches('L').parse().ok())
            .map_or(Value::Opaque, Value::Int),
    }
}
