"""Runs the reader of docs/format.md and prints what it finds in a task file as JSON.

    python read_with_numpy.py flags.task.safetensors [names and shapes as JSON]
"""

import json
import pathlib
import re
import sys

import numpy as np

page = pathlib.Path(__file__).parents[3] / "docs/format.md"
blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
[reader] = [block for block in blocks if "def read_task" in block]
assert reader.count("\n") <= 60
exec(compile(reader, str(page), "exec"))


def plain(value):
    """Booleans as packed bits in hexadecimal, other numbers as lists."""
    value = np.asarray(value)
    if value.dtype == bool:
        return np.packbits(value, bitorder="little").tobytes().hex()
    return value.tolist()


def canonical(value):
    """The one way in which a task file writes a JSON value."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )


def summary(path, tensors):
    task = read_task(path, tensors)
    about = task["metadata"]
    weights = {}
    for name, parts in task["weights"].items():
        if not parts:
            continue
        weights[name] = {part: plain(value) for part, value in parts.items()}
        for part in {"replaced", "low_rank"} & parts.keys():
            weights[name][part] = parts[part].ravel().tolist()
    found = task["feature_summary"]
    return {
        "answers": json.loads(about.get("piggyback.answers", "null")),
        "classes": task["classes"],
        "weights": weights,
        "norms": {module: plain(norm) for module, norm in task["norms"].items()},
        "head": dict(zip(["weight", "bias"], map(plain, task["head"]))),
        "feature_summary": None if found is None else plain(found),
        "fingerprint": json.loads(about["piggyback.backbone"])["fingerprint"],
        "digest": about["piggyback.digest"],
        "training": canonical(json.loads(about["piggyback.training"])),
    }


if __name__ == "__main__":
    listed = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(summary(sys.argv[1], listed)))
