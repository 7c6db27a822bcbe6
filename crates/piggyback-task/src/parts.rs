//! Decodes the parts of a task: what it has for each tensor of its backbone.

use crate::encode::part;
use crate::stored::{Tensors, signed};
use crate::task::Norm;
use crate::tensors::element_count;
use crate::varint::take_varint;
use crate::{BitMask, Delta, Error, LowRank, Mask, Matrix, Plane, Precision, TaskFile, low_rank};

/// The streams of a task's parts, which are consumed in the order of the backbone's tensors.
pub(crate) struct Parts {
    parts: Vec<u8>,
    bits: Vec<u8>,
    affine: Stream<f32>,
    delta_scales: Stream<f32>,
    low_rank_scales: Stream<f32>,
    norms: Norms,
    replaced: Stream<f32>,
}

enum Norms {
    F32(Stream<f32>),
    Int8 {
        values: Stream<i8>,
        scales: Stream<f32>,
    },
}

impl Parts {
    pub(crate) fn new(tensors: &mut Tensors<'_>) -> Result<Self, Error> {
        let are_floats = (tensors.0.get("norms")).is_none_or(|tensor| tensor.dtype == "F32");
        Ok(Self {
            parts: tensors.bytes("parts", "U8")?,
            bits: tensors.bytes("bits", "U8")?,
            affine: Stream::new("affine", tensors.floats("affine")?),
            delta_scales: Stream::new("delta.scales", tensors.floats("delta.scales")?),
            low_rank_scales: Stream::new("low_rank.scales", tensors.floats("low_rank.scales")?),
            norms: match are_floats {
                true => Norms::F32(Stream::new("norms", tensors.floats("norms")?)),
                false => Norms::Int8 {
                    values: Stream::new("norms", signed(&tensors.bytes("norms", "I8")?)),
                    scales: Stream::new("norms.scales", tensors.floats("norms.scales")?),
                },
            },
            replaced: Stream::new("replaced", tensors.floats("replaced")?),
        })
    }

    /// Adds the parts to `task`, whose list of tensors is valid.
    pub(crate) fn read(mut self, task: &mut TaskFile) -> Result<(), Error> {
        let list = task.tensors.clone();
        if self.parts.is_empty() {
            self.parts = vec![0; list.len()];
        }
        if self.parts.len() != list.len() {
            let reason = format!(
                "expected a byte for each of {} tensors, found {}",
                list.len(),
                self.parts.len()
            );
            return Err(Error::invalid("parts", reason));
        }
        let (parts, bits) = (
            std::mem::take(&mut self.parts),
            std::mem::take(&mut self.bits),
        );
        let mut bits = &bits[..];
        for ((name, shape), parts) in list.iter().zip(parts) {
            self.read_tensor(task, name, shape, parts, &mut bits)
                .map_err(|error| error.about(name))?;
        }
        if !bits.is_empty() {
            return Err(Error::invalid("bits", "more bytes than the parts need"));
        }
        self.end()
    }

    fn read_tensor(
        &mut self,
        task: &mut TaskFile,
        name: &str,
        shape: &[usize],
        parts: u8,
        bits: &mut &[u8],
    ) -> Result<(), Error> {
        let has = |part: u8| parts & part != 0;
        let alone = [part::NORM, part::REPLACED];
        if parts >= 2 * part::REPLACED
            || (has(part::SIGN | part::AFFINE) && !has(part::MASK))
            || alone.iter().any(|part| has(*part) && parts != *part)
        {
            let reason = format!("its parts are {parts}, which no task has; update Piggyback");
            return Err(Error::invalid(name, reason));
        }
        // Shapes were checked with the list.
        let count = element_count(shape)?;
        if has(part::MASK) {
            let keep = Plane::take(bits, count)?;
            let sign = match has(part::SIGN) {
                true => Some(Plane::take(bits, keep.ones_count())?),
                false => None,
            };
            let mut mask = Mask::from_planes(shape.to_vec(), keep, sign);
            if has(part::AFFINE) {
                mask = mask.with_affine(self.affine.take_array()?)?;
            }
            task.masks.insert(name.to_owned(), mask);
        }
        if has(part::DELTA) {
            let changed = Plane::take(bits, count)?;
            let up = Plane::take(bits, changed.ones_count())?;
            let [scale] = self.delta_scales.take_array()?;
            let delta = Delta::from_planes(shape.to_vec(), changed, up, scale)?;
            task.deltas.insert(name.to_owned(), delta);
        }
        if has(part::LOW_RANK) {
            let [scale] = self.low_rank_scales.take_array()?;
            let change = take_low_rank(bits, shape, scale)?;
            task.low_rank.insert(name.to_owned(), change);
        }
        if has(part::NORM) {
            let Some(module) = name.strip_suffix(".weight").filter(|_| shape.len() == 1) else {
                let reason = format!(
                    "a norm's weight is called <module>.weight and has one dimension, not {shape:?}"
                );
                return Err(Error::invalid(name, reason));
            };
            let norm = Norm::from_matrix(self.norms.take(count)?)?;
            task.norms.insert(module.to_owned(), norm);
        }
        if has(part::REPLACED) {
            let numbers = self.replaced.take(count)?;
            task.replaced.insert(name.to_owned(), numbers);
        }
        Ok(())
    }

    /// Fails if a stream has more than the parts need.
    fn end(self) -> Result<(), Error> {
        self.affine.end()?;
        self.delta_scales.end()?;
        self.low_rank_scales.end()?;
        self.replaced.end()?;
        match self.norms {
            Norms::F32(values) => values.end(),
            Norms::Int8 { values, scales } => values.end().and(scales.end()),
        }
    }
}

impl Norms {
    fn take(&mut self, channels: usize) -> Result<Matrix, Error> {
        let count = channels.saturating_mul(2);
        match self {
            Self::F32(values) => Matrix::new(2, channels, &values.take(count)?, Precision::F32),
            Self::Int8 { values, scales } => {
                Matrix::from_int8(2, channels, scales.take(2)?, values.take(count)?)
            }
        }
    }
}

/// Numbers of a tensor that are consumed from its start.
struct Stream<T> {
    name: &'static str,
    numbers: std::vec::IntoIter<T>,
}

impl<T> Stream<T> {
    fn new(name: &'static str, numbers: Vec<T>) -> Self {
        Self {
            name,
            numbers: numbers.into_iter(),
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<T>, Error> {
        if count > self.numbers.len() {
            let reason = format!("{} has fewer numbers than the parts need", self.name);
            return Err(Error::invalid(self.name, reason));
        }
        Ok(self.numbers.by_ref().take(count).collect())
    }

    fn take_array<const COUNT: usize>(&mut self) -> Result<[T; COUNT], Error> {
        <[T; COUNT]>::try_from(self.take(COUNT)?)
            .map_err(|_| Error::invalid(self.name, "it has another number of numbers"))
    }

    fn end(self) -> Result<(), Error> {
        match self.numbers.len() {
            0 => Ok(()),
            more => {
                let reason = format!("{more} more numbers than the parts need");
                Err(Error::invalid(self.name, reason))
            }
        }
    }
}

fn take_low_rank(bits: &mut &[u8], shape: &[usize], scale: f32) -> Result<LowRank, Error> {
    let short = || Error::invalid("bits", "the code ends too early");
    let (rank, varint) = take_varint(bits)?;
    let rank = usize::try_from(rank)
        .ok()
        .filter(|rank| (1..=low_rank::MAX_RANK).contains(rank))
        .ok_or_else(|| Error::invalid("low rank", format!("its rank is {rank}")))?;
    let mut rest = &bits[varint..];
    let [rows, columns] = low_rank::matrix(shape)?;
    let mut plane = |side: usize| {
        let len = side.checked_mul(rank).ok_or_else(short)?;
        let (packed, after) = rest.split_at_checked(len.div_ceil(8)).ok_or_else(short)?;
        rest = after;
        BitMask::from_bytes(len, packed.to_vec())
    };
    let (left, right) = (plane(rows)?, plane(columns)?);
    *bits = rest;
    LowRank::new(shape, rank, left, right, scale)
}
