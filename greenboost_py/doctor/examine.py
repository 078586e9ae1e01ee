"""Gathers what the checks look at. Nothing of it waits for longer than agreed, needs root, or needs a GPU."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from greenboost_py.base import shim_files
from greenboost_py.base.ceilings import read_ceilings
from greenboost_py.base.errors import GreenboostError, LibraryError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.broker.client import find_status
from greenboost_py.doctor.cuda import DEADLINE_S, examine_cuda
from greenboost_py.doctor.examination import Examination
from greenboost_py.kernel_params.conflicts import find_conflicts
from greenboost_py.kernel_params.facts import read_facts
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.probe.results import read_results
from greenboost_py.sensors.cgroup import read_cgroup
from greenboost_py.sensors.numa import read_numa
from greenboost_py.sensors.nvidia_driver import read_nvidia_driver
from greenboost_py.sensors.nvml import NvmlReading, NvmlSource
from greenboost_py.sensors.overcommit import read_overcommit
from greenboost_py.sensors.pcie_link import read_pcie_gpus
from greenboost_py.sensors.preload import read_preload
from greenboost_py.sensors.ram import read_ram
from greenboost_py.sensors.rlimits import read_rlimits
from greenboost_py.sensors.swap import read_swap

_T = TypeVar("_T")

_NVML_DEADLINE_S = 10.0

_DAEMON_DEADLINE_S = 2.0

_UNIFIED_MEMORY = "GGML_CUDA_ENABLE_UNIFIED_MEMORY"


def examine(
    root: SysRoot,
    environment: Mapping[str, str],
    on_step: Callable[[str], None] = lambda _: None,
    cuda_deadline_s: float = DEADLINE_S,
) -> Examination:
    """Looks at everything once.

    Args:
        root: the machine.
        environment: the user's.
        on_step: called with what is asked next, where that may take seconds.
        cuda_deadline_s: for each of the two children that ask CUDA, in seconds.
    """
    errors: list[str] = []

    def tried(read: Callable[[SysRoot], _T]) -> _T | None:
        try:
            return read(root)
        except SensorError as error:
            errors.append(str(error))
            return None

    library, library_error = _library(environment)
    on_step("the daemon")
    daemon, daemon_error = _daemon(environment)
    on_step("NVML")
    nvml = _nvml()
    on_step("CUDA and the shim's tiers")
    cuda = examine_cuda(library, environment, cuda_deadline_s)
    facts = read_facts(Machine(root, is_live=True))
    examination = Examination(
        driver=tried(read_nvidia_driver),
        gpus=tried(read_pcie_gpus) or (),
        nvml=nvml,
        cuda=cuda,
        library=None if library is None else str(library),
        library_error=library_error,
        results=read_results(environment),
        ram=tried(read_ram),
        swap=tried(read_swap),
        cgroup=tried(read_cgroup),
        overcommit=tried(read_overcommit),
        rlimits=tried(read_rlimits),
        numa=tried(read_numa),
        preload=tried(lambda where: read_preload(where, environment)),
        facts=facts,
        conflicts=find_conflicts(facts, None),
        has_rdma=bool(tried(lambda where: where.names("sys/class/infiniband"))),
        daemon=daemon,
        daemon_error=daemon_error,
        unified_memory=environment.get(_UNIFIED_MEMORY),
        ceilings=tried(read_ceilings),
        settings={name: value for name, value in environment.items() if name.startswith("GREENBOOST_")},
    )
    # Each once: two readings may look at the same file.
    return dataclasses.replace(examination, errors=tuple(dict.fromkeys([*errors, *map(str, facts.errors)])))


def _library(environment: Mapping[str, str]) -> tuple[Path | None, str | None]:
    try:
        return shim_files.library(dict(environment)), None
    except LibraryError as error:
        return None, str(error)


def _daemon(environment: Mapping[str, str]) -> tuple[dict[str, Any] | None, str | None]:
    try:
        return find_status(environment, _DAEMON_DEADLINE_S), None
    except GreenboostError as error:
        return None, str(error)


def _nvml() -> NvmlReading:
    source = NvmlSource(_NVML_DEADLINE_S)
    try:
        return source.read()
    finally:
        source.close()
