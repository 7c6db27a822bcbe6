//! Where the demo's data lie, from the workspace's root.

/// The backbone's checkpoint.
pub const BACKBONE: &str = "data/mobilenet_v2.pth";

/// The checkpoint of the second backbone that settings of training are chosen on.
pub const SECOND_BACKBONE: &str = "data/efficientnet_lite0.pth";

/// The tasks, in the order in which they are learned; the images of each lie in `data/<name>`.
pub const TASKS: [&str; 4] = ["emoji", "flags", "sketch", "silhouettes"];
