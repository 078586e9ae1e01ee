import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenboost_py.sensors.nvml import NvidiaGpu, NvidiaProcess, NvmlError, NvmlReading, NvmlSource
from greenboost_py.sensors.nvml_session import NvmlSession

MakeSource = Callable[..., NvmlSource]

GIB = 1 << 30

CODES = {
    "UNINITIALIZED": 1,
    "NOT_SUPPORTED": 3,
    "NO_PERMISSION": 4,
    "INSUFFICIENT_SIZE": 7,
    "DRIVER_NOT_LOADED": 9,
    "LIBRARY_NOT_FOUND": 12,
    "FUNCTION_NOT_FOUND": 13,
    "GPU_IS_LOST": 15,
    "LIB_RM_VERSION_MISMATCH": 18,
    "UNKNOWN": 999,
}

LONG_S = 600.0
"""A deadline that nothing here comes near."""


class FakeNvmlError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name.replace("_", " ").lower())
        self.value = CODES[name]


class FakeNvml:
    """Stands in for pynvml: two GPUs, and for every call what it does instead, by name, or by name and index."""

    NVMLError = FakeNvmlError

    def __init__(self) -> None:
        self.failures: dict[str | tuple[str, int], str] = {}
        self.opened = self.closed = 0
        self.threads: set[int] = set()
        self.hang: threading.Event | None = None
        self.hanging = threading.Event()
        self.used = [1 * GIB, 2 * GIB]
        self.compute: list[list[tuple[int, int | None]]] = [[(10, 7), (11, None)], []]
        self.graphics: list[list[tuple[int, int | None]]] = [[(10, 7), (12, 3)], [(10, 5)]]
        for name, code in CODES.items():
            setattr(self, f"NVML_ERROR_{name}", code)

    def _enter(self, call: str, index: int = -1) -> None:
        self.threads.add(threading.get_ident())
        if self.hang is not None:
            self.hanging.set()
            self.hang.wait()
        failure = self.failures.get(call) or self.failures.get((call, index))
        if failure:
            raise FakeNvmlError(failure)

    def nvmlInit(self) -> None:  # noqa: N802
        self._enter("init")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.closed += 1
        self._enter("shutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._enter("count")
        return len(self.used)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self._enter("handle", index)
        return index

    def nvmlDeviceGetPciInfo(self, handle: int) -> Any:  # noqa: N802
        self._enter("pci", handle)
        return SimpleNamespace(busId=f"00000000:{0x41 + handle:02X}:00.0")

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        self._enter("uuid", handle)
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        self._enter("name", handle)
        return f"Model {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        self._enter("memory", handle)
        return SimpleNamespace(total=8 * GIB, used=self.used[handle], free=8 * GIB - self.used[handle])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        self._enter("compute", handle)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.compute[handle]]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        self._enter("graphics", handle)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.graphics[handle]]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def gpu(index: int, used_bytes: int) -> NvidiaGpu:
    address = f"0000:{0x41 + index:02x}:00.0"
    return NvidiaGpu(index, f"GPU-{index}", address, f"Model {index}", 8 * GIB, used_bytes, 8 * GIB - used_bytes)


GPUS = (gpu(0, GIB), gpu(1, 2 * GIB))

PROCESSES = (
    NvidiaProcess(10, "0000:41:00.0", 7),
    NvidiaProcess(10, "0000:42:00.0", 5),
    NvidiaProcess(11, "0000:41:00.0", None),
    NvidiaProcess(12, "0000:41:00.0", 3),
)


@pytest.fixture
def api() -> Iterator[FakeNvml]:
    fake = FakeNvml()
    yield fake
    if fake.hang is not None:
        fake.hang.set()


@pytest.fixture
def make_source(api: FakeNvml) -> Iterator[MakeSource]:
    """A function that makes a source over `api`; at the end their threads are let go, and have to be gone."""
    sources = []

    def make(deadline_s: float, clock: Callable[[], float] = time.monotonic) -> NvmlSource:
        sources.append(NvmlSource(deadline_s, api, clock))
        return sources[-1]

    yield make
    if api.hang is not None:
        api.hang.set()
    for source in sources:
        source.close()
    eventually(lambda: nvml_threads() == 0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def eventually(look: Callable[[], bool]) -> None:
    """Waits for what another thread will do; how long it takes does not matter, only that it comes."""
    for _ in range(6000):
        if look():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about within a minute")


def nvml_threads() -> int:
    return sum(thread.name == "nvml" for thread in threading.enumerate())


# The session: what is asked, and what becomes of errors.


def test_look_has_every_gpu_and_every_process_once(api: FakeNvml, clock: Clock) -> None:
    assert NvmlSession(api, clock).look() == NvmlReading(GPUS, PROCESSES, at_s=100.0)


def test_look_begins_the_session_once(api: FakeNvml, clock: Clock) -> None:
    session = NvmlSession(api, clock)
    session.look()
    api.used[0] = 3 * GIB
    assert session.look().gpus[0] == gpu(0, 3 * GIB)
    assert (api.opened, api.closed) == (1, 0)
    session.end()
    session.end()
    assert (api.opened, api.closed) == (1, 1)


@pytest.mark.parametrize("failure", ["NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND"])
@pytest.mark.parametrize("call", ["handle", "pci", "uuid", "name", "memory"])
def test_look_leaves_out_a_gpu_that_does_not_tell_without_calling_it_a_fault(
    api: FakeNvml, clock: Clock, call: str, failure: str
) -> None:
    api.failures[call, 0] = failure
    session = NvmlSession(api, clock)
    for _ in range(3):
        reading = session.look()
        assert (reading.gpus, reading.error) == (GPUS[1:], None)
        assert reading.left_out == (f"GPU 0: {failure.replace('_', ' ').lower()}",)
        assert [process.pci_address for process in reading.processes] == ["0000:42:00.0"]
        clock.now_s += 1000
    assert (api.opened, api.closed) == (1, 0)


@pytest.mark.parametrize("failure", ["NOT_SUPPORTED", "INSUFFICIENT_SIZE", "UNKNOWN"])
@pytest.mark.parametrize("call", ["compute", "graphics"])
def test_look_keeps_a_gpu_whose_processes_are_not_told(api: FakeNvml, clock: Clock, call: str, failure: str) -> None:
    api.failures[call, 1] = failure
    reading = NvmlSession(api, clock).look()
    assert (reading.gpus, reading.error) == (GPUS, None)
    assert reading.left_out == (f"GPU 1: its processes: {failure.replace('_', ' ').lower()}",)
    assert {process.pci_address for process in reading.processes} == {"0000:41:00.0"}


@pytest.mark.parametrize("failure", ["GPU_IS_LOST", "UNKNOWN"])
def test_look_of_a_lost_gpu_is_an_error_keeps_the_others_and_begins_anew(
    api: FakeNvml, clock: Clock, failure: str
) -> None:
    session = NvmlSession(api, clock)
    session.look()
    api.failures["memory", 1] = failure
    for wait_s in (1, 2, 4, 8, 16, 32, 60, 60):
        opened = api.opened
        for elapsed_s in (0, wait_s / 2):
            clock.now_s += elapsed_s
            reading = session.look()
            assert reading.gpus == GPUS[:1]
            assert isinstance(reading.error, NvmlError)
            assert "GPU 1: " in str(reading.error)
            assert api.opened == opened
        clock.now_s += wait_s / 2
        session.look()
        assert (api.opened, api.closed) == (opened + 1, opened)
    api.failures.clear()
    clock.now_s += 60
    assert session.look() == NvmlReading(GPUS, PROCESSES, at_s=clock.now_s)


@pytest.mark.parametrize("failure", ["UNINITIALIZED", "DRIVER_NOT_LOADED", "LIB_RM_VERSION_MISMATCH"])
@pytest.mark.parametrize("call", ["count", ("handle", 1), ("memory", 0), ("compute", 1), ("graphics", 0)])
def test_look_of_a_driver_that_vanished_is_an_error_until_it_is_back(
    api: FakeNvml, clock: Clock, call: str | tuple[str, int], failure: str
) -> None:
    session = NvmlSession(api, clock)
    if call != ("handle", 1):  # asked for once in a session
        session.look()
    api.failures[call] = failure
    reading = session.look()
    assert (reading.gpus, reading.processes) == ((), ())
    assert str(reading.error) == f"NVML: {failure.replace('_', ' ').lower()}"
    api.failures = {"init": "DRIVER_NOT_LOADED"}
    assert session.look() is reading  # not asked before the wait is over
    clock.now_s += 1.0
    assert str(session.look().error) == "NVML: driver not loaded"
    api.failures.clear()
    assert session.look().error is not None
    clock.now_s += 2.0
    assert session.look() == NvmlReading(GPUS, PROCESSES, at_s=clock.now_s)
    assert (api.opened, api.closed) == (2, 1)


def test_look_after_a_driver_came_back_knows_its_gpus_anew(
    api: FakeNvml, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = NvmlSession(api, clock)
    session.look()
    api.failures["count"] = "UNINITIALIZED"
    session.look()
    api.failures.clear()
    monkeypatch.setattr(api, "nvmlDeviceGetName", lambda handle: "another")
    clock.now_s += 1.0
    assert {found.name for found in session.look().gpus} == {"another"}


def test_look_waits_anew_from_the_beginning_after_a_success(api: FakeNvml, clock: Clock) -> None:
    session = NvmlSession(api, clock)
    for _ in range(2):
        api.failures["init"] = "DRIVER_NOT_LOADED"
        session.end()
        assert session.look().error is not None
        api.failures.clear()
        clock.now_s += 1.0
        assert session.look().error is None


def test_look_of_a_driver_whose_shutdown_fails_goes_on(api: FakeNvml, clock: Clock) -> None:
    session = NvmlSession(api, clock)
    session.look()
    api.failures = {"count": "UNINITIALIZED", "shutdown": "UNINITIALIZED"}
    assert session.look().error is not None
    api.failures.clear()
    clock.now_s += 1.0
    assert session.look().gpus == GPUS


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("nvmlDeviceGetPciInfo", SimpleNamespace(busId="nowhere")),
        ("nvmlDeviceGetMemoryInfo", SimpleNamespace(total=0, used=0, free=0)),
    ],
)
def test_look_of_a_gpu_that_makes_no_sense_leaves_it_out(
    api: FakeNvml, clock: Clock, monkeypatch: pytest.MonkeyPatch, method: str, answer: Any
) -> None:
    monkeypatch.setattr(api, method, lambda handle: answer)
    reading = NvmlSession(api, clock).look()
    assert (reading.gpus, reading.error) == ((), None)
    assert len(reading.left_out) == 2


def test_look_of_a_name_that_is_no_text_leaves_the_gpu_out(
    api: FakeNvml, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "nvmlDeviceGetName", lambda handle: b"\xff".decode() if handle else "Model 0")
    reading = NvmlSession(api, clock).look()
    assert (reading.gpus, reading.error) == (GPUS[:1], None)
    assert len(reading.left_out) == 1


def test_look_never_says_more_is_used_or_free_than_there_is(
    api: FakeNvml, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = SimpleNamespace(total=5, used=2**64 - 1, free=7)
    monkeypatch.setattr(api, "nvmlDeviceGetMemoryInfo", lambda handle: answer)
    assert {(found.used_bytes, found.free_bytes) for found in NvmlSession(api, clock).look().gpus} == {(5, 5)}


# The source: one thread, and a deadline.


def test_read_asks_in_one_thread_that_is_not_the_callers(api: FakeNvml, make_source: MakeSource) -> None:
    source = make_source(LONG_S)
    for used in (GIB, 3 * GIB):
        api.used[0] = used
        reading = source.read()
        assert (reading.gpus, reading.is_stale, reading.error) == ((gpu(0, used), GPUS[1]), False, None)
    source.close()
    assert len(api.threads) == 1
    assert threading.get_ident() not in api.threads
    assert (api.opened, api.closed) == (1, 1)


def test_poll_answers_at_once_with_what_was_read_before(api: FakeNvml, make_source: MakeSource) -> None:
    source = make_source(LONG_S)
    api.hang = threading.Event()
    assert source.poll() == NvmlReading()
    assert source.poll() == NvmlReading()  # one is under way, and not overdue
    api.hang.set()
    eventually(lambda: source.poll().gpus == GPUS)
    api.used[0] = 3 * GIB
    eventually(lambda: source.poll().gpus[0] == gpu(0, 3 * GIB))
    source.close()
    assert len(api.threads) == 1


def test_poll_of_a_hanging_driver_is_stale_after_the_deadline(
    api: FakeNvml, clock: Clock, make_source: MakeSource
) -> None:
    source = make_source(2.0, clock)
    source.poll()
    eventually(lambda: source.poll().gpus == GPUS)
    api.hang = threading.Event()
    eventually(lambda: not source.poll().is_stale and api.hanging.is_set())
    clock.now_s += 1.0
    assert not source.poll().is_stale
    clock.now_s += 1.0
    reading = source.poll()
    assert (reading.gpus, reading.is_stale, reading.at_s) == (GPUS, True, 100.0)
    assert str(reading.error) == "NVML: NVIDIA's driver has not answered within 2 s"
    api.hang.set()
    eventually(lambda: not source.poll().is_stale)
    source.close()


def test_read_of_a_hanging_driver_is_stale_and_recovers_when_it_answers(api: FakeNvml, make_source: MakeSource) -> None:
    source = make_source(0.01)
    eventually(lambda: source.read().gpus == GPUS and not source.read().is_stale)
    api.hang = threading.Event()
    readings = [source.read() for _ in range(5)]
    assert {(reading.gpus, reading.is_stale, type(reading.error)) for reading in readings} == {(GPUS, True, NvmlError)}
    assert nvml_threads() == 1
    api.used[1] = 4 * GIB
    api.hang.set()
    eventually(lambda: source.read().gpus == (GPUS[0], gpu(1, 4 * GIB)))
    eventually(lambda: not source.read().is_stale)
    source.close()
    assert len(api.threads) == 1


def test_read_of_a_driver_that_hangs_from_the_start_has_nothing_but_an_error(
    api: FakeNvml, make_source: MakeSource
) -> None:
    api.hang = threading.Event()
    source = make_source(0.01)
    for _ in range(3):
        reading = source.read()
        assert (reading.gpus, reading.is_stale, reading.at_s) == ((), True, None)
        assert reading.error is not None


def test_read_that_is_overdue_is_not_waited_for_again(api: FakeNvml, clock: Clock, make_source: MakeSource) -> None:
    # A deadline that the test would not outlast: a second wait would show.
    source = make_source(LONG_S, clock)
    api.hang = threading.Event()
    source.poll()
    clock.now_s += LONG_S + 1
    assert source.read().is_stale


def test_close_does_not_wait_for_a_stuck_thread(api: FakeNvml, clock: Clock, make_source: MakeSource) -> None:
    source = make_source(LONG_S, clock)
    api.hang = threading.Event()
    source.poll()
    clock.now_s += LONG_S + 1
    source.close()
    assert source.read().is_stale
    assert api.closed == 0


def test_close_of_a_stuck_thread_ends_it_once_the_driver_answers(
    api: FakeNvml, clock: Clock, make_source: MakeSource
) -> None:
    source = make_source(LONG_S, clock)
    api.hang = threading.Event()
    source.poll()
    eventually(api.hanging.is_set)
    clock.now_s += LONG_S + 1
    source.close()
    api.hang.set()
    eventually(lambda: api.closed == 1)


def test_close_of_a_source_that_was_never_asked_starts_nothing(api: FakeNvml, make_source: MakeSource) -> None:
    source = make_source(LONG_S)
    source.close()
    source.close()
    assert source.read() == source.poll() == NvmlReading()
    assert nvml_threads() == 0
    assert api.threads == set()


def test_close_ends_the_thread_and_later_reads_answer_the_last(api: FakeNvml, make_source: MakeSource) -> None:
    source = make_source(LONG_S)
    reading = source.read()
    source.close()
    assert nvml_threads() == 0
    assert source.read() == source.poll() == reading


# The real binding, in a process of its own.

CHILD = """
import ctypes, json, os, sys
if len(sys.argv) > 1:
    driver, context, pointer = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
    assert driver.cuInit(0) == driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert driver.cuCtxSetCurrent(context) == 0
    assert driver.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(int(sys.argv[1]))) == 0
from greenboost_py.sensors.nvml import NvmlSource
source = NvmlSource(600.0)
reading = source.read()
source.close()
print(json.dumps({
    "gpus": [[g.index, g.uuid, g.pci_address, g.name, g.total_bytes, g.used_bytes, g.free_bytes] for g in reading.gpus],
    "processes": [[p.pid == os.getpid(), p.pci_address, p.used_bytes] for p in reading.processes], "left_out": reading.left_out, "error": reading.error and str(reading.error),
    "stale": reading.is_stale, "imported": "pynvml" in sys.modules,
}))
"""


def ask(libraries: Path | None, *arguments: str, **settings: str) -> Any:
    """What a process says that reads once, with the libraries of a folder and no others that the caller has set."""
    environment = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "LD_PRELOAD")}
    environment |= {"LD_LIBRARY_PATH": str(libraries)} if libraries else {}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG_S,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def fake_driver(build_dir: Path) -> Path:
    folder = build_dir / "fake_driver"
    if not (folder / "libnvidia-ml.so.1").exists():
        pytest.skip(f"no simulated driver in {folder}: make test-artifacts")
    return folder


def test_read_of_the_simulated_driver_has_its_gpus(fake_driver: Path) -> None:
    said = ask(fake_driver, FAKECUDA_DEVICES="2", FAKECUDA_VRAM="3GiB", FAKECUDA_NVML_RESERVED=str(1 << 20))
    assert [(row[0], row[2], row[4:]) for row in said["gpus"]] == [
        (0, "0000:41:00.0", [3 * GIB, 1 << 20, 3 * GIB - (1 << 20)]),
        (1, "0000:61:00.0", [3 * GIB, 1 << 20, 3 * GIB - (1 << 20)]),
    ]
    assert all(row[1].startswith("GPU-") and row[3] for row in said["gpus"])
    assert said["gpus"][0][1] != said["gpus"][1][1]
    assert (said["processes"], said["left_out"], said["error"], said["stale"]) == ([], [], None, False)


def test_read_of_the_simulated_driver_has_who_holds_memory(fake_driver: Path) -> None:
    said = ask(fake_driver, str(20 << 20), FAKECUDA_VRAM="1GiB")
    assert said["processes"] == [[True, "0000:41:00.0", 20 << 20]]
    assert said["gpus"][0][4:] == [1 * GIB, 20 << 20, GIB - (20 << 20)]


def test_read_of_the_simulated_driver_that_is_not_loaded_is_an_error(fake_driver: Path) -> None:
    said = ask(fake_driver, FAKECUDA_DEVICES="0")
    assert (said["gpus"], said["error"]) == ([], "NVML: Driver Not Loaded")


def test_read_where_there_is_no_library_finds_nothing_and_imports_nothing() -> None:
    said = ask(None)
    if said["imported"]:
        pytest.skip("this machine has libnvidia-ml.so.1")
    assert said == {"gpus": [], "processes": [], "left_out": [], "error": None, "stale": False, "imported": False}


def test_read_of_a_library_that_is_broken_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not an ELF file")
    said = ask(tmp_path)
    assert said["gpus"] == []
    assert said["error"].startswith("libnvidia-ml.so.1 cannot be loaded: ")
    assert not said["imported"]
