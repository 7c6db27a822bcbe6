//! Max pooling and global average pooling.

mod average;
mod max;

pub use average::{global_average_pool, global_average_pool_backward};
pub use max::{PoolShape, max_pool2d, max_pool2d_backward};
