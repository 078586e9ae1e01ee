"""The kernel, and guests that boot it; the logs of a test that fails stay in build/vm/logs."""

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness.apt import of_suite
from harness.boot import Boot
from harness.cache import Cache
from harness.debian import get_disk, get_installed_disk
from harness.grub import GrubSystem, make_grub_system, reason_without_grub
from harness.grub_disk import Computer, get_grub_disk, new_computer
from harness.kernel import Kernel, NoKernelError, get_kernel
from harness.system import System

from greenboost_py import __version__

_LONGEST = ("test_service.py", "test_grub_reboot.py", "test_innocent.py", "test_leases.py", "test_gpu_memory.py")
"""Minutes each; the others take seconds."""

_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first, so that no worker is left alone with one of them at the end."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def vm_dir(repository: Path) -> Path:
    """Where what is made for the guests lies."""
    return repository / "build" / "vm"


@pytest.fixture(scope="session")
def kernel(vm_dir: Path) -> Kernel:
    """Debian's kernel."""
    return get_kernel(Cache(vm_dir))


@pytest.fixture(scope="session")
def newer_kernel(vm_dir: Path) -> Kernel:
    """The kernel of Debian's next release; a visible skip where its packages are not to be had."""
    try:
        return get_kernel(Cache(vm_dir), "testing-kernel", lambda: of_suite("testing", vm_dir / "testing-apt"))
    except NoKernelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def wheel(repository: Path) -> Path:
    """What `make wheel` has made."""
    (found,) = (repository / "build/dist").glob(f"greenboost-{__version__}-*.whl")
    return found


@pytest.fixture
def system(kernel: Kernel, vm_dir: Path, log_dir: Path) -> System:
    """A Debian that has what greenboost needs; see `System`."""
    return System(kernel, _disk(lambda: get_disk(Cache(vm_dir))), log_dir)


@pytest.fixture
def installed(kernel: Kernel, vm_dir: Path, log_dir: Path, wheel: Path) -> System:
    """The same with greenboost's service, which starts with the system."""
    return System(kernel, _disk(lambda: get_installed_disk(Cache(vm_dir), wheel)), log_dir)


@pytest.fixture
def computer(kernel: Kernel, vm_dir: Path, log_dir: Path) -> Iterator[Computer]:
    """A Debian that starts by GRUB; see `Computer`. Its disk goes with the test."""
    made = _disk(lambda: get_grub_disk(Cache(vm_dir), kernel))
    with TemporaryDirectory(prefix="computer-", dir=vm_dir) as folder:
        yield new_computer(made, Path(folder) / "disk", log_dir)


def _disk(get: Callable[[], Path]) -> Path:
    if os.geteuid() != 0:
        pytest.skip("a Debian's files can only be laid out by root")
    return get()


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """What runs in guests, by the names there."""
    return {path.name: path for path in (Path(__file__).parent / "programs").iterdir()}


@pytest.fixture(scope="session")
def cuda_files(repository: Path, programs: dict[str, Path]) -> dict[str, Path]:
    """What a CUDA program in a guest needs: the simulated driver, and how it is called."""
    libraries = {path.name: path for path in (repository / "build/fake_driver").glob("lib*.so*")}
    return {**programs, **libraries, "cuda_program.py": repository / "tests/shim/programs/cuda_program.py"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes for `log_dir` that a test failed."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def log_dir(request: pytest.FixtureRequest, vm_dir: Path) -> Iterator[Path]:
    """A test's own folder for what its guests say; it is kept if the test fails."""
    folder = vm_dir / "logs" / re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    if not request.node.stash.get(_FAILED, False):
        shutil.rmtree(folder)


@pytest.fixture
def boot(kernel: Kernel, log_dir: Path) -> Boot:
    """Boots the kernel; see `Boot`."""
    return Boot(kernel, log_dir)


@pytest.fixture
def grub_system(kernel: Kernel, tmp_path: Path) -> GrubSystem:
    """A Debian whose boot configuration may be changed; a machine where GRUB's tools cannot run is a visible skip."""
    reason = reason_without_grub()
    if reason is not None:
        pytest.skip(reason)
    return make_grub_system(tmp_path / "system", kernel)
