"""Predictions of a materialised task: ours, PyTorch's and ONNX Runtime's, in turn.

    python inference.py measure BENCH PIGGYBACK FOLDER ROUNDS THREADS ARCH SIDE BATCH TIMES

BENCH is piggyback-bench, PIGGYBACK the program, FOLDER takes the checkpoint, a task with random masks
and a picture; TIMES predictions of BATCH images are measured of each process. Prints one JSON object:
for every program the seconds of each prediction. Progress goes to stderr.

PyTorch and ONNX Runtime get what `piggyback export` writes of the task, and a batch that lies ready in
memory; ours includes the preparation of the pixels. Their part is this file with the arguments
`predict PROGRAM FILE ARCH PICTURE BATCH TIMES THREADS`: PyTorch eager, in eval and inference mode, both
memory layouts; ONNX Runtime with all its optimisations. All must give the same logits.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import peer

# Of the task that piggyback-bench writes.
CLASSES = 10
WARM_UP = 3


def predict(program, file, arch, picture, batch, times, threads):
    import numpy
    from PIL import Image

    batch, times, threads = int(batch), int(times), int(threads)
    pixels = numpy.asarray(Image.open(picture).convert("RGB"), dtype=numpy.float32) / 255
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    image = ((pixels - mean) / deviation).astype(numpy.float32).transpose(2, 0, 1)
    images = numpy.ascontiguousarray(numpy.stack([image] * batch))
    if program == "onnxruntime":
        forward = onnxruntime(file, images, threads)
    else:
        forward = pytorch(program, file, arch, images, threads)
    seconds = []
    for _ in range(WARM_UP + times):
        started = time.perf_counter()
        logits = forward()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds[WARM_UP:], "logits": logits.tolist()}))


def pytorch(program, file, arch, images, threads):
    import torch
    from safetensors.torch import load_file
    from torchvision import models

    torch.set_num_threads(threads)
    channels_last = program == "pytorch-channels-last"
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    weights = load_file(file)
    model = getattr(models, arch)(weights=None, num_classes=CLASSES)
    model.load_state_dict(weights)
    model = model.eval().to(memory_format=memory_format)
    images = torch.from_numpy(images).to(memory_format=memory_format)

    def forward():
        with torch.inference_mode():
            return model(images)[0]

    return forward


def onnxruntime(file, images, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})[0][0]


def make(folder, arch, side):
    """A network and a picture."""
    import torch
    from PIL import Image

    peer.make_networks(folder, [arch])
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (12, 12, 3), dtype=torch.uint8).numpy()
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    image.save(folder / f"picture-{side}.png")


def measure(bench, piggyback, folder, rounds, threads, arch, side, batch, times):
    folder = Path(folder)
    # In a process of its own: a child's peak memory is at least what its parent had.
    subprocess.run([sys.executable, __file__, "make", folder, arch, side], check=True)
    backbone, picture = folder / f"{arch}.safetensors", folder / f"picture-{side}.png"
    task = folder / f"{arch}-{side}.task.safetensors"
    subprocess.run([bench, "task", backbone, "--side", side, "--out", task], check=True)
    exported = {}
    for form, suffix in [("onnx", "onnx"), ("safetensors", "safetensors")]:
        exported[form] = folder / f"{arch}-{side}-task.{suffix}"
        export = [piggyback, "export", "--backbone", backbone, "--task", task, "--to", form]
        subprocess.run([*export, "--out", exported[form], "--force", "--quiet"], check=True, stdout=sys.stderr)

    def theirs(program, file):
        return [sys.executable, __file__, "predict", program, file, arch, picture, batch, times, threads]

    ours = [bench, "--threads", threads, "predict", backbone, task, picture]
    programs = {
        "ours": [*ours, "--batch", batch, "--times", times],
        "pytorch": theirs("pytorch", exported["safetensors"]),
        "pytorch-channels-last": theirs("pytorch-channels-last", exported["safetensors"]),
        "onnxruntime": theirs("onnxruntime", exported["onnx"]),
    }
    row, told = peer.in_turn(f"inference, {arch}, batch {batch}", programs, rounds)
    compare({name: all_told[0].pop("logits") for name, all_told in told.items()})
    print(json.dumps({**row, **told["ours"][0]}))


def compare(logits):
    """All should say the same: only then have they done the same work."""
    ours = logits["ours"]
    largest = max(abs(value) for value in ours)
    for name, theirs in logits.items():
        if len(theirs) != len(ours) or any(abs(a - b) > 1e-3 * largest for a, b in zip(ours, theirs)):
            sys.exit(f"{ours} from us, {theirs} from {name}")


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "predict":
        predict(*arguments)
    elif verb == "make":
        make(Path(arguments[0]), arguments[1], int(arguments[2]))
    else:
        measure(*arguments)
