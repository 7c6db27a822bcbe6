"""Writes sgd.json: what PyTorch's SGD makes of a ResNet-18 in four steps.

Needs torch and torchvision from PyPI. The network is filled as ../torchvision/README.md says, its
head is 512 to 10 with weight `0.05 * u("head.weight")` and bias 0; 8 images of 64x64, labels 0..7.
SGD with momentum 0.9 and rates 0.02, 0.04, 0.04, 0.01; weight decay 0.05 on weights of more than
one dimension; label smoothing 0.1; batch norms in training mode.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision import models

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "torchvision"))
from make_golden import fill, images, uniform  # noqa: E402

RATES = [0.02, 0.04, 0.04, 0.01]

model = fill(models.resnet18(weights=None))
model.fc = torch.nn.Linear(512, 10)
with torch.no_grad():
    model.fc.weight.copy_(torch.from_numpy(uniform("head.weight", 5120)).reshape(10, 512) * 0.05)
    model.fc.bias.zero_()
parameters = list(model.parameters())
optimizer = torch.optim.SGD(
    [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ],
    lr=RATES[0],
    momentum=0.9,
)
model.train()
losses = []
for rate in RATES:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = F.cross_entropy(model(images(8, 64)), torch.arange(8), label_smoothing=0.1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
state = model.state_dict()
names = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_var", "layer2.0.conv1.weight",
         "layer4.1.conv2.weight", "layer4.1.bn2.bias", "fc.weight", "fc.bias"]
tensors = {name: state[name].flatten()[:8].tolist() for name in names}
text = json.dumps({"version": 1, "rates": RATES, "losses": losses, "tensors": tensors}, indent=1)
(HERE / "sgd.json").write_text(text + "\n")
