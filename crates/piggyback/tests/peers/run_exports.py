"""Run the exports in a folder with ONNX Runtime and torchvision; print their outputs as JSON.

The folder holds 0.png, 1.png, ... of the network's size, the file `architecture`, and the exports
w.onnx, softmax.onnx, w.safetensors and w.pth.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import safetensors
import safetensors.torch
import torch
import torchvision
from PIL import Image

folder = pathlib.Path(sys.argv[1])
architecture = (folder / "architecture").read_text()


def images(preprocessing: dict) -> np.ndarray:
    files = sorted(folder.glob("?.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) / 255 for file in files])
    mean, std = (np.float32(preprocessing[key]) for key in ("mean", "std"))
    return np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2))


def run_onnx(name: str) -> tuple[np.ndarray, dict]:
    path = str(folder / name)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    batch = images(json.loads(metadata["piggyback.preprocessing"]))
    [entry] = session.get_inputs()
    assert entry.shape == ["batch", 3, batch.shape[2], batch.shape[3]], entry.shape
    together = session.run(None, {entry.name: batch})[0]
    alone = session.run(None, {entry.name: batch[:1]})[0]
    assert np.abs(together[:1] - alone).max() <= 1e-4 * max(1, np.abs(alone).max())
    return together, metadata


def run_torchvision(state: dict, preprocessing: dict) -> list:
    model = torchvision.models.get_model(architecture, weights=None, num_classes=classes_of(state))
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        return model.eval()(torch.from_numpy(images(preprocessing))).tolist()


def classes_of(state: dict) -> int:
    heads = ("fc.bias", "classifier.bias", "classifier.1.bias", "classifier.6.bias", "classifier.3.bias")
    return next(len(state[head]) for head in heads if head in state)


logits, metadata = run_onnx("w.onnx")
probabilities, _ = run_onnx("softmax.onnx")
preprocessing = json.loads(metadata["piggyback.preprocessing"])
answer = {
    "onnx": logits.tolist(),
    "softmax": probabilities.tolist(),
    "classes": json.loads(metadata["piggyback.classes"]),
    "image_size": preprocessing["image_size"],
}
weights = safetensors.torch.load_file(folder / "w.safetensors")
checkpoint = torch.load(folder / "w.pth", weights_only=True)
assert weights.keys() == checkpoint.keys()
assert all(torch.equal(weights[name], checkpoint[name]) for name in weights)
with safetensors.safe_open(folder / "w.safetensors", "pt") as file:
    assert json.loads(file.metadata()["piggyback.preprocessing"]) == preprocessing
if hasattr(torchvision.models, architecture):
    answer["safetensors"] = run_torchvision(weights, preprocessing)
    answer["pth"] = run_torchvision(checkpoint, preprocessing)
print(json.dumps(answer))
