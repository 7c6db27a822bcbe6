"""From the start of a program to its first prediction: ours and PyTorch's, in turn.

    python first_prediction.py measure BENCH PIGGYBACK FOLDER ROUNDS THREADS

PIGGYBACK is the program, FOLDER takes the checkpoints and the picture (made once), and ROUNDS says how
often each is measured. Prints one JSON object: for every network the size of its file, and for each
program its seconds and its peak memory, each round. Progress goes to stderr.

PyTorch's part is this file with the arguments `predict ARCH FILE PICTURE THREADS`. It takes the fastest
way that PyTorch has: a model on the meta device, which takes the tensors of
`safetensors.torch.load_file` as they are. What it tells is counted twice: from the start of its
process, and from the end of its imports.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import peer

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
    """Random networks and a picture."""
    import torch
    from PIL import Image

    peer.make_networks(folder, ARCHITECTURES)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (12, 16, 3), dtype=torch.uint8).numpy()
    image = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC)
    image.save(folder / "picture.png")


def ours(piggyback, file, picture, threads):
    arguments = ["predict", "--backbone", file, picture, "--top-k", "5", "--json", "--quiet"]
    ran = peer.run([piggyback, *arguments, "--threads", threads])
    return {"seconds": ran.seconds, "memory_bytes": ran.memory_bytes}, ran.told


def theirs(arch, file, picture, threads):
    command = [sys.executable, __file__, "predict", arch, file, picture, threads]
    ran = peer.run(command)
    measured = {
        "seconds": ran.seconds,
        "memory_bytes": ran.memory_bytes,
        "after_imports_seconds": ran.told["seconds"],
    }
    return measured, ran.told["answer"]


def measure(_bench, piggyback, folder, rounds, threads):
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
        measure(*arguments)
