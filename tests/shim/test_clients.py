"""Programs as users write them, by every door: three times the VRAM, all of it right, nothing left."""

import json
import re
import sys
from pathlib import Path

import pytest
from harness import BUILD, CLIENTS, SANITIZER_RUNTIME, SHIM, Ended, run

VRAM = 64 << 20
CARD = {"FAKECUDA_VRAM": "64MiB"}
SCRIPTS = Path(__file__).parent / "clients"
DOORS = ["linked", "dlopened", "deepbind", "proc_address", "proc_address_v1", "rtld_default"]
if SANITIZER_RUNTIME:
    DOORS.remove("deepbind")  # the sanitizers' runtimes end a program that uses RTLD_DEEPBIND
KINDS = ["malloc", "pitch", "async", "async_ptsz", "pool", "pool_ptsz"]
BINDINGS_12 = BUILD / "bindings-12"


def assert_clean(ended: Ended) -> None:
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1].startswith("ok"), ended.out
    assert ended.report["violations"] == []
    assert ended.held() == {}
    assert ended.report["pool_bytes"] == 0


def checksum(ended: Ended) -> str:
    return re.search(r"checksum=(\w+)", ended.out)[1]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_client_by_each_door_overflows_and_is_right(tmp_path, door, fallback):
    program = str(CLIENTS / door)
    expected = run([program, "--vram", "64MiB"], tmp_path, shim=False, FAKECUDA_VRAM="1GiB")
    assert_clean(expected)
    ended = run([program, "--vram", "64MiB"], tmp_path, fallback=fallback, **CARD)
    assert_clean(ended)
    assert checksum(ended) == checksum(expected)
    assert ended.calls("cuMemHostRegister_v2" if fallback == "host" else "cuMemAllocManaged") > 0


@pytest.mark.parametrize("door", DOORS)
def test_client_by_each_door_without_the_shim_runs_out(tmp_path, door):
    ended = run([str(CLIENTS / door), "--vram", "64MiB"], tmp_path, shim=False, **CARD)
    assert ended.code == 1
    assert "ok" not in ended.out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("defer", ["0", "3"])
def test_client_by_each_kind_of_allocation_overflows(tmp_path, kind, defer):
    assert_clean(run([str(CLIENTS / "proc_address"), "--vram", "64MiB", kind], tmp_path, FAKECUDA_DEFER=defer, **CARD))


def test_client_behind_another_interposer_finds_its_next(tmp_path):
    """(4)"""
    preload = ":".join(filter(None, [SANITIZER_RUNTIME, str(SHIM), str(CLIENTS / "rtld_next_find.so")]))
    ended = run([str(CLIENTS / "rtld_next"), "--vram", "64MiB"], tmp_path, LD_PRELOAD=preload, **CARD)
    assert_clean(ended)
    assert "next cuMemAlloc_v2: libcuda.so.1" in ended.out


def test_plain_program_prints_the_same_with_and_without(tmp_path):
    """(17)"""
    outputs = [run([str(CLIENTS / "plain")], tmp_path, shim=shim, log="debug") for shim in (False, True)]
    assert outputs[0].code == outputs[1].code == 0
    assert (outputs[0].out, outputs[0].err) == (outputs[1].out, outputs[1].err)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_threads_at_random_leave_nothing(tmp_path, seed, fallback):
    ended = run([str(CLIENTS / "threads"), "--vram", "64MiB", "--seed", seed], tmp_path, fallback=fallback, **CARD)
    assert_clean(ended)


@pytest.mark.parametrize("devices", ["1", "2"])
def test_contexts_ended_with_live_blocks_go_on(tmp_path, devices):
    """(38), (44)"""
    ended = run([str(CLIENTS / "contexts"), "--vram", "64MiB"], tmp_path, FAKECUDA_DEVICES=devices, **CARD)
    assert_clean(ended)


def test_capture_with_allocations_is_replayed(tmp_path):
    """(31)"""
    assert_clean(run([str(CLIENTS / "capture"), "--vram", "64MiB"], tmp_path, **CARD))


@pytest.mark.parametrize("mode", ["before", "after", "busy", "exec"])
def test_fork_in_each_mode_ends_well(tmp_path, mode):
    """(35)"""
    assert_clean(run([str(CLIENTS / "forks"), "--vram", "64MiB", mode], tmp_path, **CARD))


@pytest.mark.parametrize("defer", ["0", "1", "7"])
def test_stream_order_is_kept(tmp_path, defer):
    """(34)"""
    assert_clean(run([str(CLIENTS / "stream_order"), "--vram", "64MiB"], tmp_path, FAKECUDA_DEFER=defer, **CARD))


def test_million_small_blocks_are_served(tmp_path):
    ended = run([str(CLIENTS / "many"), "--count", "1000000", "--size", "256"], tmp_path, FAKECUDA_VRAM="1GiB")
    assert_clean(ended)


def python_client(name, tmp_path, *arguments, path=None, **settings):
    environment = {**settings, **CARD}
    if path:
        environment["PYTHONPATH"] = str(path)
    return run([sys.executable, str(SCRIPTS / name), *arguments], tmp_path, **environment)


@pytest.mark.python_client
@pytest.mark.parametrize("name", ["bindings_overflow.py", "core_overflow.py", "numba_copies.py"])
@pytest.mark.parametrize("fallback", ["host", "managed"])
def test_python_client_overflows_and_is_right(tmp_path, name, fallback):
    ended = python_client(name, tmp_path, str(VRAM), fallback=fallback)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("ok")
    assert ended.report["violations"] == []
    assert ended.held() == {}


@pytest.mark.python_client
def test_python_client_of_cuda_bindings_12_overflows(tmp_path):
    assert BINDINGS_12.exists(), "run `make test`"
    ended = python_client("bindings_overflow.py", tmp_path, str(VRAM), path=BINDINGS_12)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("ok")
    assert ended.held() == {}


@pytest.mark.python_client
@pytest.mark.parametrize(
    "settings", [{}, {"vram_limit": "32MiB"}, {"advertise": "96MiB"}, {"vram_limit": "32MiB", "advertise": "96MiB"}]
)
def test_nvml_and_the_driver_agree(tmp_path, settings):
    ended = python_client("nvml_memory.py", tmp_path, str(20 << 20), **settings)
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    driver = told["driver"]
    assert driver["total"] == told["device_total"] == told["nvml"]["total"] == told["nvml_v2"]["total"]
    assert driver["free"] == told["nvml"]["free"] == told["nvml_v2"]["free"] <= driver["total"]
    assert told["nvml"]["used"] == driver["total"] - driver["free"]
    limit = 32 << 20 if "vram_limit" in settings else VRAM
    assert driver["total"] == limit + (96 << 20 if "advertise" in settings else 0)


@pytest.mark.python_client
def test_nvml_order_that_differs_from_cudas_is_told_apart(tmp_path):
    ended = python_client(
        "nvml_memory.py", tmp_path, str(20 << 20), vram_limit="32MiB", FAKECUDA_DEVICES="2", FAKECUDA_NVML_REVERSED="1"
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["nvml"]["total"] == told["driver"]["total"]
