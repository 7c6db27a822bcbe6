//! Methods side by side: a plan, its units, their results, a report.
//!
//! A [`Plan`] names backbones, data sets, methods with their settings, and seeds. A [`Comparison`]
//! is a plan whose networks and images were looked at: a list of [`Unit`]s, each with an identity
//! that is a hash of everything that decides its outcome. [`run()`] computes one; [`Results`] keeps
//! what is done, so that a comparison can be stopped, resumed and split over machines; a
//! [`Report`](report::Report) shows it.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use piggyback_compare::report::Report;
//! use piggyback_compare::{Comparison, Plan, Results};
//! use piggyback::open_device;
//!
//! let path = Path::new("plans/demo.toml");
//! let comparison = Comparison::new(path, Plan::open(path)?, None)?;
//! let mut results = Results::open(comparison.output())?;
//! for unit in comparison.shard(None) {
//!     if !results.is_done(unit) {
//!         results.append(piggyback_compare::run(&unit.job, &open_device("cpu")?, Default::default(), |_| {})?)?;
//!     }
//! }
//! std::fs::write("report.html", Report::new(&comparison, &results, "my own program").html())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod comparison;
mod error;
mod estimate;
mod learn;
mod manifest;
mod memory;
mod paper;
mod plan;
mod record;
pub mod report;
mod results;
mod run;
mod scope;
mod sequence;
mod settings;
mod training;
mod unit;

pub use comparison::Comparison;
pub use error::{Error, Result};
pub use estimate::Speeds;
pub use manifest::DataSummary;
pub use memory::Memory;
pub use paper::{PaperData, PaperNumber};
pub use plan::{BackbonePlan, DataPlan, MethodPlan, Order, Plan, PretrainPlan};
pub use record::{BackboneRecord, LayerZeros, Record, Remeasured, TaskRecord};
pub use results::{Results, reason};
pub use run::run;
pub use unit::{Job, JobBackbone, JobData, RESULTS_VERSION, Unit, UnitKind};
