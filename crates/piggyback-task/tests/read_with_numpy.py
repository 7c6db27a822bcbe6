"""Prints what is in a task file as JSON, read with safetensors and numpy alone.

    python read_with_numpy.py flags.task.safetensors
"""

import json
import sys

import numpy
from safetensors import safe_open


def unpack(packed, shape):
    """The bits of a packed plane, in the shape of the weight."""
    count = int(numpy.prod(shape, dtype=numpy.int64))
    return numpy.unpackbits(packed, bitorder="little", count=count).reshape(shape)


def canonical(value):
    """The one way in which a task file spells a JSON value."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )


def summary(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    masks = {}
    for weight, info in json.loads(metadata["piggyback.masks"]).items():
        keep = unpack(tensors["mask." + weight], info["shape"])
        sign = None
        if info["kind"] == "ternary":
            sign = unpack(tensors["sign." + weight], info["shape"])
        masks[weight] = {
            "shape": list(keep.shape),
            "zeros": int((keep == 0).sum()),
            "keep": keep.ravel()[:16].tolist(),
            "sign": None if sign is None else sign.ravel()[:16].tolist(),
        }
        if "affine." + weight in tensors:
            masks[weight]["affine"] = tensors["affine." + weight].tolist()
    deltas = {}
    for weight, info in json.loads(metadata.get("piggyback.deltas", "{}")).items():
        up = unpack(tensors["delta." + weight], info["shape"])
        deltas[weight] = {
            "shape": list(up.shape),
            "up": up.ravel()[:16].tolist(),
            "scale": float(tensors["scale." + weight][0]),
        }
    prefix = "norm."
    contents = {
        "classes": json.loads(metadata["piggyback.classes"]),
        "masks": masks,
        "norms": {
            name[len(prefix) :]: tensor.tolist()
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        },
        "head": {
            "weight": tensors["head.weight"].tolist(),
            "bias": tensors["head.bias"].tolist(),
        },
        "fingerprint": json.loads(metadata["piggyback.backbone"])["fingerprint"],
        "digest": metadata["piggyback.digest"],
        "training": canonical(json.loads(metadata["piggyback.training"])),
    }
    if deltas:
        contents["deltas"] = deltas
    return contents


if __name__ == "__main__":
    print(json.dumps(summary(sys.argv[1])))
