"""From the start of a program to its first prediction: ours and PyTorch's, in turn.

    python first_prediction.py PIGGYBACK FOLDER ROUNDS THREADS

PIGGYBACK is the program, FOLDER takes the checkpoints and the picture (made once), and ROUNDS says how
often each is measured. Prints one JSON object: for every network the size of its file, and for each
program its seconds and its peak memory, each round. Progress goes to stderr.

PyTorch's part is this file with the arguments `predict ARCH FILE PICTURE THREADS`. It takes the fastest
way that PyTorch has: a model on the meta device, which takes the tensors of
`safetensors.torch.load_file` as they are. What it tells is counted twice: from the start of its
process, and from the end of its imports.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ARCHITECTURES = ["mobilenet_v2", "resnet50", "vgg16"]


def predict(arch, file, picture, threads):
    """One prediction; prints how long it took after the imports, and the answer."""
    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from torchvision import models, transforms

    started = time.perf_counter()
    torch.set_num_threads(int(threads))
    with torch.device("meta"):
        model = getattr(models, arch)(weights=None)
    model.load_state_dict(load_file(file), assign=True)
    model.eval()
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        images = prepare(Image.open(picture).convert("RGB"))[None]
        probability, index = model(images).softmax(1).max(1)
    seconds = time.perf_counter() - started
    names = models.get_model_weights(arch).DEFAULT.meta["categories"]
    answer = {"class": names[index.item()], "probability": probability.item()}
    print(json.dumps({"seconds": seconds, "answer": answer}))


def make(folder):
    """Random networks with torchvision's names, and a picture."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    from torchvision import models

    folder.mkdir(parents=True, exist_ok=True)
    for arch in ARCHITECTURES:
        file = folder / f"{arch}.safetensors"
        if not file.exists():
            print(f"making {file}", file=sys.stderr)
            torch.manual_seed(0)
            model = getattr(models, arch)(weights=None)
            give_it_opinions(model)
            temporary = folder / "temporary.safetensors"
            save_file(model.state_dict(), temporary)
            temporary.replace(file)
    picture = folder / "picture.png"
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (12, 16, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(picture)
    return picture


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
    """Seconds, peak memory and stdout of a program."""
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


def ours(piggyback, file, picture, threads):
    arguments = ["predict", "--backbone", file, picture, "--top-k", "5", "--json", "--quiet"]
    seconds, memory, answer = run([piggyback, *arguments, "--threads", threads])
    return {"seconds": seconds, "memory_bytes": memory}, answer


def theirs(arch, file, picture, threads):
    command = [sys.executable, __file__, "predict", arch, file, picture, threads]
    seconds, memory, told = run(command)
    measured = {"seconds": seconds, "memory_bytes": memory, "after_imports_seconds": told["seconds"]}
    return measured, told["answer"]


def main(piggyback, folder, rounds, threads):
    folder = Path(folder)
    # In a process of its own: a child's peak memory is at least what its parent had.
    subprocess.run([sys.executable, __file__, "make", folder], check=True)
    picture = folder / "picture.png"
    networks = []
    for arch in ARCHITECTURES:
        file = folder / f"{arch}.safetensors"
        print(f"measuring: first prediction, {arch}", file=sys.stderr)
        # The first of each warms the page cache, and their answers are compared.
        _, our_answer = ours(piggyback, file, picture, threads)
        _, their_answer = theirs(arch, file, picture, threads)
        compare(arch, our_answer, their_answer)
        pairs = [
            (ours(piggyback, file, picture, threads)[0], theirs(arch, file, picture, threads)[0])
            for _ in range(int(rounds))
        ]
        networks.append(
            {
                "architecture": arch,
                "file_bytes": file.stat().st_size,
                "ours": [pair[0] for pair in pairs],
                "pytorch": [pair[1] for pair in pairs],
            }
        )
    print(json.dumps({"networks": networks}))


def compare(arch, ours, theirs):
    """Both should say the same: only then have they done the same work."""
    found = {top["class"]: top["probability"] for top in ours["predictions"]}
    if abs(found.get(theirs["class"], 0.0) - theirs["probability"]) > 1e-2 * theirs["probability"]:
        sys.exit(f"{arch}: {found} from us, {theirs} from PyTorch")


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "predict":
        predict(*arguments)
    elif verb == "make":
        make(Path(*arguments))
    else:
        main(verb, *arguments)
