//! Images prepared as network input.

use burn::tensor::{Device, Tensor, TensorData};
use piggyback_task::Preprocessing;
use rayon::prelude::*;

use crate::error::Result;
use crate::image::Image;

/// Maximum batch size. Results do not depend on it.
pub(super) const BATCH: usize = 32;

/// Images resized and normalised once, for every task with the same preprocessing.
///
/// On the CPU an image of 224 x 224 pixels takes 600 kB.
#[derive(Clone, Debug)]
pub struct PreparedImages {
    preprocessing: Preprocessing,
    device: Device,
    /// `[batch, 3, height, width]`, of [`BATCH`] images at most.
    batches: Vec<Tensor<4>>,
}

impl PreparedImages {
    /// Prepares images for networks on `device`.
    ///
    /// # Errors
    ///
    /// Images that cannot be prepared.
    pub fn new(images: &[Image], preprocessing: &Preprocessing, device: &Device) -> Result<Self> {
        let side = preprocessing.image_size as usize;
        let mut batches = Vec::with_capacity(images.len().div_ceil(BATCH));
        for images in images.chunks(BATCH) {
            let prepared: Vec<Vec<f32>> = (images.par_iter())
                .map(|image| image.prepare(preprocessing))
                .collect::<Result<_, crate::image::Error>>()?;
            let shape = [images.len(), side, side, 3];
            batches.push(images_tensor(prepared.concat(), shape, device));
        }
        Ok(Self {
            preprocessing: preprocessing.clone(),
            device: device.clone(),
            batches,
        })
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.dims()[0]).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether they fit networks on `device` with this preprocessing.
    pub fn is_for(&self, preprocessing: &Preprocessing, device: &Device) -> bool {
        self.preprocessing == *preprocessing && self.device == *device
    }

    /// The device that holds them.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Batches `[batch, 3, height, width]`, in the order of the images.
    pub(super) fn batches(&self) -> impl Iterator<Item = Tensor<4>> {
        self.batches.iter().cloned()
    }
}

/// Pixels `[batch, height, width, channels]` as a tensor `[batch, channels, height, width]`.
pub(crate) fn images_tensor(pixels: Vec<f32>, shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::<4>::from_data(TensorData::new(pixels, shape), device).permute([0, 3, 1, 2])
}
