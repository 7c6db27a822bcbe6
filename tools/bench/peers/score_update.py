"""From the weights' gradients to the next scores: ours and PyTorch's, in turn.

    python score_update.py measure BENCH PIGGYBACK FOLDER ROUNDS THREADS ARCH TIMES

BENCH is piggyback-bench; TIMES updates of the scores of ARCH's weights, its head of 1000 classes
included, are measured of each process. Prints one JSON object: for every program the seconds of each
update. Progress goes to stderr.

An update multiplies the gradient of every effective weight by the weight, which is the gradient of its
score, and does a step of Adam. PyTorch's part is this file with the arguments
`update ARCH TIMES THREADS KIND`.
"""

import json
import sys
import time

import peer

WARM_UP = 3


def update(arch, times, threads, kind):
    import torch
    from torchvision import models

    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    model = getattr(models, arch)(weights=None)
    weights = [weight.detach() for weight in model.parameters() if weight.dim() > 1]
    gradients = [1e-3 * torch.randn_like(weight) for weight in weights]
    scores = [torch.nn.Parameter(torch.full_like(weight, 1e-2)) for weight in weights]
    optimizer = torch.optim.Adam(scores, lr=1e-4, **{kind: True})
    seconds = []
    for _ in range(WARM_UP + int(times)):
        started = time.perf_counter()
        for score, gradient, weight in zip(scores, gradients, weights):
            score.grad = gradient * weight
        optimizer.step()
        seconds.append(time.perf_counter() - started)
        optimizer.zero_grad()
    count = sum(weight.numel() for weight in weights)
    print(json.dumps({"seconds": seconds[WARM_UP:], "weights": count}))


def measure(bench, _piggyback, _folder, rounds, threads, arch, times):
    theirs = [sys.executable, __file__, "update", arch, times, threads]
    programs = {
        "ours": [bench, "--threads", threads, "scores", arch, "--times", times],
        "pytorch-fused": [*theirs, "fused"],
        "pytorch-foreach": [*theirs, "foreach"],
    }
    row, told = peer.in_turn(f"score update, {arch}", programs, rounds)
    counts = {name: rounds_told[0]["weights"] for name, rounds_told in told.items()}
    if len(set(counts.values())) != 1:
        sys.exit(f"the programs moved different numbers of scores: {counts}")
    print(json.dumps({**row, **told["ours"][0]}))


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "update":
        update(*arguments)
    else:
        measure(*arguments)
