"""Makes the harness importable, and says what is missing where nothing is built."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import FAKE_DRIVER, SHIM


@pytest.fixture(scope="session", autouse=True)
def built():
    """The two libraries that every test here runs with."""
    for library in (SHIM, FAKE_DRIVER / "libcuda.so.1"):
        if not library.exists():
            pytest.fail(f"{library} is missing: run `make build`", pytrace=False)
