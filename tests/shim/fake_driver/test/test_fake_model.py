"""The simulated driver's performance model: what a kernel's reads cost, against sums done by hand."""

import pytest
from harness import run_program

SETUP = """
context = init()
class Model(c.Structure):
    _fields_ = [("kernels", c.c_uint64), ("bytes", c.c_uint64 * 3), ("busy_ns", c.c_double * 3), ("ns", c.c_double),
        ("hit", c.c_uint64), ("missed", c.c_uint64), ("evicted", c.c_uint64)]
def result():
    model = Model()
    call("fakecuda_model_result", c.byref(model))
    return model
def read_once(base, size):
    call("fakecuda_model_reset")
    call("fakecuda_model_read", base, size)
    return result()
def near(got, want, share=1e-9):
    assert abs(got - want) <= want * share, (got, want)
class Prop(c.Structure):
    _fields_ = [("type", c.c_int), ("handles", c.c_int), ("location", c.c_int * 2), ("meta", c.c_void_p), ("flags", c.c_ubyte * 8)]
class Access(c.Structure):
    _fields_ = [("location", c.c_int * 2), ("flags", c.c_int)]
def layout(*chunks):
    '''One range of chunks: ("d" or "h", size).'''
    base, at = c.c_uint64(), 0
    total = sum(size for _, size in chunks)
    call("cuMemAddressReserve", c.byref(base), total, 0, 0, 0)
    for kind, size in chunks:
        handle = c.c_uint64()
        call("cuMemCreate", c.byref(handle), size, c.byref(Prop(1, 0, (c.c_int * 2)(1 if kind == "d" else 2, 0))), 0)
        call("cuMemMap", base.value + at, size, 0, handle, 0)
        call("cuMemRelease", handle)
        at += size
    call("cuMemSetAccess", base.value, total, c.byref(Access((c.c_int * 2)(1, 0), 3)), 1)
    return base.value
def managed(size, *advice):
    pointer = c.c_uint64()
    call("cuMemAllocManaged", c.byref(pointer), size, c.c_uint(1))
    for number, device in advice:
        call("cuMemAdvise", pointer, size, c.c_int(number), c.c_int(device))
    return pointer.value
VRAM, LINK, FAULT = 500, 25, 5
"""
DEVICE_FIRST = '*[("d", 128 * MIB), ("h", 128 * MIB)]'
IN_TURNS = '*[("d", 2 * MIB), ("h", 2 * MIB)] * 64'


def model(source, tmp_path, **settings):
    """Runs a program on the simulated driver alone; it has to end well."""
    ended = run_program(SETUP + source, tmp_path, shim=False, **settings)
    assert ended.code == 0, ended.err
    return ended


def test_model_all_in_vram_takes_its_bytes_over_the_bandwidth(tmp_path):
    source = """
for base in (alloc(256 * MIB), layout(("d", 256 * MIB))):
    got = read_once(base, 256 * MIB)
    near(got.ns, 256 * MIB / VRAM)
    assert list(got.bytes) == [256 * MIB, 0, 0] and got.kernels == 1
    near(got.busy_ns[0], got.ns)
near(read_once(base + 12345, 54321).ns, 54321 / VRAM)
call("fakecuda_model_read", base, 54321)
near(result().ns, 2 * 54321 / VRAM)
assert result().kernels == 2
"""
    model(source, tmp_path)


def test_model_all_in_host_memory_takes_its_bytes_over_the_link(tmp_path):
    source = """
import mmap
host, memory = c.c_void_p(), mmap.mmap(-1, 16 * MIB)
call("cuMemHostAlloc", c.byref(host), 16 * MIB, c.c_uint(0))
here = c.addressof(c.c_char.from_buffer(memory))
call("cuMemHostRegister_v2", c.c_void_p(here), 16 * MIB, c.c_uint(0))
advised = managed(16 * MIB, (3, -1), (5, 0))
for base in (host.value, here, advised, layout(("h", 16 * MIB))):
    got = read_once(base, 16 * MIB)
    near(got.ns, 16 * MIB / LINK)
    assert list(got.bytes) == [0, 16 * MIB, 0]
"""
    model(source, tmp_path)


def test_model_one_memory_after_the_other_is_the_sum_less_a_window(tmp_path):
    source = f"""
got = read_once(layout({DEVICE_FIRST}), 256 * MIB)
near(got.ns, 128 * MIB / VRAM + 128 * MIB / LINK - 32 * MIB / VRAM, 0.001)
"""
    model(source, tmp_path)


def test_model_in_turns_is_the_longer_of_the_two(tmp_path):
    source = f"""
got = read_once(layout({IN_TURNS}), 256 * MIB)
near(got.ns, 128 * MIB / LINK, 0.01)
assert list(got.bytes) == [128 * MIB, 128 * MIB, 0]
"""
    model(source, tmp_path)
    model(source.replace("LINK, 0.01", "LINK, 0.02"), tmp_path, FAKECUDA_MODEL_DEVICE_GBPS="26")


def test_model_a_little_host_memory_hides_behind_vram(tmp_path):
    source = """
chunks = [("d", 2 * MIB)] * 49 + [("h", 2 * MIB)] + [("d", 2 * MIB)] * 50
near(read_once(layout(*chunks * 4), 800 * MIB).ns, 4 * 99 * 2 * MIB / VRAM)
"""
    model(source, tmp_path)


def test_model_window_smaller_than_a_chunk_is_nearly_the_sum(tmp_path):
    source = f"""
got = read_once(layout({IN_TURNS}), 256 * MIB)
want = 128 * MIB / VRAM + 128 * MIB / LINK
assert 0.98 * want < got.ns < want, (got.ns, want)
"""
    model(source, tmp_path, FAKECUDA_MODEL_WINDOW="256KiB")


def test_model_window_of_a_byte_reads_piece_after_piece(tmp_path):
    source = f"near(read_once(layout({IN_TURNS}), 256 * MIB).ns, 128 * MIB / VRAM + 128 * MIB / LINK)"
    model(source, tmp_path, FAKECUDA_MODEL_WINDOW="1")


def test_model_managed_memory_larger_than_vram_misses_every_page(tmp_path):
    source = """
base = managed(48 * MIB)
for sweep in range(3):
    got = read_once(base, 48 * MIB)
    near(got.ns, 48 * MIB / FAULT)
    assert (got.missed, got.hit, got.evicted) == (24, 0, 24 if sweep else 8)
    assert list(got.bytes) == [0, 0, 48 * MIB]
"""
    model(source, tmp_path, FAKECUDA_VRAM="32MiB")


def test_model_managed_memory_that_fits_is_read_from_vram_the_second_time(tmp_path):
    source = """
base = managed(30 * MIB)
near(read_once(base, 30 * MIB).ns, 30 * MIB / FAULT)
got = read_once(base, 30 * MIB)
near(got.ns, 30 * MIB / VRAM)
assert (got.missed, got.hit, got.evicted) == (0, 15, 0)
held = alloc(16 * MIB)
got = read_once(base, 30 * MIB)
assert got.missed == 15 and got.hit == 0
read_once(base, 16 * MIB)
assert read_once(base, 16 * MIB).hit == 8
assert read_once(base, 4096).bytes[0] == 4096 and read_once(base + 20 * MIB, 4096).bytes[2] == 2 * MIB
free(base), free(held)
other = managed(32 * MIB)
assert read_once(other, 32 * MIB).evicted == 0
"""
    model(source, tmp_path, FAKECUDA_VRAM="32MiB")


def test_model_last_page_is_as_large_as_the_allocation_and_vram_never_without_one(tmp_path):
    source = """
base, held = managed(3 * MIB), alloc(32 * MIB)
got = read_once(base, 3 * MIB)
assert (got.bytes[2], got.missed, got.evicted) == (3 * MIB, 2, 1)
near(got.ns, 3 * MIB / FAULT)
"""
    model(source, tmp_path, FAKECUDA_VRAM="32MiB")


def test_model_managed_memory_on_a_card_without_it_is_vram(tmp_path):
    source = "near(read_once(managed(16 * MIB), 16 * MIB).ns, 16 * MIB / VRAM)"
    model(source, tmp_path, FAKECUDA_CAPS="no-managed")


def test_model_advice_without_access_or_for_the_device_migrates(tmp_path):
    source = """
for advice in ([(3, -1)], [(3, 0), (5, 0)], [(5, 0)]):
    assert read_once(managed(2 * MIB, *advice), 2 * MIB).missed == 1, advice
"""
    model(source, tmp_path)


def test_model_what_no_kernel_may_read_is_refused_and_counts_nothing(tmp_path):
    source = """
refused = lambda base, size: code_of("fakecuda_model_read", base, size)
base, split = alloc(4096), layout(("d", 2 * MIB), ("h", 2 * MIB))
assert refused(base, 0) == refused(base, 4097) == refused(0, 1) == refused(base, (1 << 64) - 1) == 1
reserved = c.c_uint64()
call("cuMemAddressReserve", c.byref(reserved), 2 * MIB, 0, 0, 0)
assert refused(reserved.value, 4096) == 1
call("cuMemUnmap", split + 2 * MIB, 2 * MIB)
assert refused(split, 2 * MIB + 1) == 1 and refused(split, 2 * MIB) == 0
assert result().kernels == 1 and result().bytes[0] == 2 * MIB
assert code_of("fakecuda_model_result", None) == 1
call("cuCtxDestroy_v2", context)
assert refused(base, 1) == 201
"""
    model(source, tmp_path)


def test_model_touches_no_memory(tmp_path):
    source = """
import resource
base = [managed(512 * MIB), layout(("h", 512 * MIB)), alloc(512 * MIB)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for address in base:
    call("fakecuda_model_read", address, 512 * MIB)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
"""
    model(source, tmp_path)


@pytest.mark.parametrize("name", ["DEVICE_GBPS", "LINK_GBPS", "FAULT_GBPS", "WINDOW"])
@pytest.mark.parametrize("text", ["0", "-1", "fast", "1e99", "nan", "inf", "25 GB/s", "17179869185G", "9" * 400])
def test_model_setting_that_makes_no_sense_costs_one_line(name, text, tmp_path):
    source = (
        "near(read_once(alloc(MIB), MIB).ns, MIB / VRAM)\nnear(read_once(managed(2 * MIB), MIB).ns, 2 * MIB / FAULT)"
    )
    ended = model(source, tmp_path, **{f"FAKECUDA_MODEL_{name}": text})
    assert len(ended.err.splitlines()) == 1 and f"FAKECUDA_MODEL_{name}" in ended.err


def test_model_bandwidths_are_as_set(tmp_path):
    source = """
near(read_once(alloc(MIB), MIB).ns, MIB / 1000.5)
near(read_once(layout(("h", 2 * MIB)), 2 * MIB).ns, 2 * MIB / 12.5)
near(read_once(managed(2 * MIB), 2 * MIB).ns, 2 * MIB / 0.5)
"""
    settings = {"DEVICE_GBPS": "1000.5", "LINK_GBPS": "12.5", "FAULT_GBPS": ".5", "WINDOW": "1GiB"}
    ended = model(source, tmp_path, **{f"FAKECUDA_MODEL_{key}": value for key, value in settings.items()})
    assert ended.err == ""
