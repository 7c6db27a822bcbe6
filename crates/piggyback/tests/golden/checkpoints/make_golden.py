"""Writes small checkpoints in every form that PyTorch has, and what they hold.

Run once, with PyTorch 2.15: python make_golden.py
The files are read by tests/library/pytorch_files.rs; `expected.json` holds, for each file, the tensors
that its reader must find: type, shape, values.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import zipfile

import torch

HERE = pathlib.Path(__file__).parent
FORMAT = 1


def numbers(*shape, dtype=torch.float32):
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count, dtype=torch.float32) / 4 - 1).reshape(shape).to(dtype)


def state():
    base = numbers(3, 4)
    return collections.OrderedDict(
        [
            ("plain.weight", numbers(2, 3)),
            ("plain.bias", numbers(2)),
            ("half.weight", numbers(2, 2, dtype=torch.float16)),
            ("brain.weight", numbers(2, 2, dtype=torch.bfloat16)),
            ("double.weight", numbers(2, 2, dtype=torch.float64)),
            ("transposed.weight", base.t()),
            ("slice.weight", base[1:, 1:3]),
            ("scalar", torch.tensor(2.5)),
            ("empty", torch.zeros(0, 3)),
            ("norm.num_batches_tracked", torch.tensor(7)),
            ("flags", torch.tensor([True, False])),
        ]
    )


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x)


class Evil:
    def __reduce__(self):
        return os.system, ("touch piggyback-was-here",)


def floats(tensors):
    kinds = {
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.float64: "F64",
    }
    return {
        name: {
            "dtype": kinds[tensor.dtype],
            "shape": list(tensor.shape),
            "values": tensor.to(torch.float32).flatten().tolist(),
        }
        for name, tensor in tensors.items()
        if tensor.dtype in kinds
    }


def main():
    weights = state()
    expected = floats(weights)
    files = {}
    torch.save(weights, HERE / "zip.pth")
    files["zip.pth"] = expected
    torch.save(weights, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    files["legacy.pth"] = expected
    parameters = {name: torch.nn.Parameter(value) for name, value in weights.items()
                  if value.is_floating_point()}
    torch.save(parameters, HERE / "parameters.pth", pickle_protocol=4)
    files["parameters.pth"] = expected
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(numbers(1, 3)).sum().backward()
    optimizer.step()
    training = {
        "model": weights,
        "epoch": 3,
        "best": 0.25,
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("/data"), layers=[1, 2]),
        "history": collections.defaultdict(list, {"loss": [1.0, 0.5]}),
        "big": 1 << 90,
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "labels": {"a", "b"},
    }
    torch.save(training, HERE / "training.pth")
    torch.save(training, HERE / "training_legacy.pth", _use_new_zipfile_serialization=False)
    nested = {f"model.{name}": value for name, value in expected.items()}
    files["training.pth"] = files["training_legacy.pth"] = nested

    torch.save({"weights": weights, "hook": Evil()}, HERE / "evil.pth")
    torch.save({"hook": Evil()}, HERE / "evil_legacy.pth", _use_new_zipfile_serialization=False)
    (HERE / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    torch.save(model, HERE / "module.pth")
    torch.jit.script(model).save(HERE / "script.pth")
    # The same checkpoint as a compressed archive: PyTorch itself does not read it.
    source = zipfile.ZipFile(HERE / "zip.pth")
    with zipfile.ZipFile(HERE / "compressed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    text = json.dumps({"format": FORMAT, "torch": torch.__version__, "files": files}, indent=1)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
