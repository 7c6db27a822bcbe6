//! Max pooling, average pooling and global average pooling.

mod average;
mod max;
#[cfg(test)]
mod tests;

pub use average::{
    average_pool2d, average_pool2d_backward, global_average_pool, global_average_pool_backward,
};
pub use max::{PoolShape, max_pool2d, max_pool2d_backward, max_pool2d_with_positions};
