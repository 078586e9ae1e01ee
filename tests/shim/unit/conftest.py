"""The library under test, and a ledger and accounts that begin empty."""

from types import SimpleNamespace

import pytest
from shim_under_test import load


@pytest.fixture(scope="session")
def shim():
    """`ffi` and `lib`."""
    ffi, lib = load()
    return SimpleNamespace(ffi=ffi, lib=lib)


@pytest.fixture
def empty_ledger(shim):
    """The ledger as a forked child finds it: empty."""
    shim.lib.gb_ledger_after_fork()
    yield shim
    shim.lib.gb_ledger_after_fork()
