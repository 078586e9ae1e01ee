"""The ledger against a ten-line model: any sequence of insertions, removals and look-ups."""

import ctypes

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from shim_under_test import load

ffi, lib = load()
DEVICE, HOST, MANAGED, UNIFIED = lib.GB_TIER_DEVICE, lib.GB_TIER_HOST_MAPPED, lib.GB_TIER_MANAGED, lib.GB_TIER_UNIFIED
FALLBACK = {HOST, MANAGED}
LIBC = ctypes.CDLL(None)


def make(base, size, tier, context=0, stream_ordered=False):
    block = ffi.new("struct gb_block *")
    block.base, block.size, block.tier, block.stream_ordered = base, size, tier, stream_ordered
    block.context = ffi.cast("CUcontext", context)
    return block


def insert(block):
    stale = ffi.new("struct gb_block *")
    assert lib.gb_ledger_insert(block, stale) == 0
    return stale


@ffi.callback("bool(const struct gb_block *, const void *)")
def of_context(block, context):
    return block.context == ffi.cast("CUcontext", context)


class Ledger(RuleBasedStateMachine):
    """Blocks of 16 addresses each at multiples of 16, so that none overlap and neighbours touch."""

    slots = st.integers(0, 400)

    @initialize()
    def begin(self):
        lib.gb_ledger_after_fork()
        self.model = {}

    @rule(
        slot=slots,
        size=st.integers(1, 16),
        tier=st.sampled_from([DEVICE, HOST, MANAGED, UNIFIED]),
        context=st.integers(1, 3),
    )
    def insert(self, slot, size, tier, context):
        base = 4096 + 16 * slot
        old = self.model.get(base)
        if old and (old[1] in FALLBACK) != (tier in FALLBACK):
            return  # one address is never both: the driver hands out one kind of memory from one place
        stale = insert(make(base, size, tier, context))
        assert (stale.epoch != 0) == (old is not None)
        if old:
            assert (stale.size, stale.tier) == old[:2]
        self.model[base] = (size, tier, context)

    @rule(slot=slots, off=st.integers(0, 15))
    def remove(self, slot, off):
        base = 4096 + 16 * slot + off
        block = ffi.new("struct gb_block *")
        expected = self.model.pop(base, None)
        assert lib.gb_ledger_remove(base, block) == (expected is not None)
        if expected:
            assert (block.size, block.tier) == expected[:2]
        else:
            assert block.epoch == 0

    @rule(slot=slots, off=st.integers(0, 15))
    def find(self, slot, off):
        base = 4096 + 16 * slot
        entry = self.model.get(base)
        inside = entry is not None and entry[1] in FALLBACK and off < entry[0]
        block = ffi.new("struct gb_block *")
        assert lib.gb_ledger_find_fallback(base + off, block) == inside
        if inside:
            assert (block.base, block.size) == (base, entry[0])

    @rule(context=st.integers(1, 3))
    def take_context(self, context):
        blocks = ffi.new("struct gb_block **")
        count = lib.gb_ledger_take_if(of_context, ffi.cast("void *", context), blocks)
        taken = {blocks[0][i].base for i in range(count)}
        LIBC.free(ctypes.c_void_p(int(ffi.cast("uintptr_t", blocks[0]))))
        assert len(taken) == count
        assert taken == {base for base, entry in self.model.items() if entry[2] == context}
        self.model = {base: entry for base, entry in self.model.items() if entry[2] != context}

    @invariant()
    def books_agree(self):
        assert lib.gb_ledger_is_valid()
        assert lib.gb_ledger_count() == len(self.model)


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=120, deadline=None)
TestLedger = Ledger.TestCase


@pytest.mark.parametrize("tier", [DEVICE, HOST])
def test_ledger_with_many_blocks_finds_each_and_ends_empty(empty_ledger, tier):
    count = 20_000
    bases = [4096 + 512 * ((i * 7919) % count) for i in range(count)]
    for base in bases:
        insert(make(base, 512, tier))
    assert lib.gb_ledger_is_valid()
    block = ffi.new("struct gb_block *")
    for base in sorted(bases):
        assert lib.gb_ledger_remove(base, block)
        assert block.base == base
    assert lib.gb_ledger_count() == 0
    assert lib.gb_ledger_is_valid()


def test_ledger_epoch_parts_what_came_before_from_what_came_after(empty_ledger):
    insert(make(4096, 1, DEVICE))
    ended = lib.gb_ledger_end_epoch()
    insert(make(8192, 1, HOST))
    before, after = ffi.new("struct gb_block *"), ffi.new("struct gb_block *")
    assert lib.gb_ledger_remove(4096, before)
    assert lib.gb_ledger_remove(8192, after)
    assert before.epoch <= ended < after.epoch
