"""The table of handles against a small model: any sequence of what a program does, with the driver's answers in any order."""

import cffi
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from shim_under_test import load

ffi, lib = load()
libc = cffi.FFI()
libc.cdef("void *malloc(size_t size); void free(void *pointer);")
c = libc.dlopen(None)
BASE, GRANULE = 1 << 32, 1 << 21


def new(kind, **fields):
    """A record on the heap, as the table takes it over."""
    record = ffi.cast(f"{kind} *", c.malloc(ffi.sizeof(kind)))
    ffi.memmove(record, ffi.new(f"{kind} *"), ffi.sizeof(kind))
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def new_handle(value, size=1, on_host=False, device=0):
    handle = new("struct gb_handle", size=size, on_host=on_host)
    handle.link.key = value
    handle.properties.location.id = device
    return handle


def new_mapping(address, size):
    mapping = new("struct gb_mapping", size=size)
    mapping.link.key = address
    return mapping


class Memory:
    """The model: what keeps one memory alive."""

    def __init__(self, value, on_host):
        self.value, self.on_host = value, on_host
        self.references, self.mappings, self.leaving = 1, 0, 0

    def is_held(self):
        return self.references or self.mappings

    def is_gone(self):
        return not self.is_held() and not self.leaving


class Table(RuleBasedStateMachine):
    """Granules at 0..15 of a range; a mapping has 1 to 3 of them. An end that the driver is being asked for stays open until
    `answer`, in any order, as with threads."""

    values = st.integers(1, 4)
    granules = st.integers(0, 15)

    @initialize()
    def begin(self):
        lib.gb_handles_after_fork()
        self.by_value, self.by_granule, self.open, self.records = {}, {}, [], {}

    def gone(self, chain, *expected):
        """The chain holds the memories that are expected, and they are given back."""
        found = []
        while chain:
            found.append(self.records.pop(chain))
            following = chain.next
            c.free(libc.cast("void *", int(ffi.cast("uintptr_t", chain))))
            chain = following
        assert set(found) == {memory for memory in expected if memory.is_gone()} and len(found) == len(set(found))
        for memory in expected:
            if not memory.is_held() and self.by_value.get(memory.value) is memory:
                del self.by_value[memory.value]

    def leave(self, memory):
        memory.leaving += 1
        if not memory.is_held() and self.by_value.get(memory.value) is memory:
            del self.by_value[memory.value]

    def left(self, memory):
        memory.leaving -= 1
        if memory.is_held():
            self.by_value.setdefault(memory.value, memory)

    @rule(value=values, on_host=st.booleans())
    def enter(self, value, on_host):
        stale = self.by_value.get(value)
        handle = new_handle(value, on_host=on_host, device=value)
        self.records[handle] = memory = Memory(value, on_host)
        if stale:
            stale.references = 0
        self.by_value[value] = memory
        self.gone(lib.gb_handles_enter(handle), *filter(None, [stale]))

    @rule(value=values)
    def retain(self, value):
        lib.gb_handles_retained(value)
        if value in self.by_value:
            self.by_value[value].references += 1

    @rule(value=values)
    def release(self, value):
        handle = lib.gb_handles_releasing(value)
        memory = self.by_value.get(value)
        assert bool(handle) == bool(memory and memory.references)
        if handle:
            memory.references -= 1
            self.leave(memory)
            self.open.append((handle, memory, None))

    @rule(value=values, at=granules, size=st.integers(1, 3))
    def map(self, value, at, size):
        if any(granule in self.by_granule and self.by_granule[granule][0] != at for granule in range(at, at + size)):
            return  # the driver refuses what would overlap; at the same place it is stale
        stale = self.by_granule.get(at)
        if stale and stale[1] < size and any(granule in self.by_granule for granule in range(at + stale[1], at + size)):
            return
        memory = self.by_value.get(value)
        if stale:
            for granule in range(at, at + stale[1]):
                del self.by_granule[granule]
            stale[2].mappings -= 1
        if memory:
            self.place(at, size, memory)
        chain = lib.gb_handles_mapped(new_mapping(BASE + at * GRANULE, size * GRANULE), value)
        self.gone(chain, *([stale[2]] if stale else []))

    def place(self, at, size, memory):
        memory.mappings += 1
        for granule in range(at, at + size):
            self.by_granule[granule] = (at, size, memory)

    @rule(at=granules, size=st.integers(0, 12))
    def unmap(self, at, size):
        inside = {self.by_granule[granule] for granule in range(at, at + size) if granule in self.by_granule}
        whole = all(first >= at and first + length <= at + size for first, length, _ in inside)
        chain = lib.gb_handles_unmapping(BASE + at * GRANULE, size * GRANULE)
        assert bool(chain) == bool(inside and whole)
        if not chain:
            return
        for first, length, memory in inside:
            memory.mappings -= 1
            for granule in range(first, first + length):
                del self.by_granule[granule]
        for _, _, memory in inside:
            self.leave(memory)
        self.open.append((chain, None, inside))

    @rule(which=st.integers(0, 100), is_done=st.booleans())
    def answer(self, which, is_done):
        """The driver has answered one of the open ends."""
        if not self.open:
            return
        pointer, memory, inside = self.open.pop(which % len(self.open))
        if memory:
            memory.references += not is_done
            self.left(memory)
            self.gone(lib.gb_handles_released(pointer, is_done), memory)
            return
        if not is_done and any(
            granule in self.by_granule for at, size, _ in inside for granule in range(at, at + size)
        ):
            is_done = True  # it was refused and yet mapped anew: no driver does that
        for at, size, of in inside:
            if not is_done:
                self.place(at, size, of)
            self.left(of)
        self.gone(lib.gb_handles_unmapped(pointer, is_done), *{of for _, _, of in inside})

    @rule(granule=st.integers(0, 18), offset=st.sampled_from([0, 1, GRANULE - 1]))
    def ask_about_an_address(self, granule, offset):
        device = ffi.new("CUdevice *", -5)
        found = self.by_granule.get(granule)
        is_host = bool(found and found[2].on_host)
        assert lib.gb_handles_find_host(BASE + granule * GRANULE + offset, device) == is_host
        assert device[0] == (found[2].value if is_host else -5)

    @rule(value=values)
    def ask_about_a_handle(self, value):
        copy = ffi.new("struct gb_handle *")
        memory = self.by_value.get(value)
        assert lib.gb_handles_find(value, copy) == (memory is not None)
        if memory:
            assert (copy.references, copy.mappings, copy.on_host) == (
                memory.references,
                memory.mappings,
                memory.on_host,
            )

    @rule(granule=granules)
    def walk(self, granule):
        mapped = ffi.new("struct gb_mapped *")
        expected = sorted({(at, size) for at, size, _ in self.by_granule.values() if at >= granule})
        address = BASE + granule * GRANULE
        for at, size in expected:
            assert lib.gb_handles_next_mapping(address, mapped)
            assert (mapped.address, mapped.size) == (BASE + at * GRANULE, size * GRANULE)
            address = mapped.address + 1
        assert not lib.gb_handles_next_mapping(address, mapped)

    @invariant()
    def books_agree(self):
        assert lib.gb_handles_are_valid()
        on_host = {at for at, _, memory in self.by_granule.values() if memory.on_host}
        assert lib.gb_handles_host_mappings == len(on_host)


Table.TestCase.settings = settings(max_examples=100, stateful_step_count=100, deadline=None)
TestTable = Table.TestCase


def test_table_with_many_handles_finds_each_and_ends_empty():
    lib.gb_handles_after_fork()
    count = 20_000
    order = [(i * 7919) % count for i in range(count)]
    for i in order:
        assert not lib.gb_handles_enter(new_handle(i + 1, on_host=i % 2 == 0))
        assert not lib.gb_handles_mapped(new_mapping(BASE + i * GRANULE, GRANULE), i + 1)
        assert not lib.gb_handles_released(lib.gb_handles_releasing(i + 1), True)
    assert lib.gb_handles_are_valid()
    assert lib.gb_handles_host_mappings == count // 2
    chain = lib.gb_handles_unmapped(lib.gb_handles_unmapping(BASE, count * GRANULE), True)
    left = 0
    while chain:
        left, chain = left + 1, chain.next
    assert (left, lib.gb_handles_host_mappings) == (count, 0)
    assert lib.gb_handles_are_valid()
    assert not lib.gb_handles_next_mapping(0, ffi.new("struct gb_mapped *"))


def test_mapping_that_takes_the_place_of_a_stale_one_ends_its_memory():
    lib.gb_handles_after_fork()
    for value in (1, 2):
        assert not lib.gb_handles_enter(new_handle(value))
    assert not lib.gb_handles_mapped(new_mapping(BASE, GRANULE), 1)
    assert not lib.gb_handles_released(lib.gb_handles_releasing(1), True)
    gone = lib.gb_handles_mapped(new_mapping(BASE, GRANULE), 2)
    assert gone.link.key == 1
    assert not lib.gb_handles_find(1, ffi.new("struct gb_handle *"))
    assert lib.gb_handles_are_valid()


def test_range_that_wraps_around_takes_nothing_out():
    lib.gb_handles_after_fork()
    lib.gb_handles_enter(new_handle(1))
    lib.gb_handles_mapped(new_mapping(BASE, GRANULE), 1)
    for address, size in ((BASE, 2**64 - BASE), (BASE, 2**64 - 1), (BASE, 0), (0, 0), (2**64 - 1, 5)):
        assert not lib.gb_handles_unmapping(address, size)
    assert lib.gb_handles_unmapping(0, 2**64 - 1)
