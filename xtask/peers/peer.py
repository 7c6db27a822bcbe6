"""What the measurements beside PyTorch have in common: networks, and running programs in turn."""

import json
import os
import subprocess
import sys
import time


def make_networks(folder, architectures):
    """Writes random networks with torchvision's names, once."""
    import torch
    from safetensors.torch import save_file
    from torchvision import models

    folder.mkdir(parents=True, exist_ok=True)
    for arch in architectures:
        file = folder / f"{arch}.safetensors"
        if not file.exists():
            print(f"making {file}", file=sys.stderr)
            torch.manual_seed(0)
            model = getattr(models, arch)(weights=None)
            give_it_opinions(model)
            temporary = folder / "temporary.safetensors"
            save_file(model.state_dict(), temporary)
            temporary.replace(file)


def give_it_opinions(model):
    """Statistics and a head with which an untrained network does not find all classes alike."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 224, 224))
        head = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
        head.weight.normal_(0, 5 / head.in_features**0.5)


def run(command):
    """Seconds, peak memory in bytes, and the JSON that a program prints."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command} failed with {child.returncode}")
    # macOS counts bytes, Linux kibibytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit, json.loads(output)
