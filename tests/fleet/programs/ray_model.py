"""What the Ray programs of test_ray.py begin with: an actor that is a CUDA program, and how they answer."""

import json
import os
import subprocess
import time
from pathlib import Path

import ray

MIB = 1 << 20
NODES = {"head": "10.77.0.1", "worker": "10.77.0.2"}
ANSWER, PAUSED = Path("/root/answer.json"), Path("/root/paused")


def connect():
    ray.init("auto", log_to_driver=False)


def answer(value):
    ANSWER.write_text(json.dumps(value))


def pause():
    """Lets the test do something, and waits until it has."""
    PAUSED.touch()
    while PAUSED.exists():
        time.sleep(0.05)


def on(node):
    """The options that place something on a node."""
    return {"resources": {f"node:{NODES[node]}": 0.001}}


def status():
    """What `greenboost status --json` says on this node."""
    return json.loads(subprocess.run(("greenboost", "status", "--json"), capture_output=True, check=True).stdout)


def look():
    """Who and where this process is, and what it was given."""
    prefixes = ("GREENBOOST_", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES")
    return {
        "pid": os.getpid(),
        "node": os.uname().nodename,
        "gpus": ray.get_gpu_ids(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith(prefixes)},
    }


class Model:
    """A CUDA program as an actor; it holds `size` bytes to begin with."""

    def __init__(self, size=0):
        import cuda_program  # libcuda, which the driver of a job need not have

        self.cuda = cuda_program
        self.context = cuda_program.init(primary=True)
        self.blocks = [cuda_program.alloc(size)] if size else []

    def look(self):
        return look()

    def take(self, size):
        """Holds so many bytes more; returns the driver's code."""
        try:
            self.blocks.append(self.cuda.alloc(size))
        except self.cuda.CudaError as error:
            return error.code
        return 0

    def take_and_give(self, size):
        """Takes so much and gives it back, without end."""
        while True:
            self.cuda.free(self.cuda.alloc(size))

    def books(self):
        """What is on this node's books: this process' page, its lease, and how many lease."""
        found = status()
        (program,) = (each for each in found["programs"] if each["pid"] == os.getpid())
        leases = (found["daemon"] or {}).get("leases", {"programs": [], "clients": 0})
        own = [each["held_bytes"] for each in leases["programs"] if each["pid"] == os.getpid()]
        return look() | {
            "program": program,
            "tiers": {name: tier["bytes"] for name, tier in program["devices"][0]["tiers"].items() if tier["bytes"]},
            "leased": own,
            "clients": leases["clients"],
        }


def start(field=True, size=0, runtime_env=None, num_gpus=1, **options):
    """Starts the actor, with a card to itself, and this in the field; of CPUs there are few here."""
    remote = ray.remote(Model).options(
        num_cpus=0,
        num_gpus=num_gpus,
        runtime_env={"greenboost": field} if runtime_env is None else runtime_env,
        **options,
    )
    return remote.remote(size)
