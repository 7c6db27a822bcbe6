//! Progress of a run: a bar if stderr is a terminal, and a line per epoch.

use piggyback::files::EpochMetrics;
use piggyback::learn::Event;

use crate::bar::Bar;
use crate::printer::Printer;
use crate::report::count;

/// Shows the events of a training run.
pub(crate) struct TrainingProgress<'a> {
    printer: &'a Printer,
    steps: Bar,
    /// The current evaluation; finished between two of them.
    images: Bar,
    epochs: usize,
    /// Notes on the images, a sentence each.
    pub(crate) notes: Vec<String>,
}

impl<'a> TrainingProgress<'a> {
    pub(crate) fn new(printer: &'a Printer) -> Self {
        let (steps, images) = (Bar::hidden(), Bar::hidden());
        images.finish();
        Self {
            printer,
            notes: Vec::new(),
            steps,
            images,
            epochs: 0,
        }
    }

    pub(crate) fn show(&mut self, event: &Event) {
        match event {
            Event::Start {
                epochs,
                steps_per_epoch,
                first_step,
                train_images,
                validation_images,
                classes,
            } => {
                self.epochs = *epochs;
                self.steps = self.printer.bar(epochs * steps_per_epoch);
                self.steps.set_position(*first_step as u64);
                // Steps of an earlier run say nothing about this one's speed.
                self.steps.reset_eta();
                let resumed = match first_step {
                    0 => String::new(),
                    done => format!(", resumed after {done} steps"),
                };
                self.printer.note(&format!(
                    "{train_images} training and {validation_images} validation images of {}; \
                     {} of {}{resumed}",
                    count(*classes, "class"),
                    count(*epochs, "epoch"),
                    count(*steps_per_epoch, "step")
                ));
            }
            Event::Step {
                epoch,
                step,
                loss,
                error,
                ..
            } => {
                self.steps
                    .set_prefix(&format!("epoch {epoch}/{}", self.epochs));
                self.steps
                    .set_message(&format!("loss {loss:.3} error {error:.1} %"));
                self.steps.set_position(*step as u64);
            }
            Event::Epoch(metrics) => self.printer.note(&epoch_line(metrics, self.epochs)),
            Event::Evaluating {
                split,
                images,
                total,
            } => {
                if self.images.is_finished() {
                    self.images = images_bar(self.printer, split, *total);
                }
                self.images.set_position(*images as u64);
                if images >= total {
                    self.images.finish_and_clear();
                }
            }
            Event::LookingAtImages { images, total } => {
                if self.images.is_finished() {
                    self.images = images_bar(self.printer, "checking images", *total);
                }
                self.images.set_position(*images as u64);
                if images >= total {
                    self.images.finish_and_clear();
                }
            }
            Event::Note(text) => {
                self.printer.note(text);
                self.notes.push(text.clone());
            }
            Event::NotSaved(reason) => self.printer.warn(&not_saved(reason)),
            Event::Skipped(reason) => self.printer.warn(&format!("left out: {reason}")),
            _ => {}
        }
    }
}

impl Drop for TrainingProgress<'_> {
    fn drop(&mut self) {
        self.steps.finish_and_clear();
        self.images.finish_and_clear();
    }
}

fn epoch_line(metrics: &EpochMetrics, epochs: usize) -> String {
    let zeros = (metrics.zeros).map_or_else(String::new, |share| {
        format!("zeros {:.2} %  ", 100.0 * share)
    });
    format!(
        "epoch {:>3}/{epochs}  train loss {:.3} error {:.1} %  validation loss {:.3} error {:.1} %  \
         {zeros}{:.1} s",
        metrics.epoch,
        metrics.train_loss,
        metrics.train_error,
        metrics.validation_loss,
        metrics.validation_error,
        metrics.seconds,
    )
}

/// The warning that a checkpoint within an epoch could not be written.
pub(crate) fn not_saved(reason: &str) -> String {
    format!(
        "cannot write a checkpoint; training continues and the previous checkpoint is kept: {reason}"
    )
}

/// A bar of processed images.
pub(crate) fn images_bar(printer: &Printer, what: &str, total: usize) -> Bar {
    let bar = printer.bar(total);
    bar.set_prefix(what);
    bar
}

#[cfg(test)]
mod tests {
    use piggyback::files::EpochMetrics;

    use super::epoch_line;

    #[test]
    fn an_epoch_is_one_line_in_percent() {
        let metrics = EpochMetrics {
            epoch: 3,
            train_loss: 1.25,
            train_error: 40.0,
            validation_loss: 1.5,
            validation_error: 50.0,
            zeros: Some(0.0125),
            learning_rates: Default::default(),
            seconds: 2.0,
        };
        assert_eq!(
            epoch_line(&metrics, 15),
            "epoch   3/15  train loss 1.250 error 40.0 %  validation loss 1.500 error 50.0 %  \
             zeros 1.25 %  2.0 s"
        );
    }
}
