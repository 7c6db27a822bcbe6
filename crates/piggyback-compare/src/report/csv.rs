//! The results as a table for other programs.

use crate::comparison::Comparison;
use crate::plan::Order;
use crate::record::{Record, TaskRecord};
use crate::results::Results;
use crate::unit::UnitKind;
use piggyback::text::csv;

const COLUMNS: &str = "backbone,architecture,fingerprint,data,method,label,order,position,seed,\
    classes,train_images,validation_images,test_images,top1_error,top5_error,validation_error,\
    best_epoch,epochs,zeros_percent,task_file_bytes,unit_file_bytes,unit_paper_bytes,unit_seconds,\
    unit_peak_memory_bytes,identity\n";

/// A row for every data set of every unit that learned; empty fields where there is no number.
pub(super) fn render(comparison: &Comparison, results: &Results) -> String {
    let mut csv = COLUMNS.to_owned();
    let learning = comparison
        .units()
        .iter()
        .filter(|unit| unit.job.kind == UnitKind::Learn);
    for unit in learning {
        let Some(record) = results.get(&unit.job.identity) else {
            continue;
        };
        let names = unit.job.data.iter().map(|data| &data.name);
        for (position, (data, task)) in names.zip(&record.tasks).enumerate() {
            let place = (
                unit.job.label.as_str(),
                unit.job.order,
                data.as_str(),
                position + 1,
            );
            csv.push_str(&line(&unit.job.backbone.name, place, record, task));
        }
    }
    csv
}

fn line(
    backbone: &str,
    (label, order, data, position): (&str, Option<Order>, &str, usize),
    record: &Record,
    task: &TaskRecord,
) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let count = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let fields = [
        backbone.to_owned(),
        record.backbone.architecture.clone(),
        record.backbone.fingerprint.clone(),
        data.to_owned(),
        record
            .method
            .map_or_else(String::new, |method| method.to_string()),
        label.to_owned(),
        order.map_or_else(String::new, |order| order.to_string()),
        position.to_string(),
        record.seed.to_string(),
        task.classes.to_string(),
        task.train_images.to_string(),
        task.validation_images.to_string(),
        task.test_images.to_string(),
        number(Some(task.top1_error)),
        number(task.top5_error),
        number(task.validation_error),
        task.best_epoch.to_string(),
        task.epochs.len().to_string(),
        number(task.zeros_percent()),
        count(task.file_bytes),
        record.file_bytes.to_string(),
        record.paper_bytes.to_string(),
        number(Some(record.seconds)),
        count(record.peak_memory_bytes),
        record.identity.clone(),
    ];
    csv::row(&fields)
}
