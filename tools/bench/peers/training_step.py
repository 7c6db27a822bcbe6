"""A training step of Piggyback: ours and PyTorch's, in turn.

    python training_step.py measure BENCH PIGGYBACK FOLDER ROUNDS THREADS ARCH SIDE BATCH STEPS

BENCH is piggyback-bench, FOLDER takes the checkpoint (made once); STEPS are measured of each process.
Prints one JSON object: for every program the seconds of each step and the peak memory of each process.
Progress goes to stderr.

A step: every convolution (and VGG's fc6 and fc7) computes with its weight where a score is above the
threshold and 0 elsewhere, batch norms are in training mode, the loss is cross-entropy, and Adam moves
scores, batch norms and head. PyTorch's part is this file with the arguments
`step ARCH FILE SIDE BATCH STEPS THREADS LAYOUT`: eager, its fused Adam, both memory layouts. Its
images are in memory; ours are decoded from files meanwhile.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import peer

CLASSES = 10
WARM_UP = 2


def step(arch, file, side, batch, steps, threads, layout):
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file
    from torchvision import models

    class Threshold(torch.autograd.Function):
        """1 above the threshold, else 0; the gradient passes as it is."""

        @staticmethod
        def forward(context, scores):
            return (scores > 5e-3).float()

        @staticmethod
        def backward(context, gradient):
            return gradient

    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    side, batch, steps = int(side), int(batch), int(steps)
    model = getattr(models, arch)(weights=None)
    model.load_state_dict(load_file(file))
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    head = layers.pop()
    new_head = torch.nn.Linear(head.in_features, CLASSES)
    for module in model.modules():
        for name, child in module.named_children():
            if child is head:
                setattr(module, name, new_head)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = model.to(memory_format=memory_format).train()
    scores = []

    def masked(layer, function):
        layer.weight.requires_grad_(False)
        if layer.bias is not None:
            layer.bias.requires_grad_(False)
        score = torch.nn.Parameter(torch.full_like(layer.weight, 1e-2))
        scores.append(score)
        layer.forward = lambda images: function(images, layer.weight * Threshold.apply(score))

    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            masked(layer, lambda images, weight, own=layer: F.linear(images, weight, own.bias))
        else:
            masked(layer, lambda images, weight, own=layer: own._conv_forward(images, weight, own.bias))
    others = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(
        [{"params": scores, "lr": 1e-4}, {"params": others, "lr": 1e-3}], fused=True
    )
    images = torch.randn(batch, 3, side, side).to(memory_format=memory_format)
    labels = torch.arange(batch) % CLASSES
    seconds = []
    for _ in range(WARM_UP + steps):
        started = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds[WARM_UP:]}))


def measure(bench, _piggyback, folder, rounds, threads, arch, side, batch, steps):
    folder = Path(folder)
    # In a process of its own: a child's peak memory is at least what its parent had.
    subprocess.run([sys.executable, __file__, "make", folder, arch], check=True)
    file = folder / f"{arch}.safetensors"
    ours = [bench, "--threads", threads, "step", file, "--side", side, "--batch", batch]
    theirs = [sys.executable, __file__, "step", arch, file, side, batch, steps, threads]
    programs = {
        "ours": [*ours, "--steps", steps],
        "pytorch": [*theirs, "plain"],
        "pytorch-channels-last": [*theirs, "channels_last"],
    }
    row, told = peer.in_turn(f"training step, {arch}", programs, rounds)
    print(json.dumps({**row, **told["ours"][0]}))


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "step":
        step(*arguments)
    elif verb == "make":
        peer.make_networks(Path(arguments[0]), [arguments[1]])
    else:
        measure(*arguments)
