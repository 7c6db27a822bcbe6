//! The pickle machine's stack and values.

use std::collections::HashMap;

use super::globals::Global;
use super::value::{Id, Value};

/// Maximum number of steps. A network's pickle takes about forty steps per tensor. The limit keeps
/// a small file from exhausting memory.
const MAX_STEPS: usize = 1 << 22;

pub(super) type Step<T> = Result<T, String>;

pub(super) fn broken() -> String {
    "its pickle is truncated or damaged".into()
}

pub(super) struct Stack<'a> {
    pub(super) values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Steps left.
    steps: usize,
}

impl<'a> Stack<'a> {
    pub(super) fn new() -> Self {
        Self {
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            steps: MAX_STEPS,
        }
    }

    /// Counts steps and the values copied in a step.
    pub(super) fn spend(&mut self, steps: usize) -> Step<()> {
        self.steps = self.steps.checked_sub(steps).ok_or_else(|| {
            format!("its pickle has more than {MAX_STEPS} steps, which no checkpoint needs")
        })?;
        Ok(())
    }

    pub(super) fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    pub(super) fn text(&mut self, bytes: &'a [u8]) {
        // Python 2 wrote bytes this way too.
        self.push(std::str::from_utf8(bytes).map_or(Value::Opaque, Value::Text));
    }

    pub(super) fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(broken)
    }

    /// Pushes an existing value.
    pub(super) fn again(&mut self, value: Id) {
        self.stack.push(value);
    }

    pub(super) fn mark(&mut self) {
        self.marks.push(self.stack.len());
    }

    pub(super) fn pop(&mut self) -> Step<Id> {
        Ok(self.last(1)?[0])
    }

    /// Pops `count` values, but none below a mark.
    pub(super) fn last(&mut self, count: usize) -> Step<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).ok_or_else(broken)?;
        if start < floor {
            return Err(broken());
        }
        Ok(self.stack.split_off(start))
    }

    pub(super) fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(broken)?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn extend(&mut self, items: Vec<Id>) -> Step<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Sequence(sequence) => sequence.extend(items),
            Value::Opaque => {}
            _ => return Err(broken()),
        }
        Ok(())
    }

    pub(super) fn set_items(&mut self, items: &[Id]) -> Step<()> {
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

    /// Sets the state of an object; ignored unless the object has named values.
    pub(super) fn set_state(&mut self, state: Id) -> Step<()> {
        let top = self.top()?;
        if let (Value::Namespace(_), Value::Dict(state)) = (&self.values[top], &self.values[state])
        {
            let state = state.clone();
            self.spend(state.len())?;
            self.values[top] = Value::Namespace(state);
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, key: u64) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    /// Number of memoized values.
    pub(super) fn remembered(&self) -> u64 {
        self.memo.len() as u64
    }

    pub(super) fn recall(&mut self, key: u64) -> Step<()> {
        let id = self.memo.get(&key).copied().ok_or_else(broken)?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Step<()> {
        let global = Global::known(module, name).ok_or_else(|| {
            format!(
                "its pickle asks for '{module}.{name}', which no checkpoint of weights needs; no \
                 code was run. If you trust its source, save only the weights in Python: \
                 torch.save(model.state_dict(), \"weights.pth\")"
            )
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    pub(super) fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        self.push(Value::Persistent(id));
        Ok(())
    }

    /// The result of calling `function`, if relevant.
    pub(super) fn call(&mut self, function: Id, arguments: Id) -> Step<()> {
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

    /// The pairs that Python 2 passes to a new dictionary.
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
