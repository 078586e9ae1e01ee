"""Ray's cluster of the page, of real nodes: each a place with the simulated driver's card, the daemon, and what `ray start` starts."""

import json
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bed.installed import OPT
from bed.place import Place, PlaceError, Switch, new_place, new_switch
from bed.steps import step
from bed.wait import DEADLINE_S, wait_until
from harness.cache import Cache

OPT_RAY = "/opt/ray"
VRAM = 64 << 20
"""Of the one card that each node has, in bytes."""

NODES_PRELOAD = "libm.so.6"
"""What a node's own environment has in LD_PRELOAD; any library will do."""

_SETTINGS = {
    "FAKECUDA_VRAM": str(VRAM),
    "LD_PRELOAD": NODES_PRELOAD,
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(80 << 20),
    "RUNTIME_ENV_RETRY_TIMES": "1",  # one that cannot be set up is not tried again; Ray tries three times
    # A node that has gone is missed within seconds; Ray gives it half a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
}


def get_ray(cache: Cache, wheel: Path) -> Path:
    """What is in /opt/ray after the page's step, from the cache or made now, out of the package registry."""
    ingredients = (wheel.read_bytes().hex(), sys.version, step("ray"))
    return cache.made("ray", ingredients, lambda folder: _install(wheel, folder))


def _install(wheel: Path, folder: Path) -> None:
    with new_place("installing", folders={OPT_RAY: folder}, online=True) as place:
        place.run(f"cd {wheel.parents[2]}\n" + step("ray"), timeout_s=600)


@dataclass(slots=True)
class Cluster:
    """A cluster that runs. See `new_cluster`.

    Attributes:
        switch: its network.
        folders: what is bound into each node.
        environment: of Ray, of what Ray starts, and of the daemon.
        nodes: by their host names.
    """

    switch: Switch
    folders: dict[str, Path]
    environment: dict[str, str]
    nodes: dict[str, Place] = field(default_factory=dict)

    @contextmanager
    def node(self, name: str, joining: str) -> Iterator[Place]:
        """Makes a node with its daemon, and has it join by a step of the page."""
        with new_place(name, folders=self.folders, switch=self.switch) as place:
            place.run(step("link"))
            self.start_daemon(place)
            place.run(joining, environment=self.environment | {"head": "10.77.0.1"})
            self.nodes[name] = place
            try:
                yield place
            finally:
                del self.nodes[name]

    def start_daemon(self, place: Place) -> None:
        """Starts `greenboost daemon` on a node, and waits until it answers."""
        place.run("greenboost daemon </dev/null >>/run/daemon.log 2>&1 &", environment=self.environment)
        wait_until(lambda: self.status(place)["daemon"] is not None, "the daemon answers")

    def stop_daemon(self, place: Place) -> None:
        """Ends the daemon of a node, and waits until it is gone."""
        place.run(f"kill {self.status(place)['daemon']['pid']}")
        wait_until(lambda: self.status(place)["daemon"] is None, "the daemon is gone")

    def status(self, place: Place) -> dict[str, Any]:
        """What `greenboost status --json` says on a node; its status is 1 while a daemon starts or ends."""
        said = place.run("greenboost status --json", environment=self.environment, check=False)
        found: dict[str, Any] = json.loads(said.stdout)
        return found

    def drive(self, program: str, *meanwhile: Callable[[], object]) -> Any:
        """Runs a Ray program on the head, connected to the cluster, with all of programs/ray_model.py.

        Args:
            program: Python source; what it calls `answer` with is returned.
            meanwhile: called one after the other, each when the program calls `pause`.

        Raises:
            PlaceError: the program failed.
        """
        head = self.nodes["head"]
        source, paused, answer = (head.path(f"/root/{name}") for name in ("program.py", "paused", "answer.json"))
        source.write_text("from ray_model import *\nconnect()\n" + textwrap.dedent(program))
        command = f"exec {OPT_RAY}/bin/python /root/program.py >/root/said 2>&1"
        with head.start(command, environment=self.environment) as process:
            try:
                for act in meanwhile:
                    wait_until(lambda: paused.exists() or process.poll() is not None, "the program pauses")
                    if process.poll() is None:
                        act()
                        paused.unlink()
                process.wait(timeout=DEADLINE_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise PlaceError(f"{program}\n--- said\n{head.path('/root/said').read_text()}")
        found = json.loads(answer.read_text())
        answer.unlink()
        return found

    def wait_until_given_back(self, place: Place) -> None:
        """Waits until nobody on a node runs under GreenBoost, or leases anything."""

        def is_given_back() -> bool:
            status = self.status(place)
            return not status["programs"] and not any(
                status["daemon"]["leases"][key] for key in ("clients", "held_bytes")
            )

        wait_until(is_given_back, f"all is given back on {place.name}")


@contextmanager
def new_cluster(repository: Path, installed: Path, ray: Path) -> Iterator[Cluster]:
    """Makes a cluster of two nodes, `head` and `worker`, and takes it away again with all that runs there."""
    folders = {OPT: installed, OPT_RAY: ray}
    programs = (repository / "tests/fleet/programs", repository / "tests/shim/programs")
    environment = _SETTINGS | {
        "LD_LIBRARY_PATH": str(repository / "build/fake_driver"),
        "PYTHONPATH": ":".join(map(str, programs)),
    }
    with new_switch() as switch, ExitStack() as stack:
        cluster = Cluster(switch, folders, environment)
        stack.enter_context(cluster.node("head", step("ray-plugin") + step("ray-head")))
        stack.enter_context(cluster.node("worker", step("ray-plugin") + step("ray-worker")))
        yield cluster
