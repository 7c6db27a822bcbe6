"""From a task's packed bits to its network, beside a memory copy, in turn.

    python task_switch.py measure BENCH PIGGYBACK FOLDER ROUNDS THREADS ARCH TIMES

BENCH is piggyback-bench, which switches TIMES times and copies as many bytes in between; FOLDER takes
the checkpoint. Prints one JSON object: the seconds of every switch and of every copy. Progress goes to
stderr.
"""

import json
import subprocess
import sys
from pathlib import Path

import peer


def measure(bench, _piggyback, folder, rounds, threads, arch, times):
    folder = Path(folder)
    subprocess.run([sys.executable, __file__, "make", folder, arch], check=True)
    command = [bench, "--threads", threads, "switch", folder / f"{arch}.safetensors", "--times", times]
    row, told = peer.in_turn(f"task switch, {arch}", {"ours": command}, rounds)
    copies = [seconds for one in told["ours"] for seconds in one["copy_seconds"]]
    row["programs"]["memory-copy"] = {"seconds": copies, "memory_bytes": []}
    print(json.dumps({**row, "bytes": told["ours"][0]["bytes"]}))


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "make":
        peer.make_networks(Path(arguments[0]), [arguments[1]])
    else:
        measure(*arguments)
