"""Write the golden files in this folder from torchvision (needs: pip install torch torchvision).

No weights are stored. Both sides fill every tensor of the state dict with the same
pseudo-random numbers, made from the tensor's name alone, so a parity test needs only
this folder's small JSON files. README.md beside this script states the recipe.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.models as models

HERE = pathlib.Path(__file__).parent
MASK64 = (1 << 64) - 1


def fnv1a(text: str) -> int:
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK64
    return h


def uniform(name: str, count: int) -> np.ndarray:
    """`count` numbers in [-1, 1): splitmix64 at seed+1, seed+2, ... of the golden gamma, top 24 bits."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / float(1 << 23) - 1.0).astype(np.float32)


def fill(model: torch.nn.Module) -> torch.nn.Module:
    """Overwrite every tensor of the state dict by the recipe in README.md."""
    norms = {n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    for key, tensor in model.state_dict().items():
        owner, leaf = key.rsplit(".", 1)
        if leaf == "num_batches_tracked":
            continue
        u = torch.from_numpy(uniform(key, tensor.numel())).reshape(tensor.shape)
        if owner in norms:
            value = {"weight": 1.0 + 0.1 * u, "bias": 0.1 * u,
                     "running_mean": 0.1 * u, "running_var": 1.0 + 0.5 * u}[leaf]
        elif leaf == "weight":
            fan_in = tensor[0].numel()
            value = u * float(np.float32(np.sqrt(6.0 / fan_in)))
        else:
            value = 0.1 * u
        tensor.copy_(value)
    return model


def images(batch: int, side: int) -> torch.Tensor:
    return torch.from_numpy(uniform("images", batch * 3 * side * side)).reshape(batch, 3, side, side)


def logits(arch: str, side: int) -> dict:
    model = fill(models.get_model(arch, weights=None)).eval()
    with torch.no_grad():
        out = model(images(2, side))
    return {
        "arch": arch, "input": [2, 3, side, side],
        "parameters": sum(p.numel() for p in model.parameters()),
        "state_dict": {k: list(v.shape) for k, v in model.state_dict().items()},
        "logits": [[float(f"{v:.8g}") for v in row] for row in out.tolist()],
    }


class Binarize(torch.autograd.Function):
    """1 where the score is above the threshold, else 0; the gradient passes straight through."""

    @staticmethod
    def forward(ctx, score, threshold):
        return (score > threshold).to(score.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class Masked(torch.nn.Module):
    """Parametrisation that multiplies a frozen weight by its binarised scores."""

    def __init__(self, name, like):
        super().__init__()
        u = torch.from_numpy(uniform(f"{name}.scores", like.numel())).reshape(like.shape)
        self.scores = torch.nn.Parameter(1e-2 + 6e-3 * u)

    def forward(self, weight):
        return weight * Binarize.apply(self.scores, 5e-3)


def trajectory(norm: str, lr: float, steps: int) -> dict:
    """Loss and zero counts of `steps` mask-learning steps on ResNet-18 (8 images of 64x64, 10 classes)."""
    from torch.nn.utils import parametrize
    model = fill(models.resnet18(weights=None))
    model.fc = torch.nn.Linear(512, 10)
    with torch.no_grad():
        model.fc.weight.copy_(torch.from_numpy(uniform("head.weight", 5120)).reshape(10, 512) * 0.05)
        model.fc.bias.zero_()
    for p in model.parameters():
        p.requires_grad_(False)
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)]
    masks = []
    for name, conv in layers:
        parametrize.register_parametrization(conv, "weight", Masked(f"{name}.weight", conv.weight))
        masks.append((name, conv.parametrizations.weight[0]))
    model.fc.weight.requires_grad_(True)
    model.fc.bias.requires_grad_(True)
    bn = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    bn_params = [p for m in bn for p in (m.weight, m.bias)]
    groups = [m.scores for _, m in masks]
    if norm == "task":
        for p in bn_params:
            p.requires_grad_(True)
        groups = groups + bn_params
    mask_opt = torch.optim.Adam(groups, lr=lr)
    head_opt = torch.optim.Adam([model.fc.weight, model.fc.bias], lr=lr)
    x = images(8, 64)
    y = torch.arange(8) % 10
    history = []
    for _ in range(steps):
        model.train()
        if norm == "frozen":
            for m in bn:
                m.eval()
        loss = F.cross_entropy(model(x), y)
        mask_opt.zero_grad()
        head_opt.zero_grad()
        loss.backward()
        mask_opt.step()
        head_opt.step()
        history.append({"loss": float(f"{loss.item():.7g}"),
                        "zeros": {n: int((m.scores <= 5e-3).sum()) for n, m in masks}})
    model.eval()
    with torch.no_grad():
        final = model(x)
    stats = {n: {"running_mean": m.running_mean[:4].tolist(), "running_var": m.running_var[:4].tolist()}
             for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    return {"arch": "resnet18", "norm": norm, "lr": lr, "batch": [8, 3, 64, 64], "classes": 10, "steps": history,
            "eval_logits": final.tolist(), "norm_statistics": stats}


ARCHS = ["mobilenet_v2", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
         "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
         "densenet121", "densenet161", "densenet169", "densenet201",
         "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
         "mobilenet_v3_small", "mobilenet_v3_large",
         "regnet_y_400mf", "regnet_y_800mf", "regnet_y_1_6gf"]

if __name__ == "__main__":
    torch.manual_seed(0)
    # Some of them alone: python make_golden.py regnet_y_400mf ...
    for arch in sys.argv[1:] or ARCHS:
        (HERE / f"{arch}.json").write_text(json.dumps(logits(arch, 64)) + "\n")
        print(arch)
    for norm in () if sys.argv[1:] else ("frozen", "task"):
        (HERE / f"trajectory_{norm}.json").write_text(json.dumps(trajectory(norm, 2e-4, 12)) + "\n")
        print("trajectory", norm)
