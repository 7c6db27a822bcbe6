"""Write a set of files with torch.save into a folder, in every way that torch.load reads, and what torch.load makes
of each: expected.json has the floating-point tensors of every file (type, shape, hexadecimal bytes), or a part of the
message that a reader of plain numbers must refuse it with.
"""
import collections
import io
import itertools
import json
import pathlib
import random
import struct
import sys
import warnings
import zipfile

import numpy as np
import torch

warnings.filterwarnings("ignore")
folder = pathlib.Path(sys.argv[1])
random.seed(0)
torch.manual_seed(0)
FLOATS = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16"}


def views():
    """Tensors over shared and odd storages."""
    base = torch.randn(6, 5, 4)
    flat = torch.arange(40, dtype=torch.float32)
    conv = torch.randn(4, 3, 3, 3)
    return {
        "whole": base,
        "transposed": base.permute(2, 0, 1),
        "slice": base[1:5:2, :, 1:3],
        "row": base[3],
        "number": base[2, 2, 2],
        "expanded": torch.randn(3).expand(4, 3),
        "expanded.inside": torch.randn(2, 1, 3).expand(2, 5, 3),
        "overlapping": flat.as_strided((5, 4), (2, 1), 3),
        "reversed.order": flat.as_strided((4, 5), (1, 4), 7),
        "channels.last": conv.to(memory_format=torch.channels_last),
        "empty": torch.zeros(0, 3),
        "empty.inside": torch.zeros(2, 0),
        "one": torch.ones(1, 1, 1)[:, :, 0],
        "scalar": torch.tensor(2.5),
        "tail": flat[37:],
        "parameter": torch.nn.Parameter(torch.randn(3, 2)),
        "frozen": torch.nn.Parameter(torch.randn(3), requires_grad=False),
        "detached": torch.randn(3, requires_grad=True).detach(),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def types():
    numbers = torch.randn(3, 4)
    every = {str(dtype)[6:]: numbers.to(dtype) for dtype in FLOATS}
    every |= {str(dtype)[6:]: (numbers * 9).to(dtype) for dtype in (torch.int64, torch.int32, torch.int16, torch.int8)}
    every |= {"bool": numbers > 0, "complex": torch.complex(numbers, numbers), "uint8": torch.arange(9, dtype=torch.uint8)}
    every["half.transposed"] = numbers.half().t()
    return every


def random_views(count):
    found = {}
    for index in range(count):
        dtype = random.choice(list(FLOATS))
        tensor = torch.randn([random.randint(1, 5) for _ in range(random.randint(1, 4))]).to(dtype)
        for _ in range(random.randint(0, 4)):
            axis = random.randrange(max(tensor.dim(), 1))
            step = random.choice(["permute", "narrow", "step", "unsqueeze", "select", "expand"])
            if step == "unsqueeze":
                tensor = tensor.unsqueeze(axis)
            elif tensor.dim() == 0:
                continue
            elif step == "permute":
                order = list(range(tensor.dim()))
                random.shuffle(order)
                tensor = tensor.permute(order)
            elif step == "narrow":
                start = random.randrange(tensor.shape[axis])
                tensor = tensor.narrow(axis, start, random.randint(1, tensor.shape[axis] - start))
            elif step == "step":
                tensor = tensor[(slice(None),) * axis + (slice(None, None, 2),)]
            elif step == "select" and tensor.dim() > 1:
                tensor = tensor.select(axis, 0)
            elif step == "expand" and tensor.shape[axis] == 1:
                shape = list(tensor.shape)
                shape[axis] = 3
                tensor = tensor.expand(shape)
        found[f"random.{index}"] = tensor
    return found


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)


def wrapped(tensors):
    network = Network()
    return {
        "weights": collections.OrderedDict(tensors),
        "network": network.state_dict(),
        "nested": {"deep": {"deeper": {"x": torch.ones(2)}}},
        "list": [torch.zeros(2), {"y": torch.ones(1)}, 3],
        "pair": (torch.full((2,), 7.0), "text"),
        "step": 7,
        "rate": np.float64(0.5),
        "loss": np.float32(0.25),
        "history": np.arange(4.0),
        "none": None,
        "bytes": b"\x00\x01",
        "big": 1 << 80,
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        7: torch.ones(3),
    }


def flatten(value, name=""):
    items = None
    if isinstance(value, dict):
        items = [(key, item) for key, item in value.items() if isinstance(key, str)]
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        items = enumerate(value)
    if items is not None:
        for key, item in items:
            yield from flatten(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, torch.Tensor) and value.dtype in FLOATS:
        yield name, value.detach()


def content(file):
    loaded = torch.load(file, map_location="cpu", weights_only=False)
    found = {}
    for name, tensor in flatten(loaded):
        numbers = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1)).view(torch.uint8)
        found[name] = {
            "dtype": FLOATS[tensor.dtype],
            "shape": list(tensor.shape),
            "bytes": numbers.numpy().tobytes().hex(),
        }
    return found


def big_endian(source, target):
    """The same checkpoint as a big-endian machine writes it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            new.writestr(name, data)


def main():
    expected = {}

    def save(name, value, **options):
        torch.save(value, folder / name, **options)
        expected[name] = {"tensors": content(folder / name)}

    cases = {"views": views(), "types": types(), "random": random_views(60), "wrapped": wrapped(views())}
    for (name, value), protocol, zipped in itertools.product(cases.items(), (2, 3, 4, 5), (True, False)):
        kind = "zip" if zipped else "legacy"
        save(f"{name}_{kind}_{protocol}.pth", value, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    for length in (1, 20, 21, 22, 63, 64, 120, 200):
        save("n" * length + ".pth", {"a": torch.randn(3), "b": torch.randn(2, 2).t()})
    buffer = io.BytesIO()
    torch.save(views(), buffer)
    (folder / "buffer.pth").write_bytes(buffer.getvalue())
    expected["buffer.pth"] = {"tensors": content(folder / "buffer.pth")}
    # Types that older files cannot hold, beside floats.
    save("modern.pth", {"a": torch.ones(2), "b": torch.ones(3).to(torch.uint16), "c": torch.ones(3).to(torch.float8_e4m3fn)})
    save("plain.pth", {"a": torch.randn(3, 4), "b": torch.randn(5)})
    big_endian(folder / "plain.pth", folder / "big.pth")
    expected["big.pth"] = {"tensors": content(folder / "big.pth")}

    def refused(name, value, message, **options):
        torch.save(value, folder / name, **options)
        expected[name] = {"refused": message}

    ones = torch.ones(3, 3)
    refused("negative.pth", {"a": torch.complex(ones, ones).conj().imag}, "neg")
    refused("meta.pth", {"a": torch.empty(3, device="meta")}, "meta device")
    refused("sparse.pth", {"a": ones.to_sparse()}, "to_dense")
    refused("sparse_csr.pth", {"a": ones.to_sparse_csr()}, "to_dense")
    quantised = torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8)
    refused("quantised.pth", {"a": quantised}, "dequantize")
    channels = torch.quantize_per_channel(ones, torch.ones(3), torch.zeros(3), 0, torch.qint8)
    refused("quantised_channels.pth", {"a": channels}, "dequantize")
    refused("float8.pth", {"a": ones.to(torch.float8_e5m2)}, "8 bits")
    refused("integers.pth", {"a": ones.long()}, "no floating-point tensors")
    refused("module.pth", Network(), "state_dict()")
    refused("module_legacy.pth", Network(), "state_dict()", _use_new_zipfile_serialization=False)
    refused("collision.pth", {"a.b": ones, "a": {"b": ones + 1}}, "two tensors")
    (folder / "expected.json").write_text(json.dumps(expected))


main()
