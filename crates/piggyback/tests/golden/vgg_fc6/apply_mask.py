"""Apply a task's mask of VGG-11's fc6 in torchvision; print the logits of a picture as JSON.

    python apply_mask.py fc6.task.safetensors picture.png > logits.json

The backbone is torchvision's VGG-11 filled by the recipe of ../torchvision; the mask is unpacked from
the task file by numpy alone. `cargo test --test library fc6` makes both files and compares; what this
script printed then is kept as `logits.json`.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import torchvision
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "torchvision"))
from make_golden import fill  # noqa: E402
sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "piggyback-task/tests"))
from read_with_numpy import read_task  # noqa: E402

FC6 = "classifier.0.weight"

model = fill(torchvision.models.vgg11(weights=None)).eval()
state = model.state_dict()
tensors = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.startswith("classifier.6.")}
task = read_task(sys.argv[1], tensors)
preprocessing = json.loads(task["metadata"]["piggyback.preprocessing"])

keep = task["weights"][FC6]["keep"]
state[FC6].masked_fill_(torch.from_numpy(~keep), 0.0)
model.classifier[6].weight, model.classifier[6].bias = (
    torch.nn.Parameter(torch.from_numpy(values)) for values in task["head"]
)

pixels = np.asarray(Image.open(sys.argv[2]).convert("RGB"), np.float32) / 255
mean, std = (np.float32(preprocessing[key]) for key in ("mean", "std"))
image = torch.from_numpy(((pixels - mean) / std).transpose(2, 0, 1)[None].copy())
with torch.no_grad():
    print(json.dumps(model(image).tolist()))
