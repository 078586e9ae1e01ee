"""The list of checks: what is run, with which limit, and what is expected of it."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import build

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CLIENTS = ROOT / "tests" / "shim" / "clients"
MIB = 1 << 20
C_FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-pthread", f"-I{ROOT / 'shim'}"]
DOORS = ("linked", "dlopened", "deepbind", "proc_address", "proc_address_v1", "rtld_default", "rtld_next")
OWN = ("threads", "contexts", "capture", "forks", "stream_order", "many")
LINKED = ("linked", "rtld_default", "rtld_next")


@dataclass
class Check:
    """One check: a program that runs plain and under the shim, with the same results.

    Attributes:
        limit: GREENBOOST_VRAM_LIMIT of the run under the shim, in bytes.
        plain_command: where it differs from `command`.
        env: of both runs.
        shim_env: of the run under the shim only.
        preload: after the shim in LD_PRELOAD, and alone in the plain run.
        spills: memory outside VRAM is expected at every "held".
        splits: at every "held", chunks in VRAM and chunks in host memory are expected.
        moves: at every "held moved", chunks have moved.
        plain: whether there is a plain run at all.
        ours: the program is this project's: if it fails without the shim, that is a failure and not a skip.
        page: whether the shim must show a page; None: it must not.
        alone: nothing else may run on the card meanwhile.
        skip: why it cannot be run here.
    """

    name: str
    limit: int
    command: list[str]
    plain_command: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)
    shim_env: dict[str, str] = field(default_factory=dict)
    preload: str = ""
    spills: bool = True
    splits: bool = False
    moves: bool = False
    plain: bool = True
    ours: bool = True
    page: bool | None = True
    alone: bool = False
    seconds_max: float = 90
    skip: str = ""


def _stub_folder(work: Path, card: dict[str, Any]) -> Path:
    """A folder with a libcuda.so to link against: the driver itself."""
    folder = work / "stub"
    folder.mkdir(exist_ok=True)
    stub = folder / "libcuda.so"
    if not stub.exists():
        stub.symlink_to(card["libcuda"])
    return folder


def build_clients(work: Path, card: dict[str, Any]) -> dict[str, str]:
    """Compile the C clients into `work`; for each that could not be, why."""
    compiler = os.environ.get("CC") or next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if not compiler:
        return dict.fromkeys((*DOORS, *OWN), "no C compiler")
    stub = _stub_folder(work, card)

    def one(name: str) -> tuple[str, str]:
        sources = [CLIENTS / f"{name}.c", CLIENTS / "client.c"]
        sources += [CLIENTS / "overflow.c", CLIENTS / "content.c"] if name in DOORS else []
        # The driver's own needs are found when the program is loaded, as they are for any program.
        link = [f"-L{stub}", "-Wl,--allow-shlib-undefined", "-lcuda"] if name in LINKED else []
        command = [compiler, *C_FLAGS, "-o", str(work / name), *map(str, sources), *link, "-ldl"]
        return name, build(command, work / name)

    library = work / "rtld_next_find.so"
    source = CLIENTS / "rtld_next_find.c"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = dict(pool.map(one, (*DOORS, *OWN)))
    problems["rtld_next"] = problems["rtld_next"] or build(
        [compiler, *C_FLAGS, "-fPIC", "-shared", "-o", str(library), str(source), "-ldl"], library
    )
    return problems


def find_nvcc() -> str | None:
    """CUDA's compiler, also where it is not on the PATH."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("nvcc") or shutil.which("nvcc", path=str(Path(home) / "bin"))


def nvcc_libraries(nvcc: str) -> list[str]:
    """The folders in which nvcc finds libcudart.so."""
    done = subprocess.run([nvcc, "--dryrun", "-o", "x", "x.cu"], capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines():
        if line.startswith("#$ LIBRARIES="):
            folders = [word.strip('"')[2:] for word in line.split() if word.strip('"').startswith("-L")]
            return [folder for folder in folders if not folder.endswith("stubs")]
    return []


def build_forms(work: Path) -> tuple[dict[str, str], list[str]]:
    """Compile forms.cu in its four ways; the problems of each, and where the shared runtime is."""
    nvcc = find_nvcc()
    ways = [(kind, stream) for kind in ("shared", "static") for stream in ("legacy", "per-thread")]
    if not nvcc:
        return {f"{kind} {stream}": "no nvcc" for kind, stream in ways}, []

    def one(way: tuple[str, str]) -> tuple[str, str]:
        kind, stream = way
        made = work / f"forms_{kind}_{stream}"
        source = HERE / "programs" / "forms.cu"
        command = [nvcc, "-O2", "-std=c++17", "-cudart", kind, "--default-stream", stream, "-o", str(made), str(source)]
        return f"{kind} {stream}", build(command, made)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(pool.map(one, ways)), nvcc_libraries(nvcc)


def client_checks(work: Path, limit: int, problems: dict[str, str]) -> Iterator[Check]:
    """The C clients of tests/shim/clients. One of each kind of door in full, the rest smaller."""

    def client(name: str, vram: int, *words: str, title: str = "", **more: Any) -> Check:
        command = [str(work / name), "--vram", str(vram), "--slack", str(512 * MIB), *words]
        return Check(f"C: {title or name}", vram, command, skip=problems[name], alone=True, **more)

    for name in DOORS:
        vram = limit if name in ("linked", "proc_address") else limit // 8
        find = str(work / "rtld_next_find.so") if name == "rtld_next" else ""
        yield client(name, vram, "--times", "2.25", "--hold", preload=find)
    yield client("threads", limit // 2, "--times", "2", page=True)
    yield client("contexts", limit // 2, "--times", "2")
    yield client("capture", limit // 2, "--times", "2")
    yield client("stream_order", limit // 4, "--times", "2", "--count", "5")
    for mode in ("before", "after", "busy", "exec"):
        yield client("forks", limit // 8, mode, title=f"forks {mode}")
    yield client("many", limit, "--count", "100000", spills=False)


def runtime_checks(
    work: Path, limit: int, card: dict[str, Any], built: tuple[dict[str, str], list[str]]
) -> Iterator[Check]:
    """NVIDIA's own runtime library, in its four ways; then each fallback by force, refusal, and the kill switch."""
    problems, libraries = built
    search = ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).strip(":")
    env = {"LD_LIBRARY_PATH": search} if search else {}
    small = min(limit, 256 * MIB)

    def forms(title: str, way: str, size: int, mode: str = "all", **more: Any) -> Check:
        program = work / f"forms_{way.replace(' ', '_')}"
        found = {"skip": problems[way], **more}
        found["skip"] = problems[way] or more.get("skip", "")
        return Check(f"runtime: {title}", size, [str(program), str(size), mode], env=env, **found)

    yield forms("shared, legacy stream", "shared legacy", limit)
    yield forms("shared, per-thread stream", "shared per-thread", limit // 2)
    yield forms("static, legacy stream", "static legacy", limit // 2)
    yield forms("static, per-thread stream", "static per-thread", limit)
    way = "static legacy"
    for placement in ("interleave", "front"):
        settings = {"GREENBOOST_FALLBACK": "split", "GREENBOOST_PLACEMENT": placement, "GREENBOOST_CHUNK": "2MiB"}
        yield forms(f"fallback split, {placement}", way, small, shim_env=settings)
    yield forms("movable", way, small, shim_env={"GREENBOOST_MOVABLE": "1", "GREENBOOST_CHUNK": "8MiB"})
    yield forms("fallback host", way, small, shim_env={"GREENBOOST_FALLBACK": "host"})
    managed = "" if card["concurrent_managed"] else "the card has no concurrent managed access"
    yield forms("fallback managed", way, small, shim_env={"GREENBOOST_FALLBACK": "managed"}, skip=managed)
    yield forms("fallback off", way, small, "oom", shim_env={"GREENBOOST_FALLBACK": "off"}, plain=False, spills=False)
    yield forms("disabled", way, small, shim_env={"GREENBOOST_DISABLE": "1"}, spills=False, page=None)


def framework_checks(limit: int) -> Iterator[Check]:
    """PyTorch, CuPy, numba-cuda and JAX as this machine has them; NVML."""

    def program(title: str, file: str, module: str, *words: str, **more: Any) -> Check:
        # find_spec("numba.cuda") would import numba; what is asked for is on the top level.
        skip = "" if not module or importlib.util.find_spec(module) else f"no {module}"
        command = [sys.executable, str(HERE / "programs" / file), str(limit), *words]
        return Check(title, limit, command, skip=skip, **{"ours": False, **more})

    for conf in ("", "expandable_segments:True", "backend:cudaMallocAsync"):
        # The older name is still read by all versions.
        env = {"PYTORCH_CUDA_ALLOC_CONF": conf} if conf else {}
        yield program(f"PyTorch {conf or 'native'}", "torch_program.py", "torch", env=env)
    for title, settings in (
        ("interleaved", {}),
        ("front", {"GREENBOOST_PLACEMENT": "front", "GREENBOOST_CHUNK": "16MiB"}),
        ("movable", {"GREENBOOST_MOVABLE": "1", "GREENBOOST_CHUNK": "64MiB"}),
    ):
        more = {"shim_env": settings, "splits": True, "moves": True}
        yield program(f"PyTorch across chunks, {title}", "torch_chunks.py", "torch", **more)
    retry = {"GREENBOOST_RETRY_FIRST": "1"}
    yield program("PyTorch native, first refused", "torch_program.py", "torch", shim_env=retry)
    yield program("CuPy pool", "cupy_program.py", "cupy", "pool")
    yield program("CuPy cudaMallocAsync", "cupy_program.py", "cupy", "async")
    yield program("numba-cuda", "numba_program.py", "numba")
    jax = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    platform = {**jax, "XLA_PYTHON_CLIENT_ALLOCATOR": "platform"}
    yield program("JAX platform allocator", "jax_program.py", "jax", env=platform)
    # JAX's own allocator stops at a share of what the driver reports: it has to be told of the host memory.
    advertise = {"GREENBOOST_ADVERTISE": str(3 * limit)}
    yield program("JAX own allocator, advertised", "jax_program.py", "jax", env=jax, shim_env=advertise)
    nvml = program("NVML and driver", "nvml_program.py", "", "limited", alone=True, ours=True)
    nvml.plain_command = [*nvml.command[:-1], "plain"]
    yield nvml
