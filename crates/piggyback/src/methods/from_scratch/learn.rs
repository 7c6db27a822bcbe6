//! Training from scratch.
//!
//! The paper compares backbones trained on ImageNet, on Places and not at all (Mallya et al., ECCV
//! 2018, section 5.1). This trains such networks: all weights, with SGD. The result is an ordinary
//! checkpoint, with classes, preprocessing and training record in its metadata.

use burn::tensor::Device;
use piggyback_task::TrainingRecord;

use super::config::PretrainConfig;
use super::every_weight::EveryWeight;
use crate::checkpoint::{About, StateDict};
use crate::data::{DataSet, ImageFolder};
use crate::error::Result;
use crate::learn::{Learn, Learned, Objective, Run, Test, learn};
use crate::methods::layers::Settings;
use crate::networks::Architecture;

/// Initializes a network from the random seed and trains it on the classes of a folder. With 0
/// epochs no image is read, and the result is the initial network.
///
/// ```no_run
/// use piggyback::checkpoint::{LoadOptions, convert};
/// use piggyback::data::ImageFolder;
/// use piggyback::learn::Run;
/// use piggyback::methods::PretrainConfig;
/// use piggyback::{Architecture, Device};
///
/// let mut scratch = PretrainConfig::default();
/// scratch.images.image_size = Some(64);
/// let (images, device) = (ImageFolder::open("data/places")?, Device::flex());
/// let learned = Run::new().learn(&scratch, (Architecture::ResNet18, &device), &images)?;
/// let out = "places.safetensors".as_ref();
/// convert(&learned.product, LoadOptions::default(), out)?;
/// # Ok::<(), piggyback::Error>(())
/// ```
impl Learn for PretrainConfig {
    type Start<'s> = (Architecture, &'s Device);
    type Data = ImageFolder;
    /// The network with its head; [`convert`](crate::checkpoint::convert) writes it.
    type Product = StateDict;

    fn learn(
        &self,
        mut run: Run<'_>,
        (architecture, device): (Architecture, &Device),
        data: &ImageFolder,
    ) -> Result<Learned<StateDict>> {
        self.validate()?;
        let preprocessing = self.images.apply(&architecture.preprocessing())?;
        let about = About {
            classes: Some(data.classes().to_vec()),
            preprocessing: Some(preprocessing.clone()),
            training: None,
        };
        let method = EveryWeight {
            architecture,
            about,
            preprocessing,
            config: self.clone(),
            device: device.clone().without_autodiff(),
        };
        let classes = data.classes().len();
        if self.run.epochs == 0 {
            return Ok(Learned {
                product: untrained(&method, classes)?,
                epochs: Vec::new(),
                best_epoch: 0,
                tests: vec![Test::None],
                skipped: Vec::new(),
            });
        }
        let start = || method.start(classes);
        let data = [DataSet {
            name: "network".into(),
            images: data.clone(),
        }];
        learn(&method, self, &mut run, &data, &method.device, start)
    }
}

/// The initial network with its training record.
fn untrained(method: &EveryWeight, classes: usize) -> Result<StateDict> {
    let mut network = method.initial(classes)?;
    let mut record = TrainingRecord::default();
    let settings = TrainingRecord::from_serialize(&method.settings())?;
    record.insert("settings", settings.as_map().clone());
    record.insert("program", concat!("piggyback ", env!("CARGO_PKG_VERSION")));
    method.describe(&mut record, 0);
    network.about.training = Some(record);
    Ok(network)
}
