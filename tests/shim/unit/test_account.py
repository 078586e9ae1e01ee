"""The counters: never over a limit, whoever asks at once, and zero when all is given back."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from shim_under_test import load

ffi, lib = load()
MAX = 2**64 - 1


@pytest.fixture(autouse=True)
def zero():
    lib.gb_account_after_fork()


@pytest.mark.parametrize(
    ("held", "asked", "limit", "granted"),
    [
        (0, 10, 10, True),
        (0, 11, 10, False),
        (4, 6, 10, True),
        (4, 7, 10, False),
        (1, MAX, MAX, False),
        (0, MAX, MAX, True),
    ],
)
def test_account_reserve_keeps_to_the_limit(held, asked, limit, granted):
    assert lib.gb_account_reserve(3, lib.GB_TIER_DEVICE, held, MAX)
    assert lib.gb_account_reserve(3, lib.GB_TIER_DEVICE, asked, limit) == granted
    assert lib.gb_account_bytes(3, lib.GB_TIER_DEVICE) == held + asked * granted


def test_account_commit_and_release_count_blocks_peak_and_spill():
    page = lib.gb_account_page()
    tier = page.device[1].tier[lib.GB_TIER_HOST_MAPPED]
    for size in (5, 7):
        assert lib.gb_account_reserve(1, lib.GB_TIER_HOST_MAPPED, size, MAX)
        lib.gb_account_commit(1, lib.GB_TIER_HOST_MAPPED, size)
    assert (tier.bytes, tier.blocks, tier.peak_bytes, page.device[1].spilled_bytes) == (12, 2, 12, 12)
    for size in (5, 7):
        lib.gb_account_release(1, lib.GB_TIER_HOST_MAPPED, size)
    assert (tier.bytes, tier.blocks, tier.peak_bytes) == (0, 0, 12)


def test_account_under_many_threads_never_passes_the_limit_and_ends_at_zero():
    def churn(_worker):
        most = 0
        for _ in range(300):
            if lib.gb_account_reserve(0, lib.GB_TIER_DEVICE, 7, 50):
                most = max(most, lib.gb_account_bytes(0, lib.GB_TIER_DEVICE))
                lib.gb_account_cancel(0, lib.GB_TIER_DEVICE, 7)
        return most

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(churn, range(8))) <= 50
    assert lib.gb_account_bytes(0, lib.GB_TIER_DEVICE) == 0


def test_account_page_describes_itself():
    page = lib.gb_account_page()
    assert (page.magic, page.version, page.bytes) == (
        lib.GB_ABI_MAGIC,
        lib.GB_ABI_VERSION,
        ffi.sizeof("struct gb_page"),
    )
    assert page.host_limit_bytes == page.device[0].limit_bytes == MAX
