//! One run: steps, epochs, and what is kept of them.

use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use piggyback_task::TrainingRecord;

use super::checkpoint::{self, Identity, Position, State, trained_tensors};
use super::method::{Learned, Method, Product, RunSettings};
use super::run::RunFolder;
use super::{EpochMetrics, Event, RunOptions};
use crate::data::{Augment, Batch, ImageFolder, Loader, LoaderConfig, Samples};
use crate::engine::images_tensor;
use crate::error::{Error, Result};
use crate::evaluate::{EvaluateConfig, Evaluation, evaluate_until};
use crate::mask;

/// The name under which a product is evaluated while it is trained.
const TASK: &str = "task";

/// Runs `method` on `data`, from where a checkpoint left it or from the network that `start` gives.
///
/// # Errors
///
/// Images or checkpoints that cannot be used, a loss that stops being a number, those of the method,
/// and [`Error::Interrupted`] when it was asked to stop.
pub(crate) fn learn<M: Method>(
    method: &M,
    config: &impl serde::Serialize,
    options: &mut RunOptions<'_>,
    data: &ImageFolder,
    device: &Device,
    start: impl FnOnce() -> Result<M::Network>,
) -> Result<Learned<M::Product>> {
    let settings = method.run();
    let (train, validation) = match data.val() {
        Some(validation) => (data.train().clone(), validation.clone()),
        None => data
            .train()
            .split_validation(settings.val_share, settings.seed)?,
    };
    let identity = Identity::new(method, &train, &validation);
    let loader_config = LoaderConfig {
        skip_bad: settings.skip_bad,
        ..LoaderConfig::training(
            settings.batch_size,
            settings.seed,
            Some(Augment::preset(settings.augment)?),
        )
    };
    let loader = Loader::new(train, settings.preprocessing.clone(), loader_config)?;
    let run = options.run_dir.clone().map(RunFolder::open).transpose()?;
    let network = start()?;
    let saved = run
        .as_ref()
        .map(RunFolder::checkpoint)
        .filter(|path| path.exists());
    let mut state = match saved.filter(|_| options.resume) {
        Some(path) => checkpoint::load::<M>(&path, network, &identity, device)?,
        None => State {
            network,
            optimizer: M::Optimizer::default(),
            position: Position::default(),
            best: None,
        },
    };
    if let Some(run) = &run {
        run.begin(config, &state.position.history, options.resume)?;
    }
    let mut session = Session {
        method,
        settings,
        device: device.clone(),
        loader,
        validation,
        identity,
        run,
        options,
    };
    session.start(&state.position);
    while state.position.epoch < settings.epochs {
        state = session.epoch(state)?;
    }
    session.finish(state, data.test())
}

/// Everything that a run needs besides its state.
struct Session<'a, 'b, M: Method> {
    method: &'a M,
    settings: RunSettings<'a>,
    device: Device,
    loader: Loader,
    validation: Samples,
    identity: Identity<M::Settings>,
    run: Option<RunFolder>,
    options: &'a mut RunOptions<'b>,
}

impl<M: Method> Session<'_, '_, M> {
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
            validation_images: self.validation.len(),
            classes: self.loader.samples().classes().len(),
        });
    }

    /// Trains to the end of the epoch under way, validates, and keeps what there is if it is the best.
    fn epoch(&mut self, mut state: State<M>) -> Result<State<M>> {
        let started = Instant::now();
        let steps = self.steps();
        let epoch = state.position.epoch;
        let batches = self.loader.epoch_from(epoch as u64, state.position.batch);
        for batch in batches {
            let batch = batch?;
            let reasons = batch.skipped.iter().map(|image| image.error.to_string());
            self.note_skipped(&mut state.position, reasons);
            // Skipped images can leave a batch too small to have a variance, or none at all.
            if batch.len() >= self.settings.least_images {
                state = self.step(state, batch, steps)?;
            }
            state.position.step += 1;
            state.position.batch += 1;
            if self.options.stop.load(Ordering::Relaxed) {
                state.position.seconds += started.elapsed().as_secs_f64();
                return Err(self.interrupt(&state));
            }
        }
        self.end_epoch(&mut state, started)?;
        Ok(state)
    }

    /// Tells of images that were left out, each once.
    fn note_skipped(&mut self, position: &mut Position, reasons: impl Iterator<Item = String>) {
        for reason in reasons {
            if !position.skipped.contains(&reason) {
                self.tell(&Event::Skipped(reason.clone()));
                position.skipped.push(reason);
            }
        }
    }

    /// One step of learning.
    fn step(&mut self, state: State<M>, batch: Batch, steps: usize) -> Result<State<M>> {
        let State {
            network,
            mut optimizer,
            mut position,
            best,
        } = state;
        let (count, shape) = (batch.len(), batch.shape());
        let device = self.device.clone().autodiff();
        let images = images_tensor(batch.images, shape, &device);
        let logits = self.method.logits(&network, images, position.step);
        let wrong = count_wrong(&logits, &batch.labels);
        let loss = self.method.loss(logits, &batch.labels);
        let loss_value = f64::from(mask::values(loss.clone())[0]);
        if !loss_value.is_finite() {
            return Err(self.diverged(format!("the loss became {loss_value}"), &position));
        }
        let mut gradients = loss.backward();
        let network = (self.method).update(
            network,
            &mut optimizer,
            &mut gradients,
            position.step,
            steps,
        );

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

    fn end_epoch(&mut self, state: &mut State<M>, started: Instant) -> Result<()> {
        if state.position.images == 0 {
            return Err(Error::setting(
                "data",
                "no batch had two readable images; repair the images, or give more of them",
            ));
        }
        let finite = |data: &Vec<f32>| data.iter().all(|value| value.is_finite());
        if let Some((name, _)) = trained_tensors(&state.network)
            .iter()
            .find(|(_, data)| !finite(data))
        {
            let what = format!("'{name}' became infinite or NaN");
            return Err(self.diverged(what, &state.position));
        }
        let mut product = self.method.product(&state.network)?;
        let validation = self.evaluate(&product, "validation", self.validation.clone())?;
        let Some(validation) = validation else {
            state.position.seconds += started.elapsed().as_secs_f64();
            return Err(self.interrupt(state));
        };
        self.note_skipped(&mut state.position, validation.skipped.iter().cloned());
        let position = &mut state.position;
        let metrics = EpochMetrics {
            epoch: position.epoch + 1,
            train_loss: position.loss_sum / position.images as f64,
            train_error: 100.0 * position.wrong as f64 / position.images as f64,
            validation_loss: validation.loss,
            validation_error: validation.top1_error,
            zeros: product.zeros(),
            seconds: position.seconds + started.elapsed().as_secs_f64(),
        };
        let better = position
            .history
            .get(position.best_epoch.wrapping_sub(1))
            .is_none_or(|best| {
                // Small validation sets tie often; the loss then tells the surer network.
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

    /// How the product was trained; nothing in it depends on time or machine.
    fn record(&self, metrics: &EpochMetrics) -> Result<TrainingRecord> {
        let mut record = TrainingRecord::default();
        record.insert(
            "settings",
            TrainingRecord::from_serialize(&self.method.settings())?
                .as_map()
                .clone(),
        );
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

    /// Evaluates a product as the engine will answer for it; `None` if it was asked to stop.
    fn evaluate(
        &mut self,
        product: &M::Product,
        split: &'static str,
        samples: Samples,
    ) -> Result<Option<Evaluation>> {
        let engine = self.method.engine(product, TASK)?;
        let config = EvaluateConfig {
            skip_bad: self.settings.skip_bad,
            ..EvaluateConfig::default()
        };
        let stop = self.options.stop.clone();
        let mut observe = |images, total| {
            (self.options.observe)(&Event::Evaluating {
                split,
                images,
                total,
            });
            !stop.load(Ordering::Relaxed)
        };
        evaluate_until(&engine, TASK, samples, &config, &mut observe)
    }

    /// Looks at the test images, once, and hands over what was learned.
    fn finish(mut self, state: State<M>, test: Option<&Samples>) -> Result<Learned<M::Product>> {
        let State {
            mut position, best, ..
        } = state;
        let product = best.ok_or_else(|| Error::setting("epochs", "no epoch was trained"))?;
        let test = test.map(
            |test| match self.evaluate(&product, "test", test.clone())? {
                Some(evaluation) => Ok(evaluation),
                None => Err(Error::Stopped {
                    steps: position.step,
                }),
            },
        );
        if let Some(Ok(evaluation)) = &test {
            self.note_skipped(&mut position, evaluation.skipped.iter().cloned());
        }
        Ok(Learned {
            product,
            epochs: position.history,
            best_epoch: position.best_epoch,
            test,
            skipped: position.skipped,
        })
    }
}

impl<S> Identity<S> {
    fn new<M: Method<Settings = S>>(method: &M, train: &Samples, validation: &Samples) -> Self {
        let mut files = blake3::Hasher::new();
        for samples in [train, validation] {
            for (path, class) in samples.iter() {
                let name = path.strip_prefix(samples.root()).unwrap_or(&path);
                files.update(name.as_os_str().as_encoded_bytes());
                files.update(&[0]);
                files.update(&class.to_le_bytes());
            }
        }
        Self {
            // Whether unreadable images stop a run does not change what it learns from the others.
            settings: method.settings(),
            origin: method.origin(),
            preprocessing: method.run().preprocessing.clone(),
            classes: train.classes().to_vec(),
            train_images: train.len(),
            validation_images: validation.len(),
            files: files.finalize().to_hex().to_string(),
        }
    }
}

/// Mean cross-entropy of logits `[batch, classes]`, `[1]`: of the labels, and for the share
/// `smoothing` of all classes alike, as PyTorch's `label_smoothing` (Szegedy et al., CVPR 2016).
pub(crate) fn cross_entropy(logits: Tensor<2>, labels: &[u32], smoothing: f64) -> Tensor<1> {
    let [batch, _] = logits.dims();
    let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    let labels = TensorData::new(labels, [batch, 1]);
    let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
    let logarithms = activation::log_softmax(logits, 1);
    let of_labels = logarithms.clone().gather(1, labels).mean().neg();
    if smoothing == 0.0 {
        return of_labels;
    }
    of_labels * (1.0 - smoothing) + logarithms.mean().neg() * smoothing
}

/// How many images are taken for another class.
fn count_wrong(logits: &Tensor<2>, labels: &[u32]) -> usize {
    let [_, classes] = logits.dims();
    let logits = mask::values(logits.clone().without_autodiff());
    let likeliest =
        |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
    logits
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| likeliest(row) != Some(**label as usize))
        .count()
}
