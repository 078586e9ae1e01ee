"""What `make demo` shows: a program asks for three times the card's memory, fails without GreenBoost, and runs with it.

usage: .venv/bin/python tests/demo/demo.py, in a checkout after `make build`

With an NVIDIA GPU in the machine it is that GPU, of which only a limit may be used; without one it is the simulated
driver that the tests use. The program is program.py beside this file: plain cuda.bindings. Exit 1 if anything is not
as said.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).resolve().with_name("program.py")
FAKE_DRIVER = ROOT / "build" / "fake_driver"
GREENBOOST = Path(sys.executable).with_name("greenboost")
MIB = 1 << 20
GIB = 1 << 30
BLOCKS = 7  # as in program.py
SECONDS_MAX = 300
IN_VRAM = "device"


def fail(reason: str) -> NoReturn:
    """The end: something is not as said."""
    print(f"\nNot as it should be: {reason}", file=sys.stderr)
    sys.exit(1)


def gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / GIB:.2f} GiB"


def available_memory() -> int:
    """Bytes of memory that this process may take: the machine's, or less in a container."""
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            available = min(available, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue  # no such cgroup, or no limit
    return max(available, 0)


def environment(extra: dict[str, str]) -> dict[str, str]:
    """This process' environment without what would change what is shown, and `extra`."""
    ours = ("GREENBOOST_", "FAKECUDA_")
    env = {k: v for k, v in os.environ.items() if k == "GREENBOOST_LIBRARY" or not k.startswith(ours)}
    paths = [path for path in env.pop("LD_LIBRARY_PATH", "").split(":") if path and Path(path).resolve() != FAKE_DRIVER]
    if "LD_LIBRARY_PATH" in extra:
        paths.insert(0, extra["LD_LIBRARY_PATH"])
    if paths:
        env["LD_LIBRARY_PATH"] = ":".join(paths)
    return {**extra, **env}


def real_gpu() -> str | None:
    """The name of this machine's own GPU 0, or None; asked in a process of its own, as a driver cannot be unloaded."""
    question = (
        "from cuda.bindings import driver as d\n"
        "import sys\n"
        "ok = int(d.cuInit(0)[0]) == 0 and int(d.cuDeviceGetCount()[1]) > 0\n"
        "sys.exit(1) if not ok else print(d.cuDeviceGetName(64, 0)[1].split(b'\\0')[0].decode())\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", question],
            env=environment({}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def expected_checksum(size: int) -> str:
    """What program.py must print, computed without any GPU."""
    checksum = 0
    per_block = size // BLOCKS // MIB
    for block in range(BLOCKS):
        content = random.Random(block).randbytes(MIB)
        for _ in range(per_block):
            checksum = zlib.crc32(content, checksum)
    return f"{checksum:08x}"


def show_command(command: list[str]) -> None:
    """The command as one would type it."""
    print("  $ " + " ".join(Path(word).name if word.startswith("/") else word for word in command))


def run_without(command: list[str], env: dict[str, str]) -> None:
    """The program must fail, and with the driver's own out of memory."""
    show_command(command)
    done = subprocess.run(
        command, env=environment(env), capture_output=True, text=True, timeout=SECONDS_MAX, input="\n", check=False
    )
    for line in done.stderr.splitlines():
        print(f"    {line}")
    if done.returncode == 0:
        fail("the program ran where it should have had too little memory")
    if "CUDA_ERROR_OUT_OF_MEMORY (2)" not in done.stderr:
        fail("the program failed, but not for lack of memory")


def device_of(pid: int) -> dict[str, Any]:
    """What `greenboost status` says that the process holds on device 0."""
    command = [str(GREENBOOST), "status", "--json", "--pid", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        fail(f"greenboost status: {done.stderr.strip()}")
    program: dict[str, Any] = json.loads(done.stdout)["programs"][0]
    device: dict[str, Any] = program["devices"][0]
    return device


def show_split(split: dict[str, int]) -> None:
    """Where the chunks of the allocations lie that VRAM could not hold whole: of one at least, in both."""
    print(f"    split:      {split['vram_chunks']} chunks in VRAM ({gib(split['vram_bytes'])}),", end=" ")
    print(f"{split['host_chunks']} chunks in host memory")
    if not split["vram_chunks"] or not split["host_chunks"]:
        fail("no allocation is split across VRAM and host memory")


def show_tiers(tiers: dict[str, dict[str, int]], size: int, vram: int) -> None:
    """The table, checked: all of it is somewhere, and no more in VRAM than there is."""
    print("    it holds:   tier          blocks        held")
    for name, tier in tiers.items():
        if tier["blocks"] or tier["bytes"]:
            print(f"                {name:<12}  {tier['blocks']:6}  {gib(tier['bytes']):>10}")
    held = sum(tier["bytes"] for tier in tiers.values())
    if held < size:
        fail(f"the tiers hold {held} bytes, the program has asked for {size}")
    if tiers[IN_VRAM]["bytes"] > vram:
        fail(f"{gib(tiers[IN_VRAM]['bytes'])} in VRAM, of which there are {gib(vram)}")
    if tiers[IN_VRAM]["bytes"] == held:
        fail("all of it is in VRAM: nothing was shown")


def run_with(command: list[str], env: dict[str, str], size: int, vram: int) -> None:
    """The program must run, and compute what it should."""
    show_command(command)
    with subprocess.Popen(
        command,
        env=environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin and program.stdout and program.stderr
        try:
            # The program says when it has all it wants, and waits.
            if program.stdout.readline().strip() != "holding":
                fail(f"the program did not get its memory: {program.stderr.read().strip()}")
            device = device_of(program.pid)
            show_tiers(device["tiers"], size, vram)
            show_split(device["split"])
            program.stdin.write("\n")
            program.stdin.flush()
            expected = expected_checksum(size)
            output, errors = program.communicate(timeout=SECONDS_MAX)
        except BaseException:
            program.kill()
            raise
    for line in errors.splitlines():
        print(f"    {line}")
    if program.returncode != 0:
        fail(f"the program exited with {program.returncode}")
    got = output.strip()
    print(f"    its checksum: {got}; computed without a GPU: {expected}")
    if got != expected:
        fail("the checksum is wrong")


def check_report(report: Path) -> None:
    """The simulated driver must have everything back."""
    try:
        held = json.loads(report.read_text())
    except (OSError, ValueError) as error:
        fail(f"the simulated driver's report: {error}")
    left = {name: held.get(name, 0) for name in ("device_bytes", "host_bytes", "registered_bytes", "managed_bytes")}
    if any(left.values()):
        fail(f"the driver still holds {left}")
    print("    afterwards the driver holds nothing")


def main() -> None:
    """Both runs."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    start = time.monotonic()
    if not GREENBOOST.exists():
        fail(f"{GREENBOOST} is missing: make build")
    vram = GIB
    available = available_memory()
    if available < 5 * GIB:
        vram = max(available // 5 // (64 * MIB) * 64 * MIB, 64 * MIB)
        print(f"Only {gib(available)} of memory are available: smaller by so much, {gib(vram)} for 1 GiB.")
    size = 3 * vram // BLOCKS // MIB * MIB * BLOCKS
    command = [sys.executable, str(PROGRAM), str(size)]
    greenboost = [str(GREENBOOST), "run"]

    gpu = real_gpu()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder  # what is shown is a first run
        report = Path(folder) / "report.json"
        if gpu:
            print(f"A CUDA program wants {gib(size)}; of this machine's {gpu} it may use {gib(vram)}.\n")
            env: dict[str, str] = {}
            limit = ["--vram-limit", str(vram)]
            print("Without GreenBoost's fallback:")
            run_without([*greenboost, *limit, "--fallback", "off", "--", *command], env)
        else:
            print(f"No NVIDIA GPU here: a simulated one of {gib(vram)}, and a CUDA program that wants {gib(size)}.\n")
            env = {"LD_LIBRARY_PATH": str(FAKE_DRIVER), "FAKECUDA_VRAM": str(vram), "FAKECUDA_REPORT": str(report)}
            limit = []
            if not (FAKE_DRIVER / "libcuda.so.1").exists():
                fail(f"{FAKE_DRIVER} is missing: make build")
            print("Without GreenBoost:")
            run_without(command, env)
        for title in ("With GreenBoost:", "Again: now it knows the total, and each block has its share of VRAM:"):
            print(f"\n{title}")
            report.unlink(missing_ok=True)
            run_with([*greenboost, *limit, "--", *command], env, size, vram)
            if not gpu:
                check_report(report)
    print(f"\nAs it should be. {time.monotonic() - start:.0f} s.")


if __name__ == "__main__":
    main()
