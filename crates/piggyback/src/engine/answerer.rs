//! Predictions with several files at once, from any method, or with a backbone's own head.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::Device;
use piggyback_task::Preprocessing;

use super::predict::Engine;
use super::prediction::Prediction;
use super::prepared::PreparedImages;
use crate::checkpoint::Backbone;
use crate::error::{Error, Result};
use crate::files::LearnedFile;
use crate::image::Image;

/// A result file with the name of its task or tasks.
#[derive(Clone, Debug)]
pub struct NamedFile {
    /// The task's name, or the prefix of several tasks' names, see [`LearnedFile::names`].
    pub name: String,
    /// The file, for messages.
    pub path: PathBuf,
    /// Its content.
    pub learned_file: LearnedFile,
}

impl NamedFile {
    /// Reads files, given as pairs of name and path.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`], checked before any file is read, and those of [`LearnedFile::open`].
    pub fn open_all(files: &[(String, PathBuf)]) -> Result<Vec<Self>> {
        let mut names = BTreeSet::new();
        for (name, path) in files {
            if !names.insert(name) {
                return Err(name_taken(name, path.clone()));
            }
        }
        let open = |(name, path): &(String, PathBuf)| {
            Ok(Self {
                name: name.clone(),
                path: path.clone(),
                learned_file: LearnedFile::open(path)?,
            })
        };
        files.iter().map(open).collect()
    }
}

/// Predicts with the tasks of several files, or with a backbone's own head.
///
/// Task files share one backbone and one engine. A file with a full network gets a separate engine.
/// An image is prepared once for all tasks with the same preprocessing.
///
/// ```no_run
/// use piggyback::engine::{Answerer, NamedFile};
/// use piggyback::image::Image;
/// use piggyback::{Backbone, Device};
///
/// let device = Device::flex();
/// let backbone = Backbone::load("mobilenet_v2.pth", &device)?;
/// let files = ["flags", "emoji"].map(|name| {
///     (name.to_owned(), format!("{name}.task.safetensors").into())
/// });
/// let files = NamedFile::open_all(&files)?;
/// let answerer = Answerer::new(files, Some(&backbone), &device)?;
/// for answers in answerer.answers(&[Image::open("photo.jpg")?])? {
///     for prediction in answers.predictions {
///         println!("{:?}: {:?}", answers.task.name(), prediction?.top(3));
///     }
/// }
/// # Ok::<(), piggyback::Error>(())
/// ```
#[derive(Debug)]
pub struct Answerer {
    networks: Vec<Answering>,
    tasks: Vec<AnsweredTask>,
}

/// What computes answers.
#[derive(Debug)]
enum Answering {
    Tasks(Engine),
    OwnHead(Backbone),
}

/// A task of an [`Answerer`].
#[derive(Clone, Debug)]
pub struct AnsweredTask {
    name: Option<String>,
    classes: Arc<[String]>,
    preprocessing: Preprocessing,
    /// Its place among the answerer's networks.
    network: usize,
}

impl AnsweredTask {
    /// The task's name; `None` for a backbone's own head.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Names of its classes; class `i` is logit `i`.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Image preprocessing.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }
}

/// A task's predictions for some images.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers<'a> {
    /// The task.
    pub task: &'a AnsweredTask,
    /// One prediction per image, in their order; [`Error::NotNumbers`] if an output is not finite.
    pub predictions: Vec<Result<Prediction>>,
}

impl Answerer {
    /// An answerer for the tasks of `files`, in their order. Full networks are loaded onto
    /// `device`.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`], [`Error::NeedsBackbone`], and those of [`LearnedFile::engine`] as
    /// [`Error::InFile`].
    pub fn new(
        files: Vec<NamedFile>,
        backbone: Option<&Backbone>,
        device: &Device,
    ) -> Result<Self> {
        let (mut networks, mut tasks) = (Vec::new(), Vec::<AnsweredTask>::new());
        // The engine of the backbone, which all task files share.
        let mut of_backbone = None;
        for file in files {
            let names = file.learned_file.names(&file.name);
            let network = match file.learned_file {
                LearnedFile::Task(task) => {
                    let place = match (of_backbone, backbone) {
                        (Some(place), _) => place,
                        (None, Some(backbone)) => {
                            networks.push(Engine::new(backbone.clone()));
                            *of_backbone.insert(networks.len() - 1)
                        }
                        (None, None) => return Err(Error::NeedsBackbone { path: file.path }),
                    };
                    let added = networks[place].add_task(&file.name, task);
                    added.map_err(|error| error.in_file(&file.path))?;
                    place
                }
                learned_file => {
                    let engine = learned_file.engine(&file.name, None, device);
                    networks.push(engine.map_err(|error| error.in_file(&file.path))?);
                    networks.len() - 1
                }
            };
            for name in names {
                if tasks.iter().any(|task| task.name() == Some(&name)) {
                    return Err(name_taken(&name, file.path));
                }
                let task = networks[network].task(&name)?;
                tasks.push(AnsweredTask {
                    classes: task.classes.as_slice().into(),
                    preprocessing: task.preprocessing.clone(),
                    name: Some(name),
                    network,
                });
            }
        }
        Ok(Self {
            networks: networks.into_iter().map(Answering::Tasks).collect(),
            tasks,
        })
    }

    /// An answerer with the own head of `backbone`, for images prepared with `preprocessing`.
    ///
    /// # Errors
    ///
    /// Those of [`Backbone::own_head`].
    pub fn of_own_head(backbone: Backbone, preprocessing: Preprocessing) -> Result<Self> {
        let task = AnsweredTask {
            name: None,
            classes: backbone.own_classes()?.names.clone(),
            preprocessing,
            network: 0,
        };
        Ok(Self {
            networks: vec![Answering::OwnHead(backbone)],
            tasks: vec![task],
        })
    }

    /// The tasks, in the order of the files.
    pub fn tasks(&self) -> &[AnsweredTask] {
        &self.tasks
    }

    /// Predicts all images with every task. All prepared images are held in memory, see
    /// [`PreparedImages`].
    ///
    /// # Errors
    ///
    /// Images that cannot be prepared.
    pub fn answers(&self, images: &[Image]) -> Result<Vec<Answers<'_>>> {
        self.answers_for(self.tasks.iter(), images)
    }

    /// Like [`answers`](Self::answers), but only with the tasks called `names`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTask`], and images that cannot be prepared.
    pub fn answers_of(&self, names: &[&str], images: &[Image]) -> Result<Vec<Answers<'_>>> {
        let known = |name: &&str| {
            let task = (self.tasks.iter()).find(|task| task.name() == Some(*name));
            task.ok_or_else(|| Error::UnknownTask {
                name: (*name).to_owned(),
                loaded: (self.tasks.iter())
                    .filter_map(|task| task.name.clone())
                    .collect(),
            })
        };
        let tasks: Vec<&AnsweredTask> = names.iter().map(known).collect::<Result<_>>()?;
        self.answers_for(tasks.into_iter(), images)
    }

    fn answers_for<'a>(
        &self,
        tasks: impl Iterator<Item = &'a AnsweredTask>,
        images: &[Image],
    ) -> Result<Vec<Answers<'a>>> {
        let mut prepared: Vec<PreparedImages> = Vec::new();
        let mut answers = Vec::new();
        for task in tasks {
            let network = &self.networks[task.network];
            let same =
                |images: &&PreparedImages| images.is_for(task.preprocessing(), network.device());
            let predictions = match prepared.iter().find(same) {
                Some(images) => network.answers(task, images)?,
                None => {
                    let images =
                        PreparedImages::new(images, task.preprocessing(), network.device())?;
                    let predictions = network.answers(task, &images)?;
                    prepared.push(images);
                    predictions
                }
            };
            answers.push(Answers { task, predictions });
        }
        Ok(answers)
    }
}

impl Answering {
    fn device(&self) -> &Device {
        match self {
            Self::Tasks(engine) => engine.backbone().device(),
            Self::OwnHead(backbone) => backbone.device(),
        }
    }

    fn answers(
        &self,
        task: &AnsweredTask,
        images: &PreparedImages,
    ) -> Result<Vec<Result<Prediction>>> {
        match (self, task.name()) {
            (Self::Tasks(engine), Some(name)) => engine.answers(name, images),
            (Self::Tasks(_), None) => Err(Error::internal("a task of an engine without a name")),
            (Self::OwnHead(backbone), _) => backbone.answers(images),
        }
    }
}

fn name_taken(name: &str, path: PathBuf) -> Error {
    Error::NameTaken {
        name: name.to_owned(),
        path,
    }
}
