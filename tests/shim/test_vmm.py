"""Programs that manage virtual memory themselves: what does not fit is made of host memory, mapped where they want it (28)."""

import itertools

import pytest
from harness import CLIENTS, FAILURES_OF_A_CALL, Ended, run, run_program, succeed

CARD = {"FAKECUDA_VRAM": "64MiB"}
WIDE = {"FAKECUDA_VRAM": "1GiB"}
IMPORTS = "from vmm_program import *\nfrom books import books, host_bytes\n"


def vmm(source: str, tmp_path, **settings) -> Ended:
    return succeed(IMPORTS + source, tmp_path, **settings)


def on_host(ended: Ended) -> int:
    """Handles that were made of host memory."""
    return sum("place=host" in line for line in ended.said)


# ---- two allocators ----

EXPANDABLE = """
init()
segment = ExpandableSegment({piece}, 512 * MIB)
count = 128 * MIB // segment.piece
assert segment.grow(0, 1) and segment.grow(1, count // 2) and segment.grow(count // 2, count)
for i in range(count):
    fill(segment.at(i), segment.piece, i % 251)
for i in range(count):
    check(segment.at(i), segment.piece, i % 251)
size = count * segment.piece
fill(segment.base, size, 77)
check(segment.base, size, 77)
held = books()
in_vram = {vram} * MIB // segment.piece
assert held["device"] == (in_vram * segment.piece, in_vram), held
assert held["split"] == ((count - in_vram) * segment.piece, count - in_vram) and host_bytes() == held["split"][0], held
segment.shrink(1, count // 3)
assert segment.grow(1, count // 3)
assert books()["device"] == held["device"] and books()["split"] == held["split"]
check(segment.at(0), segment.piece, 77)
check(segment.at(count - 1), segment.piece, 77)
segment.close()
assert set(books()) == {{"moved", "spilled"}} and host_bytes() == 0
"""


@pytest.mark.parametrize("piece", ["2 * MIB", "20 * MIB"])
@pytest.mark.parametrize(
    ("vram", "settings"),
    [
        ("60", {"FAKECUDA_VRAM": "60MiB"}),
        ("40", {"vram_limit": "40MiB", **WIDE}),
        ("40", {"vram_limit": "40MiB", **CARD}),
    ],
)
@pytest.mark.parametrize("populate", ["0", "1"])
def test_expandable_segment_past_vram_is_right_and_leaves_nothing(tmp_path, piece, vram, settings, populate):
    ended = vmm(EXPANDABLE.format(piece=piece, vram=vram), tmp_path, FAKECUDA_POPULATE=populate, **settings)
    assert ended.report["peak"]["vmm_host_bytes"] >= 60 << 20


def test_expandable_segment_without_the_shim_runs_out(tmp_path):
    source = "init()\nsegment = ExpandableSegment(20 * MIB, 512 * MIB)\nassert not segment.grow(0, 6)\nsegment.close()"
    vmm(source, tmp_path, shim=False, **CARD)


POOL = """
init()
pool = Pool(1 << 30)
for size in (16, 32, 24, 40):
    pool.grow(size * MIB)
fill(pool.base, pool.used, 9)
check(pool.base, pool.used, 9)
held = books()
assert held["device"] == (48 * MIB, 2) and held["split"] == (64 * MIB, 2), held
pool.close()
assert set(books()) == {"moved", "spilled"} and host_bytes() == 0
"""


@pytest.mark.parametrize("settings", [CARD, {"vram_limit": "50MiB", **WIDE}])
def test_pool_that_releases_what_it_mapped_grows_past_vram(tmp_path, settings):
    vmm(POOL, tmp_path, **settings)


def test_program_that_fits_makes_the_drivers_calls_and_no_other(tmp_path):
    source = """
init()
segment = ExpandableSegment(2 * MIB, 64 * MIB)
assert segment.grow(0, 10)
fill(segment.base, 20 * MIB, 3)
assert (attribute(segment.at(3), 2, c.c_uint), attribute(segment.at(3), 8, c.c_uint)) == (DEVICE, 0)
handle = retain(segment.at(4) + 5)
assert handle == segment.handles[4] and properties(handle).location.type == AT_DEVICE
release(handle)
segment.close()
"""
    ours, drivers = (vmm(source, tmp_path, shim=shim, **CARD) for shim in (True, False))
    names = [name for name in drivers.report["calls"] if name.startswith(("cuMem", "cuPointer"))]
    extra = {name: ours.calls(name) - drivers.calls(name) for name in names if ours.calls(name) != drivers.calls(name)}
    assert extra == {}
    assert ours.report["peak"]["vmm_host_bytes"] == 0
    assert ours.calls("cuMemGetInfo_v2") == ours.calls("cuCtxSynchronize") - drivers.calls("cuCtxSynchronize") == 0


def test_switched_off_nothing_changes(tmp_path):
    source = "init()\nsegment = ExpandableSegment(20 * MIB, 512 * MIB)\nassert not segment.grow(0, 6)\nsegment.close()"
    vmm(source, tmp_path, disable="1", **CARD)


# ---- the life of a handle ----


@pytest.mark.parametrize("place", ["device", "split"])
def test_memory_goes_with_the_last_of_its_references_and_mappings(tmp_path, place):
    """In every order of what ends them; only the last closes the books."""
    orders = list(itertools.permutations(range(5)))
    source = f"""
init()
filler = create({"64" if place == "split" else "2"} * MIB)
base = reserve(64 * MIB)
def held():
    return books().get({place!r}, (0, 0))
before = held()
for order in {orders!r}:
    handle = create(4 * MIB)
    map_at(base, handle, 4 * MIB); map_at(base + 8 * MIB, handle, 4 * MIB)
    allow(base, 4 * MIB); allow(base + 8 * MIB, 4 * MIB)
    fill(base, 4 * MIB, 5)
    synchronize()
    check(base + 8 * MIB, 4 * MIB, 5)
    assert retain(base + MIB) == retain(base + 11 * MIB) == handle
    ends = [lambda: release(handle)] * 3 + [lambda: unmap(base, 4 * MIB), lambda: unmap(base + 8 * MIB, 4 * MIB)]
    for step in order:
        assert held() == (before[0] + 4 * MIB, before[1] + 1), order
        ends[step]()
    assert held() == before, order
unreserve(base, 64 * MIB)
release(filler)
assert host_bytes() == 0
"""
    vmm(source, tmp_path, **CARD)


def test_unmap_of_several_mappings_at_once_ends_them_all(tmp_path):
    source = """
init()
base = reserve(64 * MIB)
handles = [create(4 * MIB) for _ in range(6)]
for i, handle in enumerate(handles):
    map_at(base + i * 4 * MIB, handle, 4 * MIB)
assert books()["device"] == (8 * MIB, 2) and books()["split"] == (16 * MIB, 4)
for wrong in ((base + 2 * MIB, 4 * MIB), (base, 6 * MIB), (base + 2 * MIB, 22 * MIB), (base, 26 * MIB), (base, 0), (base, 2**64 - 1)):
    assert code_of("cuMemUnmap", *wrong) == INVALID_VALUE
assert books()["device"] == (8 * MIB, 2) and books()["split"] == (16 * MIB, 4)
unmap(base + 4 * MIB, 12 * MIB)
for handle in handles[1:4]:
    release(handle)
assert books()["device"] == (4 * MIB, 1) and books()["split"] == (8 * MIB, 2)
assert code_of("cuMemUnmap", base, 24 * MIB) == INVALID_VALUE, "a hole in it"
for handle in (handles[0], *handles[4:]):
    release(handle)
assert books()["device"] == (4 * MIB, 1) and books()["split"] == (8 * MIB, 2)
unmap(base, 4 * MIB), unmap(base + 16 * MIB, 8 * MIB)
unreserve(base, 64 * MIB)
assert set(books()) == {"moved", "spilled"}
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


def test_refused_calls_are_the_drivers_answer_and_change_no_books(tmp_path):
    source = """
init()
base = reserve(64 * MIB)
filler, handle = create(8 * MIB), create(4 * MIB)
map_at(base, handle, 4 * MIB)
def unchanged():
    return books()["device"] == (8 * MIB, 1) and books()["split"] == (4 * MIB, 1)
answers = [
    code_of("cuMemMap", base, 4 * MIB, 0, handle, 0),
    code_of("cuMemMap", base + 8 * MIB, 6 * MIB, 0, handle, 0),
    code_of("cuMemMap", base + 8 * MIB, 4 * MIB, 2 * MIB, handle, 0),
    code_of("cuMemMap", base + 8 * MIB, 4 * MIB, 0, 0xDEAD0, 0),
    code_of("cuMemRelease", 0xDEAD0),
    code_of("cuMemRetainAllocationHandle", c.byref(c.c_uint64()), c.c_void_p(base + 8 * MIB)),
    code_of("cuMemRetainAllocationHandle", None, c.c_void_p(base)),
    code_of("cuMemGetAllocationPropertiesFromHandle", None, handle),
    code_of("cuMemGetAllocationPropertiesFromHandle", c.byref(Prop()), 0xDEAD0),
    code_of("cuMemSetAccess", base, 6 * MIB, access_list(0), 1),
    code_of("cuMemSetAccess", base, 4 * MIB, None, 1),
    code_of("cuMemSetAccess", base, 4 * MIB, access_list(0), 0),
    code_of("cuMemSetAccess", base, 4 * MIB, access_list(99), 1),
]
assert set(answers) == {INVALID_VALUE, 101}, answers
assert access_of(base) == NONE and unchanged()
release(handle)
assert unchanged()
assert code_of("cuMemRelease", handle) == INVALID_VALUE, "released twice"
assert unchanged(), "it is still mapped"
unmap(base, 4 * MIB)
assert "split" not in books()
assert code_of("cuMemUnmap", base, 4 * MIB) == INVALID_VALUE
release(filler)
unreserve(base, 64 * MIB)
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


def test_mapping_of_part_of_a_handle_is_what_was_mapped(tmp_path):
    source = """
init()
filler, base, handle = create(8 * MIB), reserve(64 * MIB), create(8 * MIB)
map_at(base, handle, 2 * MIB)
assert attribute(base + MIB, 2, c.c_uint) == DEVICE and code_of("cuPointerGetAttribute", c.byref(c.c_uint()), c.c_int(2), base + 2 * MIB)
release(handle)
unmap(base, 2 * MIB)
assert "split" not in books()
release(filler), unreserve(base, 64 * MIB)
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


def test_handles_and_allocations_share_one_limit(tmp_path):
    source = """
init()
handle = create(6 * MIB)
assert memory_info() == (2 * MIB, 8 * MIB)
block = alloc(4 * MIB)
assert attribute(block, 2, c.c_uint) == DEVICE and books()["device"][0] <= 8 * MIB
free(block), release(handle)
small = alloc(7 * MIB)
other = create(2 * MIB)
assert books()["device"] == (7 * MIB, 1) and books()["split"] == (2 * MIB, 1)
free(small), release(other)
assert memory_info() == (8 * MIB, 8 * MIB)
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


# ---- what the program is told ----


def test_handle_of_host_memory_has_the_properties_that_were_asked_for(tmp_path):
    source = """
init()
filler, handle = create(8 * MIB, 1), create(2 * MIB, 1, rdma=1, compression=1)
told, theirs = properties(handle), properties(filler)
assert (told.type, told.location.type, told.location.id, told.handle_types) == (1, AT_DEVICE, 1, 0)
assert (theirs.location.type, theirs.location.id) == (AT_DEVICE, 1)
assert (told.rdma, told.compression, told.usage) == (0, 0, 0), "hints: the properties tell what came of them"
release(handle), release(filler)
"""
    ended = vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_DEVICES="2", log="debug", **CARD)
    assert on_host(ended) == 1


POINTERS = """
init()
segment = ExpandableSegment(4 * MIB, 64 * MIB)
assert segment.grow(0, 4)
wanted = [2, 8, 9, 10, 15, 13, 4, 1, 11, 12, 18, 19, 16, 14]
kinds = [c.c_uint, c.c_uint, c.c_int, c.c_uint, c.c_uint, c.c_uint] + [c.c_uint64] * 6 + [c.c_uint, c.c_uint64]
for i in range(4):
    for at in (segment.at(i), segment.at(i) + 1234, segment.at(i + 1) - 1):
        values = [kind(0xFF) for kind in kinds]
        pointers = (c.c_void_p * len(wanted))(*[c.addressof(value) for value in values])
        call("cuPointerGetAttributes", c.c_uint(len(wanted)), (c.c_int * len(wanted))(*wanted), pointers, at)
        each = [attribute(at, number, kind) for number, kind in zip(wanted, kinds) if number != 4]
        assert each == [value.value for number, value in zip(wanted, values) if number != 4]
        assert attribute(at, 3) == at
        assert code_of("cuPointerGetAttribute", c.byref(c.c_uint64()), c.c_int(4), at) == INVALID_VALUE
        print(i, [value.value - segment.base if 0 <= value.value - segment.base < 1 << 30 else value.value for value in values])
        assert code_of("cuIpcGetMemHandle", c.create_string_buffer(64), at) == INVALID_VALUE
segment.close()
assert code_of("cuPointerGetAttribute", c.byref(c.c_uint()), c.c_int(2), segment.base) == INVALID_VALUE
"""


def test_address_in_a_host_handle_is_device_memory_to_whoever_asks(tmp_path):
    """(26): to the last attribute what is said of the same segment in VRAM."""
    ours = vmm(POINTERS, tmp_path, vram_limit="8MiB", **CARD)
    drivers = vmm(POINTERS, tmp_path, shim=False, **CARD)
    assert ours.report["peak"]["vmm_host_bytes"] > 0
    assert ours.out == drivers.out


def test_access_is_set_as_asked_for_each_peer(tmp_path):
    source = """
first, second = init(0), init(1)
call("cuCtxPushCurrent_v2", first)
segment = ExpandableSegment(2 * MIB, 64 * MIB, peers=[1])
assert segment.grow(0, 8)
fill(segment.base, 16 * MIB, 4)
synchronize()
call("cuCtxPushCurrent_v2", second)
check(segment.base, 16 * MIB, 4)
allow(segment.base, 16 * MIB, 0, 1, flags=READ)
assert [access_of(segment.at(i), device) for i in range(8) for device in (0, 1)] == [READ] * 16
call("cuCtxPopCurrent_v2", c.byref(c.c_void_p()))
assert code_of("cuMemsetD8_v2", segment.at(7), c.c_ubyte(1), 1), "read only"
segment.close()
"""
    ended = vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_DEVICES="2", log="debug", **CARD)
    assert on_host(ended) == 4


BETWEEN = """
first = init(0)
{second_before}
call("cuCtxPushCurrent_v2", first)
segment = ExpandableSegment(4 * MIB, 64 * MIB)
assert segment.grow(0, 4)
fill(segment.base, 16 * MIB, 3)
synchronize()
{second_after}
call("cuCtxPushCurrent_v2", second)
other = alloc(4 * MIB)
buffer = c.create_string_buffer(16)
for i in range(4):
    call("cuMemcpyDtoH_v2", buffer, segment.at(i), 16)
    call("cuMemcpyDtoD_v2", other, segment.at(i), 4 * MIB)
    call("cuMemcpyPeer", segment.at(3 - i), first, other, second, 4 * MIB)
free(other)
call("cuCtxPushCurrent_v2", first)
check(segment.base, 16 * MIB, 3)
allow(segment.base, 16 * MIB, 1, flags=NONE)
print([access_of(segment.at(i), 1) for i in range(4)], [access_of(segment.at(i), 0) for i in range(4)])
segment.close()
"""


@pytest.mark.parametrize("second", ["before", "after"])
def test_copies_by_another_device_reach_host_memory_as_they_reach_vram(tmp_path, second):
    start = "second = init(1)\nfree(alloc(MIB))"
    places = {"second_before": "", "second_after": "", f"second_{second}": start}
    source = BETWEEN.format(**places)
    outputs = [
        vmm(source, tmp_path, shim=shim, vram_limit="8MiB", FAKECUDA_DEVICES="2", **CARD).out for shim in (True, False)
    ]
    assert outputs[0] == outputs[1]


# The card is full at the first overflow, so the self-test has no VRAM to try a range of both kinds with.
MIXED = """
init()
base = reserve(256 * MIB)
handles = [create(8 * MIB) for _ in range(12)]
for i, handle in enumerate(handles):
    map_at(base + i * 8 * MIB, handle, 8 * MIB)
"""
UNMIXED = """
unmap(base, 96 * MIB)
for handle in handles: release(handle)
unreserve(base, 256 * MIB)
"""


def test_access_refused_for_a_mixed_range_is_set_mapping_by_mapping(tmp_path):
    source = f"""
{MIXED}
allow(base, 96 * MIB)
assert [access_of(base + i * 8 * MIB) for i in range(12)] == [READ_WRITE] * 12
for i in range(12): fill(base + i * 8 * MIB, 8 * MIB, i)
for i in range(12): check(base + i * 8 * MIB, 8 * MIB, i)
assert code_of("cuMemSetAccess", base, 96 * MIB + 1, access_list(0), 1) == INVALID_VALUE
assert code_of("cuMemSetAccess", base + 4 * MIB, 80 * MIB, access_list(0), 1) == INVALID_VALUE
{UNMIXED}
"""
    ended = vmm(source, tmp_path, FAKECUDA_CAPS="no-mixed-access", log="debug", **CARD)
    assert on_host(ended) == 4


@pytest.mark.parametrize("nth", range(1, 13))
def test_access_refused_half_way_is_as_it_was_before(tmp_path, nth):
    clean = f"{MIXED}\nallow(base, 8 * MIB, flags=READ)\nallow(base + 8 * MIB, 8 * MIB, 0, 1)\n"
    counted = vmm(clean + UNMIXED, tmp_path, FAKECUDA_CAPS="no-mixed-access", FAKECUDA_DEVICES="2", **CARD)
    source = f"""
{clean}
def now():
    return [access_of(base + i * 8 * MIB, device) for i in range(12) for device in (0, 1)]
before = now()
assert before == [READ, NONE, READ_WRITE, READ_WRITE] + [NONE] * 20
both = access_list(1, 0, flags=READ_WRITE)
assert code_of("cuMemSetAccess", base, 96 * MIB, both, 2) == INVALID_VALUE
assert now() == before
call("cuMemSetAccess", base, 96 * MIB, both, 2)
assert now() == [READ_WRITE] * 24
{UNMIXED}
"""
    fail = f"cuMemSetAccess:{counted.calls('cuMemSetAccess') + 1 + nth}:1"
    vmm(source, tmp_path, FAKECUDA_CAPS="no-mixed-access", FAKECUDA_DEVICES="2", FAKECUDA_FAIL=fail, **CARD)


# ---- sharing ----

SHARED = """
import os
init()
segment = ExpandableSegment(4 * MIB, 64 * MIB, handle_types=FD, rdma=1)
assert segment.grow(0, 4)
fill(segment.base, 16 * MIB, 6)
assert [properties(handle).handle_types for handle in segment.handles.values()] == [FD] * 4
"""


@pytest.mark.parametrize("caps", ["posix-fd", "posix-fd,cpuless-numa", "posix-fd,no-numa"])
def test_handles_of_host_memory_are_shared_as_those_of_vram(tmp_path, caps):
    source = f"""
{SHARED}
for handle in segment.handles.values():
    fd = export(handle)
    again = import_fd(fd)
    os.close(fd)
    release(again)
held = books()
twice = import_fd(export(segment.handles[3]))
segment.close()
assert books()["split"] == (4 * MIB, 1), "an imported reference keeps it"
release(twice)
assert held["device"] == (8 * MIB, 2) and held["split"] == (8 * MIB, 2) and "split" not in books()
"""
    vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_CAPS=caps, **CARD)


def test_handles_that_the_driver_does_not_share_are_served_and_their_export_refused(tmp_path):
    source = f"""
{SHARED}
os.close(export(segment.handles[0]))
for i in (2, 3):
    assert code_of("cuMemExportToShareableHandle", c.byref(c.c_int()), segment.handles[i], c.c_int(FD), 0) == INVALID_VALUE
check(segment.base, 16 * MIB, 6)
segment.close()
"""
    ended = vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_CAPS="posix-fd,no-host-fd", **CARD)
    assert sum("GREENBOOST_FALLBACK=off" in line for line in ended.said) == 2


def test_export_that_the_driver_refuses_for_vram_is_not_told_of(tmp_path):
    source = """
init()
handle = create()
assert code_of("cuMemExportToShareableHandle", c.byref(c.c_int()), handle, c.c_int(FD), 0) == NOT_SUPPORTED
assert code_of("cuMemImportFromShareableHandle", c.byref(c.c_uint64()), c.c_void_p(5), c.c_int(FD)) == NOT_SUPPORTED
release(handle)
"""
    assert vmm(source, tmp_path, **CARD).said == []


@pytest.mark.parametrize("types", [2, 8, 9])
def test_handle_types_that_host_memory_may_not_have_are_out_of_memory(tmp_path, types):
    """Who asks for FABRIC and gets a handle takes it that FABRIC works."""
    source = (
        f"init()\nfiller = create(8 * MIB)\nassert create_code(handle_types={types}) == OUT_OF_MEMORY\nrelease(filler)"
    )
    vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_CAPS="posix-fd", **CARD)


# ---- places, options and refusals ----


@pytest.mark.parametrize("caps", ["no-host-vmm-attributes", "cpuless-numa", "no-numa"])
def test_host_memory_is_found_where_it_is(tmp_path, caps):
    vmm(POOL, tmp_path, FAKECUDA_CAPS=caps, **CARD)


REFUSED = """
init()
segment = ExpandableSegment(4 * MIB, 64 * MIB)
assert segment.grow(0, 2)
fill(segment.base, 8 * MIB, 8)
assert create_code(4 * MIB) == OUT_OF_MEMORY
assert not segment.grow(2, 4)
assert books()["device"] == (8 * MIB, 2) and "split" not in books() and host_bytes() == 0
check(segment.base, 8 * MIB, 8)
segment.shrink(0, 1)
assert not segment.grow(2, 4)
assert segment.grow(2, 3)
segment.close()
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"fallback": "off"},
        {"fallback": "host"},
        {"fallback": "managed"},
        {"host_limit": "3MiB"},
        {"host_reserve": "100%"},
        {"FAKECUDA_CAPS": "no-host-vmm"},
    ],
)
def test_handle_that_may_not_be_had_of_host_memory_is_out_of_memory(tmp_path, settings):
    ended = vmm(REFUSED, tmp_path, vram_limit="8MiB", **settings, **CARD)
    assert ended.report["peak"]["vmm_host_bytes"] <= 8 << 20  # the self-test's


def test_host_limit_serves_what_is_below_it(tmp_path):
    source = """
init()
segment = ExpandableSegment(4 * MIB, 64 * MIB)
assert segment.grow(0, 4) and host_bytes() == 8 * MIB
assert not segment.grow(4, 6) and host_bytes() == 8 * MIB
assert segment.grow(4, 5) and host_bytes() == 12 * MIB
segment.close()
"""
    vmm(source, tmp_path, vram_limit="8MiB", host_limit="12MiB", **CARD)


@pytest.mark.parametrize(
    "settings",
    [
        {"fallback": "split"},
        {"placement": "front"},
        {"movable": "1"},
        {"expect": "1GiB"},
        {"min_spill": "1GiB"},
        {"chunk": "64MiB"},
    ],
)
def test_options_of_split_blocks_leave_handles_whole(tmp_path, settings):
    """VRAM first, then host memory, whatever cuts allocations up or brings them into proportion."""
    vmm(EXPANDABLE.format(piece="2 * MIB", vram="40"), tmp_path, vram_limit="40MiB", **settings, **WIDE)


def test_vram_reserve_is_kept_from_handles_too(tmp_path):
    source = """
init()
handles = [create(8 * MIB) for _ in range(6)]
assert books()["device"] == (32 * MIB, 4) and books()["split"] == (16 * MIB, 2), books()
small = alloc(MIB // 2)
free(small)
for handle in handles: release(handle)
"""
    vmm(source, tmp_path, vram_reserve="30MiB", **CARD)


def test_vram_after_all_where_only_the_reserve_stood_in_the_way(tmp_path):
    source = """
init()
handles = [create(8 * MIB) for _ in range(8)]
assert books()["device"] == (64 * MIB, 8)
for handle in handles: release(handle)
"""
    vmm(source, tmp_path, vram_reserve="30MiB", host_limit="0", **CARD)


RETRY = """
init()
segment = ExpandableSegment(4 * MIB, 256 * MIB)
cached = ExpandableSegment(4 * MIB, 64 * MIB)
assert cached.grow(0, 3)
assert not segment.grow(0, 6), "the first overflow is refused, so that the cache goes"
cached.shrink(0, 3)
assert segment.grow(0, 6), "its retry is served, with all its handles"
assert books()["device"] == (16 * MIB, 4) and books()["split"] == (8 * MIB, 2)
assert not segment.grow(6, 8), "the next request is a new one"
assert create_code(6 * MIB) == OUT_OF_MEMORY, "and another size is no retry"
assert not segment.grow(6, 8)
assert segment.grow(6, 8)
segment.close(), cached.close()
"""


def test_retry_first_refuses_a_request_once_and_serves_it_whole_then(tmp_path):
    vmm(RETRY, tmp_path, retry_first="1", vram_limit="16MiB", **CARD)


def test_usage_that_only_vram_has_is_never_host_memory(tmp_path):
    source = """
init()
tiles, filler = create(2 * MIB, usage=1), create(6 * MIB)
assert create_code(2 * MIB, usage=1) == OUT_OF_MEMORY == create_code(2 * MIB, usage=2)
assert "split" not in books()
release(tiles), release(filler)
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


def test_what_is_not_device_memory_is_the_drivers_alone(tmp_path):
    source = """
init()
def code(size, *arguments, flags=0):
    handle = c.c_uint64()
    answer = code_of("cuMemCreate", c.byref(handle), size, c.byref(Prop(*arguments)), flags)
    if answer == 0:
        release(handle.value)
    return answer
print([code(2 * MIB, 1, 0, Location(kind, number)) for kind in range(6) for number in (-1, 0, 1, 31, 32, 1000)])
print(code(2 * MIB, 0, 0, Location(1, 0)), code(2 * MIB, 2, 0, Location(1, 0)), code(2 * MIB, 1, 0, Location(1, 0), flags=1))
print([code(size, 1, 0, Location(1, 0)) for size in (0, 1, MIB, 3 * MIB, 2**63)])
print(code_of("cuMemCreate", None, 2 * MIB, c.byref(prop()), 0), code_of("cuMemCreate", c.byref(c.c_uint64()), 2 * MIB, None, 0))
handle = c.c_uint64()
call("cuMemCreate", c.byref(handle), 2 * MIB, c.byref(Prop(1, 0, Location(AT_NUMA, 0))), 0)
base = reserve(2 * MIB)
map_at(base, handle.value)
release(handle.value)
print(attribute(base, 2, c.c_uint))
unmap(base), unreserve(base, 2 * MIB)
"""
    ours = vmm(source + "assert set(books()) == {'moved', 'spilled'}", tmp_path, fallback="off", **CARD)
    assert ours.out == vmm(source, tmp_path, shim=False, **CARD).out


def test_driver_without_virtual_memory_management_answers_itself(tmp_path):
    source = """
init()
print(create_code(), code_of("cuMemMap", 4096, 4096, 0, 1, 0), code_of("cuMemRelease", 1), code_of("cuMemUnmap", 4096, 4096))
"""
    outputs = [vmm(source, tmp_path, shim=shim, FAKECUDA_CAPS="no-vmm", **CARD).out for shim in (True, False)]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("context", ["None", "init(0)"])
def test_handle_for_a_device_without_a_current_context_is_served(tmp_path, context):
    """(44): the budget is that of the device asked for, and its self-test finds a context."""
    source = f"""
call("cuInit", c.c_uint(0))
context = {context}
handles = [create(4 * MIB, 1) for _ in range(4)]
assert "device" not in books(0) and books(1)["device"] == (8 * MIB, 2) and books(1)["split"] == (8 * MIB, 2)
current = c.c_void_p()
call("cuCtxGetCurrent", c.byref(current))
assert current.value == (context.value if context else None)
second = init(1)
base = reserve(16 * MIB)
for i, handle in enumerate(handles):
    map_at(base + i * 4 * MIB, handle, 4 * MIB)
allow(base, 16 * MIB, 1)
fill(base, 16 * MIB, 3)
check(base, 16 * MIB, 3)
assert attribute(base + 15 * MIB, 9, c.c_int) == 1
unmap(base, 16 * MIB), unreserve(base, 16 * MIB)
for handle in handles: release(handle)
call("cuCtxDestroy_v2", second)
if context: call("cuCtxDestroy_v2", context)
"""
    ended = vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_DEVICES="2", **CARD)
    assert ended.report["contexts"] == 0


def test_two_devices_have_books_and_limits_of_their_own(tmp_path):
    source = """
first, second = init(0), init(1)
zero = ExpandableSegment(4 * MIB, 64 * MIB, 0)
one = ExpandableSegment(4 * MIB, 64 * MIB, 1)
assert one.grow(0, 3) and zero.grow(0, 1)
assert books(1)["device"] == (8 * MIB, 2) and books(1)["split"] == (4 * MIB, 1)
assert books(0)["device"] == (4 * MIB, 1) and "split" not in books(0)
assert zero.grow(1, 3)
assert books(0) | {"spilled": 0} == books(1) | {"spilled": 0}
assert host_bytes() == 8 * MIB
fill(one.base, 12 * MIB, 1)
call("cuCtxPushCurrent_v2", first)
fill(zero.base, 12 * MIB, 2)
check(zero.base, 12 * MIB, 2)
zero.close()
call("cuCtxPopCurrent_v2", c.byref(c.c_void_p()))
check(one.base, 12 * MIB, 1)
one.close()
"""
    vmm(source, tmp_path, vram_limit="8MiB", FAKECUDA_DEVICES="2", **CARD)


def test_handles_outlive_the_context_they_were_made_under(tmp_path):
    source = """
context = init()
segment = ExpandableSegment(4 * MIB, 64 * MIB)
assert segment.grow(0, 4)
fill(segment.base, 16 * MIB, 5)
synchronize()
call("cuCtxDestroy_v2", context)
assert books()["device"] == (8 * MIB, 2) and books()["split"] == (8 * MIB, 2)
init()
check(segment.base, 16 * MIB, 5)
segment.close()
assert set(books()) == {"moved", "spilled"}
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


def test_small_handle_has_chunks_of_split_blocks_moved_out_for_it(tmp_path):
    source = """
init()
block = alloc(96 * MIB)
fill(block, 96 * MIB, 4)
synchronize()
assert memory_info()[0] == 0
handle = create(6 * MIB)
held = books()
assert held["device"][0] == 64 * MIB and held["moved"] == 6 * MIB, held
check(block, 96 * MIB, 4)
release(handle), free(block)
assert set(books()) == {"moved", "spilled"} and host_bytes() == 0
"""
    ended = vmm(source, tmp_path, vram_reserve="0", log="debug", **CARD)
    assert on_host(ended) == 0


# ---- processes ----


def test_forked_child_begins_with_no_handles(tmp_path):
    """(35)"""
    source = """
import os
init()
segment = ExpandableSegment(4 * MIB, 64 * MIB)
assert segment.grow(0, 4)
fill(segment.base, 16 * MIB, 9)
pid = os.fork()
if pid == 0:
    ok = code_of("cuMemRelease", segment.handles[3]) == code_of("cuMemUnmap", segment.base, 16 * MIB) == 3
    os._exit(0 if ok and code_of("cuPointerGetAttribute", c.byref(c.c_uint()), c.c_int(2), segment.at(3)) == 3 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
check(segment.base, 16 * MIB, 9)
segment.close()
assert set(books()) == {"moved", "spilled"}
"""
    vmm(source, tmp_path, vram_limit="8MiB", **CARD)


def test_exit_with_live_handles_is_quiet(tmp_path):
    """(37)"""
    source = IMPORTS + "init()\nsegment = ExpandableSegment(4 * MIB, 64 * MIB)\nassert segment.grow(0, 6)\n"
    ended = run_program(source, tmp_path, vram_limit="8MiB", **CARD)
    assert (ended.code, ended.err) == (0, "")


# ---- failures ----

# A program that tries everything twice. What fails both times is said.
FAULTS = """
import os
from stubborn import call, heard, twice
import vmm_program
vmm_program.call = call
context = init()
base = reserve(64 * MIB)
handles = [create(6 * MIB, handle_types=FD) for _ in range(4)]
for i, handle in enumerate(handles):
    map_at(base + 6 * i * MIB, handle, 6 * MIB)
allow(base, 24 * MIB)
fill(base, 24 * MIB, 3)
check(base, 24 * MIB, 3)
for i, handle in enumerate(handles):
    assert properties(handle).location.type == AT_DEVICE
    assert attribute(base + 6 * i * MIB, 2, c.c_uint) == DEVICE
    assert retain(base + 6 * i * MIB) == handle
    release(handle)
    try:
        fd = export(handle)
    except CudaError as error: # made of memory that is not shared, because sharing it was refused
        assert error.code == INVALID_VALUE
    else:
        assert import_fd(fd) == handle
        os.close(fd)
        release(handle)
held = books()
assert held["device"][0] + held["split"][0] == 24 * MIB == held["device"][0] + host_bytes(), held
release(handles[0]), release(handles[3])
unmap(base, 12 * MIB), unmap(base + 12 * MIB, 12 * MIB)
release(handles[1]), release(handles[2])
unreserve(base, 64 * MIB)
assert set(books()) == {"moved", "spilled"} and host_bytes() == 0, (books(), host_bytes())
call("cuCtxDestroy_v2", context)
print(*heard)
"""


@pytest.mark.parametrize(("limit", "code"), [("", 2), ("", 999), ("12MiB", 2), ("12MiB", 801)])
def test_each_call_failed_once_leaves_nothing(tmp_path, limit, code):
    settings = {"FAKECUDA_VRAM": "16MiB", "FAKECUDA_CAPS": "posix-fd", "vram_limit": limit}
    clean = vmm(FAULTS, tmp_path, **settings)
    assert clean.out == "\n"
    failed = 0
    for symbol, times in clean.report["calls"].items():
        if symbol.startswith(("cuGetProcAddress", "cuDriverGetVersion", "nvml")):
            continue
        for nth in range(1, min(times, FAILURES_OF_A_CALL) + 1):
            ended = run_program(IMPORTS + FAULTS, tmp_path, FAKECUDA_FAIL=f"{symbol}:{nth}:{code}", **settings)
            what = f"{symbol} call {nth} -> {code}: {ended.err}"
            assert ended.code == 0, what
            assert ended.report["violations"] == [], what
            assert ended.held() == {}, what
            assert ended.report["streams"] == ended.report["events"] == ended.report["contexts"] == 0, what
            assert set(ended.out.split()) <= {"1", "2", str(code)}, what
            failed += 1
    assert failed > 60


# ---- threads ----


@pytest.mark.parametrize("seed", ["1", "2", "3"])
@pytest.mark.parametrize("settings", [{"FAKECUDA_VRAM": "64MiB"}, {"FAKECUDA_VRAM": "1GiB", "vram_limit": "40MiB"}])
def test_threads_at_random_leave_nothing(tmp_path, seed, settings):
    ended = run([str(CLIENTS / "handles"), "--seed", seed], tmp_path, **settings)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("ok")
    assert ended.report["clean"], ended.report
    assert ended.report["peak"]["vmm_host_bytes"] > 16 << 20
