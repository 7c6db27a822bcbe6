//! Training masks.

use piggyback_task::TaskFile;

use super::config::{NormMode, TrainConfig};
use super::method::Masks;
use super::network::TaskNetwork;
use crate::checkpoint::Backbone;
use crate::data::{DataSet, ImageFolder};
use crate::error::Result;
use crate::files::{TaskDescription, budget};
use crate::learn::{Learn, Learned, Run, learn};
use crate::methods::layers::Settings;

/// Freezes the backbone, attaches masks, and trains scores, batch norms and head with Adam.
impl Learn for TrainConfig {
    type Start<'s> = &'s Backbone;
    type Data = ImageFolder;
    type Product = TaskFile;

    fn learn(
        &self,
        mut run: Run<'_>,
        backbone: &Backbone,
        data: &ImageFolder,
    ) -> Result<Learned<TaskFile>> {
        self.validate()?;
        let method = Masks {
            backbone,
            about: TaskDescription::new(
                backbone,
                data.classes().to_vec(),
                self.images.apply(backbone.preprocessing())?,
            ),
            config: self.clone(),
        };
        let (precisions, has_norms) = (self.precisions, self.norm == NormMode::Task);
        budget::check(backbone, &method.about, has_norms, precisions, self.budget)?;
        let start = || TaskNetwork::new(backbone, data.classes().len(), self);
        let data = [DataSet {
            name: "task".into(),
            images: data.clone(),
        }];
        learn(&method, self, &mut run, &data, backbone.device(), start)
    }
}
