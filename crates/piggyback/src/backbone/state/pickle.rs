//! Reading Python's pickles as data.
//!
//! A pickle is a program for a stack machine that may call any function of Python. This machine
//! calls none: it knows how PyTorch describes a tensor, takes the plain values around it for what
//! they are, and refuses every other name. The format is that of Python's `pickletools`.

use std::collections::HashMap;

/// Steps that a pickle may take. One of a network takes some forty a tensor; a limit keeps a small
/// file from filling the memory.
const MAX_STEPS: usize = 1 << 22;

/// A value's place in [`Pickle`].
pub(super) type Id = usize;

/// A value as the pickle makes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that PyTorch's checkpoints use.
    Global(Global<'a>),
    /// What PyTorch calls a persistent id: of a storage.
    Persistent(Id),
    /// A tensor over a storage, and the arguments that it was made from.
    Tensor(Vec<Id>),
    /// Something that is no concern of ours: bytes, floats, the settings of a training run.
    Opaque,
}

/// What a name in a checkpoint stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global<'a> {
    /// `torch._utils._rebuild_tensor_v2` and its elder.
    RebuildTensor,
    /// A wrapper of its first argument, such as `torch._utils._rebuild_parameter`.
    First,
    /// `torch._tensor._rebuild_from_type_v2`: a function, a type, and the function's arguments.
    RebuildFromType,
    /// A dictionary: `collections.OrderedDict`.
    Dict,
    /// A tuple, list or set of the argument's values.
    Sequence,
    /// `torch.FloatStorage` and the like: the type's name.
    Storage(&'a str),
    /// Something harmless that holds no weights.
    Opaque,
}

impl<'a> Global<'a> {
    /// The meaning of `module.name`, or `None` for a name that no checkpoint of weights needs.
    fn known(module: &'a str, name: &'a str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::First,
            ("torch.nn.parameter", "Parameter") => Self::First,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("collections", "OrderedDict" | "defaultdict") => Self::Dict,
            ("torch", "Size") => Self::Sequence,
            ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple") => Self::Sequence,
            ("torch" | "torch.cuda" | "torch.storage", _) if name.ends_with("Storage") => {
                Self::Storage(name)
            }
            // What training scripts keep beside the weights: settings, counters, sizes, paths.
            ("argparse", "Namespace")
            | ("_codecs", "encode")
            | ("collections", "Counter")
            | ("datetime", "date" | "datetime" | "timedelta")
            | ("torch", "device" | "Tensor" | "Generator")
            | (
                "pathlib" | "pathlib._local",
                "Path" | "PosixPath" | "WindowsPath" | "PurePosixPath",
            )
            | ("numpy", "dtype" | "ndarray")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct") => {
                Self::Opaque
            }
            ("builtins" | "__builtin__", "int" | "float" | "bool" | "str" | "complex") => {
                Self::Opaque
            }
            ("torch", "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32") => {
                Self::Opaque
            }
            _ => return None,
        })
    }
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The value that the pickle stands for.
    pub(super) root: Id,
    /// How many bytes it took.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence about the file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Machine {
            bytes,
            position: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            steps: MAX_STEPS,
        }
        .run()
    }

    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The values that storages are described by.
    pub(super) fn storages(&self) -> impl Iterator<Item = Id> + '_ {
        self.values.iter().filter_map(|value| match value {
            Value::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    /// A value as a number of things.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(count) => usize::try_from(*count).ok(),
            _ => None,
        }
    }

    /// A value as numbers of things.
    pub(super) fn counts(&self, id: Id) -> Option<Vec<usize>> {
        match self.get(id) {
            // No tensor has more axes.
            Value::Sequence(items) if items.len() <= 64 => {
                items.iter().map(|id| self.count(*id)).collect()
            }
            _ => None,
        }
    }

    /// A value as text; what Python 2 wrote as a number counts as its digits.
    pub(super) fn text(&self, id: Id) -> Option<String> {
        match self.get(id) {
            Value::Text(text) => Some((*text).to_owned()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

struct Machine<'a> {
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
    fn run(mut self) -> Step<Pickle<'a>> {
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
            // Its state is set on an object: on one that is no concern of ours.
            b'b' => drop(self.last(1)?),
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
            Some(_) if bytes.len() > 8 => Value::Opaque,
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
            Global::Sequence => match arguments.first() {
                Some(items) if matches!(self.values[*items], Value::Sequence(_)) => {
                    self.stack.push(*items);
                    return Ok(());
                }
                _ => Value::Sequence(Vec::new()),
            },
            Global::Storage(_) | Global::Opaque => Value::Opaque,
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
