//! Estimated time of the remaining units.

use std::collections::BTreeMap;

use super::results::Results;
use super::unit::Unit;
use super::unit::UnitKind;

/// Seconds per unit of work, by what is done, as finished units took them.
#[derive(Clone, Debug, Default)]
pub struct Speeds {
    by_kind: BTreeMap<String, (f64, f64)>,
}

impl Speeds {
    /// The speeds that the finished ones of `units` had.
    pub fn of(units: &[&Unit], results: &Results) -> Self {
        let mut speeds = Self::default();
        for unit in units {
            if let Some(record) = results.get(&unit.job.identity) {
                speeds.add(unit, record.seconds);
            }
        }
        speeds
    }

    /// Learns from a unit that took `seconds`.
    pub fn add(&mut self, unit: &Unit, seconds: f64) {
        let entry = self.by_kind.entry(key(unit)).or_default();
        entry.0 += seconds;
        entry.1 += unit.work;
    }

    /// How long `units` will take, seconds; `None` as long as nothing is known. A method of which
    /// nothing is known is taken for as fast as the others on average.
    pub fn remaining<'a>(&self, units: impl IntoIterator<Item = &'a Unit>) -> Option<f64> {
        let ratio = |(seconds, work): (f64, f64)| (work > 0.0).then(|| seconds / work);
        let all = self
            .by_kind
            .values()
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let all = ratio(all)?;
        let of = |unit: &Unit| {
            let known = self.by_kind.get(&key(unit)).copied().and_then(ratio);
            unit.work * known.unwrap_or(all)
        };
        Some(units.into_iter().map(of).sum())
    }
}

fn key(unit: &Unit) -> String {
    match (unit.job.kind, unit.job.method) {
        (UnitKind::Learn, Some(method)) => method.to_string(),
        (UnitKind::Together, _) => "together".into(),
        _ => "pretrain".into(),
    }
}
