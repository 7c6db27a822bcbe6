"""Write the golden files in this folder from timm (needs: pip install torch torchvision timm).

As ../torchvision/make_golden.py, whose recipe fills the tensors: under timm's names. timm's MobileNetV3 has batch
norms with another epsilon than torchvision's; here it has torchvision's, 1e-3. Its `regnety_008` has other widths than
torchvision's `regnet_y_800mf`, and is missing.
"""
import json
import pathlib
import sys

import timm
import torch

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "torchvision"))
from make_golden import fill, images  # noqa: E402

NETWORKS = {
    "efficientnet_b0": ("efficientnet_b0", {}),
    "efficientnet_b1": ("efficientnet_b1", {}),
    "efficientnet_b2": ("efficientnet_b2", {}),
    "efficientnet_b3": ("efficientnet_b3", {}),
    "mobilenet_v3_small": ("mobilenetv3_small_100", {"bn_eps": 1e-3}),
    "mobilenet_v3_large": ("mobilenetv3_large_100", {"bn_eps": 1e-3}),
    "regnet_y_400mf": ("regnety_004", {}),
    "regnet_y_1_6gf": ("regnety_016", {}),
}

if __name__ == "__main__":
    for ours, (theirs, options) in NETWORKS.items():
        model = fill(timm.create_model(theirs, pretrained=False, num_classes=10, **options)).eval()
        with torch.no_grad():
            out = model(images(2, 64))
        golden = {
            "arch": theirs,
            "state_dict": {k: list(v.shape) for k, v in model.state_dict().items()},
            "logits": [[float(f"{v:.8g}") for v in row] for row in out.tolist()],
        }
        (HERE / f"{ours}.json").write_text(json.dumps(golden) + "\n")
        print(ours)
