//! The training loop: steps, epochs and selection of the best epoch.

use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::Device;
use piggyback_task::TrainingRecord;

use super::checkpoint;
use super::checkpoint::{Identity, Position, State, trained_tensors};
use super::event::Event;
use super::images::look_at_images;
use super::learned::{Learned, Test};
use super::loss::count_wrong;
use super::objective::Objective;
use super::product::Product;
use super::readable::Readable;
use super::run::Run;
use super::run_folder::RunFolder;
use super::settings::RunSettings;
use super::split::Split;
use crate::data::{Batch, DataSet, Loader, LoaderConfig, Samples};
use crate::engine::{Engine, EvaluateConfig, Evaluation, evaluate, images_tensor};
use crate::error::{Error, Result};
use crate::files::EpochMetrics;
use crate::image::Augment;
use crate::nn::values;

/// Runs `method` on `data`, from a checkpoint or from the network that `start` gives.
///
/// Batches are drawn from the union of all data sets. Their classes are concatenated.
///
/// # Errors
///
/// Unusable images or checkpoints, a loss that is not finite, those of the method, and
/// [`Error::Interrupted`] if the run was stopped.
pub(crate) fn learn<M: Objective>(
    method: &M,
    config: &impl serde::Serialize,
    options: &mut Run<'_>,
    data: &[DataSet],
    device: &Device,
    start: impl FnOnce() -> Result<M::Network>,
) -> Result<Learned<M::Product>> {
    let settings = method.run();
    let splits = (data.iter())
        .map(|set| Split::of(set, &settings))
        .collect::<Result<Vec<_>>>()?;
    let images = look_at_images(&splits, settings.skip_bad, options)?;
    let identity = Identity::new(method, &splits, images);
    let loader_config = LoaderConfig {
        skip_bad: settings.skip_bad,
        ..LoaderConfig::training(
            settings.batch_size,
            settings.seed,
            Some(Augment::preset(settings.augment)),
        )
    };
    let train = Samples::union(splits.iter().map(|split| &split.train));
    let loader = Loader::new(train, method.preprocessing().clone(), loader_config)?;
    let mut run = options.folder.clone().map(RunFolder::open).transpose()?;
    let network = start()?;
    let saved = run
        .as_ref()
        .map(RunFolder::checkpoint)
        .filter(|path| path.exists());
    let mut state = match saved.filter(|_| options.resume) {
        Some(path) => {
            let (state, saved) = checkpoint::load(method, &path, network, &identity, device)?;
            if saved.validation_content != identity.validation_content {
                (options.observe)(&Event::Note(
                    "validation images were replaced since the checkpoint was written: the \
                     errors of earlier epochs were measured on the old images"
                        .into(),
                ));
            }
            state
        }
        None => State {
            network,
            optimizer: M::Optimizer::default(),
            position: Position::default(),
            best: None,
            base: None,
        },
    };
    if let Some(run) = &mut run {
        run.begin(config, &state.position.history, options.resume)?;
    }
    let mut session = Session {
        method,
        settings,
        device: device.clone(),
        loader,
        splits,
        identity,
        readable: Readable::default(),
        run,
        options,
    };
    session.start(&state.position);
    while state.position.epoch < settings.epochs {
        state = session.begin_phase(state)?;
        state = session.epoch(state)?;
    }
    session.finish(state, data)
}

/// Everything a run needs besides its state.
struct Session<'a, 'b, M: Objective> {
    method: &'a M,
    settings: RunSettings,
    device: Device,
    loader: Loader,
    splits: Vec<Split<'a>>,
    identity: Identity<M::Settings>,
    readable: Readable,
    run: Option<RunFolder>,
    options: &'a mut Run<'b>,
}

impl<M: Objective> Session<'_, '_, M> {
    fn tell(&mut self, event: &Event) {
        (self.options.observe)(event);
    }

    /// Steps of the whole run.
    fn steps(&self) -> usize {
        self.settings.epochs * self.loader.batches()
    }

    fn start(&mut self, position: &Position) {
        self.tell(&Event::Start {
            epochs: self.settings.epochs,
            steps_per_epoch: self.loader.batches(),
            first_step: position.step,
            train_images: self.loader.samples().len(),
            validation_images: self.identity.validation_images,
            classes: self.loader.samples().classes().len(),
        });
    }

    /// Starts a new phase if the method has one.
    fn begin_phase(&self, mut state: State<M>) -> Result<State<M>> {
        let position = &mut state.position;
        let Some(best) = state.best.as_ref().filter(|_| position.batch == 0) else {
            return Ok(state);
        };
        let (method, epoch) = (self.method, position.epoch);
        if let Some(start) = method.next_phase(epoch, best, &state.optimizer)? {
            position.phase_epoch = epoch;
            if !method.phases_compete() {
                position.best_epoch = 0;
                state.best = None;
            }
            state.network = method.phase_network(&start)?;
            state.optimizer = M::Optimizer::default();
            state.base = Some(start);
        }
        Ok(state)
    }

    /// Trains to the end of the current epoch, validates, and keeps the product if it is the best.
    fn epoch(&mut self, mut state: State<M>) -> Result<State<M>> {
        let mut since = Instant::now();
        let mut saved = since;
        let steps = self.steps();
        let epoch = state.position.epoch;
        let batches = self.loader.epoch_from(epoch as u64, state.position.batch);
        for batch in batches {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    state.position.seconds += since.elapsed().as_secs_f64();
                    return Err(self.keep(&state, error.into()));
                }
            };
            let reasons = batch.skipped.iter().map(|image| image.error.to_string());
            self.note_skipped(&mut state.position, reasons);
            self.readable
                .without(&batch.skipped, self.loader.samples())?;
            // Skipped images can leave a batch too small to have a variance, or none at all.
            if batch.len() >= self.method.least_images() {
                state = self.step(state, batch, steps)?;
            }
            state.position.step += 1;
            state.position.batch += 1;
            if self.options.stop.load(Ordering::Relaxed) {
                state.position.seconds += since.elapsed().as_secs_f64();
                return Err(self.interrupt(&state));
            }
            if saved.elapsed() >= self.options.checkpoint_every {
                state.position.seconds += since.elapsed().as_secs_f64();
                since = Instant::now();
                self.save_within_epoch(&state);
                saved = Instant::now();
            }
        }
        self.end_epoch(&mut state, since)?;
        Ok(state)
    }

    /// Writes a checkpoint. A full disk does not end the run: the state is still in memory, and the
    /// previous checkpoint on disk.
    fn save_within_epoch(&mut self, state: &State<M>) {
        let Some(run) = &self.run else { return };
        if let Err(error) = checkpoint::save(&run.checkpoint(), state, &self.identity) {
            self.tell(&Event::NotSaved(error.to_string()));
        }
    }

    /// Reports skipped images, each once.
    fn note_skipped(&mut self, position: &mut Position, reasons: impl Iterator<Item = String>) {
        for reason in reasons {
            if !position.skipped.contains(&reason) {
                self.tell(&Event::Skipped(reason.clone()));
                position.skipped.push(reason);
            }
        }
    }

    /// One training step.
    fn step(&mut self, state: State<M>, batch: Batch, steps: usize) -> Result<State<M>> {
        let State {
            network,
            mut optimizer,
            mut position,
            best,
            base,
        } = state;
        let (count, shape) = (batch.len(), batch.shape());
        let (method, step) = (self.method, position.step);
        let device = self.device.clone().autodiff();
        let (loss_value, learned) = {
            let images = images_tensor(batch.images, shape, &device);
            let logits = method.logits(&network, images, &batch.labels, step);
            let wrong = count_wrong(&logits, &batch.labels);
            let loss = method.loss(logits, &batch.labels);
            let loss_value = f64::from(values(loss.clone())[0]);
            let learned = loss_value.is_finite().then(|| {
                let mut gradients = loss.backward();
                let network = method.update(network, &mut optimizer, &mut gradients, step, steps);
                (network, wrong)
            });
            (loss_value, learned)
        };
        let Some((network, wrong)) = learned else {
            return Err(self.diverged(format!("the loss became {loss_value}"), &position));
        };

        position.loss_sum += loss_value * count as f64;
        position.wrong += wrong;
        position.images += count;
        self.tell(&Event::Step {
            epoch: position.epoch + 1,
            step: position.step + 1,
            steps,
            loss: loss_value,
            error: 100.0 * position.wrong as f64 / position.images as f64,
        });
        Ok(State {
            network,
            optimizer,
            position,
            best,
            base,
        })
    }

    fn diverged(&self, what: String, position: &Position) -> Error {
        Error::Diverged {
            what,
            epoch: position.epoch + 1,
            step: (position.batch + 1).min(self.loader.batches()),
            rates: self.method.rates(self.steps()),
        }
    }

    fn interrupt(&self, state: &State<M>) -> Error {
        let steps = state.position.step;
        let Some(run) = &self.run else {
            return Error::Stopped { steps };
        };
        match checkpoint::save(&run.checkpoint(), state, &self.identity) {
            Ok(()) => Error::Interrupted {
                steps,
                run_dir: run.folder().to_owned(),
            },
            Err(error) => error,
        }
    }

    /// Writes a checkpoint when an unreadable image ends the run, and adds to the error how to
    /// continue.
    fn keep(&self, state: &State<M>, error: Error) -> Error {
        let (run, source) = match (&self.run, error) {
            (Some(run), Error::Data(source)) => (run, source),
            (_, error) => return error,
        };
        match checkpoint::save(&run.checkpoint(), state, &self.identity) {
            Ok(()) => Error::UnreadableImage {
                source,
                steps: state.position.step,
                run_dir: run.folder().to_owned(),
            },
            // Report the image: it must be repaired, and the previous checkpoint still exists.
            Err(_) => Error::Data(source),
        }
    }

    /// `since` is when the position's seconds were last updated.
    fn end_epoch(&mut self, state: &mut State<M>, since: Instant) -> Result<()> {
        if state.position.images == 0 {
            return Err(Error::setting(
                "data",
                "no batch had two readable images; repair the images, or add more",
            ));
        }
        let finite = |tensor| values(tensor).iter().all(|value| value.is_finite());
        if let Some((name, _)) = trained_tensors(&state.network)
            .into_iter()
            .find(|(_, tensor)| !finite(tensor.clone()))
        {
            let what = format!("'{name}' became infinite or NaN");
            return Err(self.diverged(what, &state.position));
        }
        let mut product = self.method.product(&state.network)?;
        let engine = self.engine(&product)?;
        let (mut loss, mut error) = (0.0, 0.0);
        for index in 0..self.splits.len() {
            let Split {
                name, validation, ..
            } = &self.splits[index];
            let (name, samples) = (*name, validation.clone());
            let validation = match self.evaluate(&engine, name, "validation", samples) {
                Ok(validation) => validation,
                Err(Error::NotNumbers { value, .. }) => {
                    let what = format!("the output for a validation image became {value}");
                    return Err(self.diverged(what, &state.position));
                }
                Err(error) => {
                    state.position.seconds += since.elapsed().as_secs_f64();
                    return Err(match error {
                        Error::Stopped { .. } => self.interrupt(state),
                        error => self.keep(state, error),
                    });
                }
            };
            loss += validation.loss;
            error += validation.top1_error;
            self.note_skipped(&mut state.position, validation.skipped.iter().cloned());
        }
        // Every data set has the same weight, whatever its number of images.
        let sets = self.splits.len() as f64;
        let position = &mut state.position;
        let last_step = position.step.saturating_sub(1);
        let rates = self.method.rates_at(last_step, self.steps()).into_iter();
        let learning_rates = rates.map(|(name, rate)| (name.to_owned(), rate)).collect();
        let metrics = EpochMetrics {
            epoch: position.epoch + 1,
            train_loss: position.loss_sum / position.images as f64,
            train_error: 100.0 * position.wrong as f64 / position.images as f64,
            validation_loss: loss / sets,
            validation_error: error / sets,
            zeros: product.zeros(),
            learning_rates,
            seconds: position.seconds + since.elapsed().as_secs_f64(),
        };
        let better = position
            .history
            .get(position.best_epoch.wrapping_sub(1))
            .is_none_or(|best| {
                // Small validation sets often tie; the loss breaks the tie.
                (metrics.validation_error, metrics.validation_loss)
                    < (best.validation_error, best.validation_loss)
            });
        if better {
            product.set_record(self.record(&metrics)?);
            state.best = Some(product);
            position.best_epoch = metrics.epoch;
        }
        *position = Position {
            epoch: position.epoch + 1,
            step: position.step,
            best_epoch: position.best_epoch,
            phase_epoch: position.phase_epoch,
            skipped: std::mem::take(&mut position.skipped),
            history: std::mem::take(&mut position.history),
            ..Position::default()
        };
        position.history.push(metrics.clone());
        if let Some(run) = &self.run {
            checkpoint::save(&run.checkpoint(), state, &self.identity)?;
            run.epoch_done(&state.position.history)?;
        }
        self.tell(&Event::Epoch(metrics));
        Ok(())
    }

    /// The training record. It does not depend on time or machine.
    fn record(&self, metrics: &EpochMetrics) -> Result<TrainingRecord> {
        let mut record = TrainingRecord::default();
        let settings = TrainingRecord::from_serialize(&self.method.settings())?;
        let defaults = TrainingRecord::from_serialize(&self.method.defaults())?;
        let differs = |(name, value): &(&String, &serde_json::Value)| {
            *name == "preset" || defaults.get(name) != Some(value)
        };
        let changed = settings.as_map().iter().filter(differs);
        let changed = changed.map(|(name, value)| (name.clone(), value.clone()));
        record.insert("settings", changed.collect::<serde_json::Map<_, _>>());
        record.insert("program", concat!("piggyback ", env!("CARGO_PKG_VERSION")));
        self.method.describe(&mut record, self.steps());
        record.insert("train-images", self.identity.train_images);
        record.insert("validation-images", self.identity.validation_images);
        record.insert("best-epoch", metrics.epoch);
        record.insert("validation-error", metrics.validation_error);
        record.insert("validation-loss", metrics.validation_loss);
        record.insert("train-error", metrics.train_error);
        record.insert("train-loss", metrics.train_loss);
        Ok(record)
    }

    /// An engine with one task per data set.
    fn engine(&self, product: &M::Product) -> Result<Engine> {
        let names: Vec<&str> = self.splits.iter().map(|split| split.name).collect();
        self.method.engine(product, &names)
    }

    /// Evaluates a task exactly as the engine will predict.
    fn evaluate(
        &mut self,
        engine: &Engine,
        task: &str,
        split: &'static str,
        samples: Samples,
    ) -> Result<Evaluation> {
        let config = EvaluateConfig {
            skip_bad: self.settings.skip_bad,
            ..EvaluateConfig::default()
        };
        let stop = self.options.stop.clone();
        let observe = |images, total| {
            (self.options.observe)(&Event::Evaluating {
                split,
                images,
                total,
            });
            !stop.load(Ordering::Relaxed)
        };
        evaluate(engine, task, samples, &config, observe)
    }

    /// Evaluates the test images, once, and returns the result.
    fn finish(mut self, state: State<M>, data: &[DataSet]) -> Result<Learned<M::Product>> {
        let State {
            mut position, best, ..
        } = state;
        let product = best.ok_or_else(|| Error::setting("epochs", "no epoch was trained"))?;
        let mut tests = Vec::new();
        let engine = if data.iter().any(|set| set.images.test().is_some()) {
            Some(self.engine(&product)?)
        } else {
            None
        };
        for set in data {
            let test = match set.images.test().zip(engine.as_ref()) {
                None => Test::None,
                Some((samples, engine)) => {
                    match self.evaluate(engine, &set.name, "test", samples.clone()) {
                        Ok(evaluation) => Test::Measured(evaluation),
                        Err(Error::Stopped { .. }) => Test::Failed(Error::Stopped {
                            steps: position.step,
                        }),
                        Err(error) => Test::Failed(error),
                    }
                }
            };
            if let Some(evaluation) = test.evaluation() {
                self.note_skipped(&mut position, evaluation.skipped.iter().cloned());
            }
            tests.push(test);
        }
        Ok(Learned {
            product,
            epochs: position.history,
            best_epoch: position.best_epoch,
            tests,
            skipped: position.skipped,
        })
    }
}
