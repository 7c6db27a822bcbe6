"""What the measurements beside PyTorch have in common: networks, running programs in turn, and whether
the machine was quiet meanwhile."""

import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

# Other processes may take this share of the CPU's time in a round that counts.
QUIET_SHARE = 0.05
# How often a round is measured at most, in the hope of a quiet one.
ATTEMPTS = 3

# What running a program took and what it printed.
Ran = namedtuple("Ran", "seconds memory_bytes cpu_seconds told")


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
    """Runs a program to its end; what it prints is JSON."""
    command = [str(argument) for argument in command]
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
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Ran(seconds, usage.ru_maxrss * unit, cpu_seconds, json.loads(output))


def in_turn(row, programs, rounds):
    """Runs every program once a round.

    `programs` has their commands by name; each prints {"seconds": [...]}, and may tell other things.
    Gives a row: the seconds of all rounds and the peak memory of each, by program, and how quiet the
    machine was; and what each program told, round by round.
    """
    quiet = Quiet()
    measured = {name: {"seconds": [], "memory_bytes": []} for name in programs}
    told = {name: [] for name in programs}
    for number in range(int(rounds)):
        for attempt in range(1, ATTEMPTS + 1):
            print(f"measuring: {row}, round {number + 1} of {rounds}", file=sys.stderr)
            ran, is_quiet = quiet.watch(lambda: {name: run(command) for name, command in programs.items()})
            if is_quiet:
                break
            again = "again" if attempt < ATTEMPTS else "KEPT ALL THE SAME"
            print(
                f"WARNING: other processes took {quiet.shares[-1]:.0%} of the CPU during this round: {again}",
                file=sys.stderr,
            )
        quiet.keep()
        for name, one in ran.items():
            measured[name]["seconds"] += one.told.pop("seconds")
            measured[name]["memory_bytes"].append(one.memory_bytes)
            told[name].append(one.told)
    return {"row": row, "programs": measured, "quiet": quiet.report()}, told


class Quiet:
    """Whether other processes disturb a measurement."""

    def __init__(self):
        self.load_before = os.getloadavg()[0]
        self.calibration_before = calibrate()
        self.calibrations = []
        # Of the CPU's time, taken by other processes, in every round that was measured.
        self.shares = []
        # The same of the rounds that count.
        self.kept = []

    def watch(self, work):
        """What `work`, which returns what ran, returned, and whether it was undisturbed."""
        busy, own, started = busy_seconds(), time.process_time(), time.perf_counter()
        ran = work()
        elapsed, own = time.perf_counter() - started, time.process_time() - own
        own += sum(one.cpu_seconds for one in ran.values())
        if busy is None:
            self.shares.append(None)
        else:
            others = busy_seconds() - busy - own
            self.shares.append(max(0.0, others / (elapsed * os.cpu_count())))
        self.calibrations.append(calibrate())
        return ran, self.shares[-1] is None or self.shares[-1] <= QUIET_SHARE

    def keep(self):
        """Counts the round that was watched last."""
        self.kept.append(self.shares[-1])

    def report(self):
        known = [share for share in self.kept if share is not None]
        return {
            "load_before": self.load_before,
            "calibration_before_seconds": self.calibration_before,
            "calibration_seconds": self.calibrations,
            "others_share": self.kept,
            "rounds_repeated": len(self.shares) - len(self.kept),
            "disturbed_rounds": sum(share > QUIET_SHARE for share in known),
        }


def busy_seconds():
    """Seconds that the CPUs of this machine were not idle since it started, stolen ones included; None
    where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, stat.read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def calibrate():
    """Seconds of a loop that always does the same, the best of three: what slows it slows the rest."""

    def loop():
        started = time.perf_counter()
        total = 0
        for number in range(500_000):
            total += number & 7
        return time.perf_counter() - started

    return min(loop() for _ in range(3))
