"""Every driver call that is made on the way is made to fail once, in turn, for each tier: nothing leaks, nothing is left
half-done, and the program hears a documented error."""

import pytest
from harness import FAILURES_OF_A_CALL, run_program, succeed

CARD = {"FAKECUDA_VRAM": "16MiB", "FAKECUDA_DEFER": "1"}

# A program that tries everything twice, as one that expects trouble does. What fails both times is said. After a self-test
# that failed, "out of memory" is a fair answer to the first overflow.
PROGRAM = """
from stubborn import call, heard, twice
context = init()
s = stream()
blocks = [(twice(alloc, size), size) for size in (6 * MIB, 24 * MIB, 20 * MIB)]
pool_blocks = [(twice(alloc_async, 20 * MIB, s), 20 * MIB) for _ in range(2)]
for pointer, size in blocks + pool_blocks:
    fill(pointer, size, 9, s)
call("cuStreamSynchronize", s)
for pointer, size in blocks + pool_blocks:
    check(pointer, 4096, 9)
    assert attribute(pointer, 2, c.c_uint) == DEVICE
memory_info()
for pointer, size in pool_blocks:
    fill(pointer, size, 1, s)
    twice(free_async, pointer, s)
for pointer, size in blocks:
    twice(free, pointer)
synchronize()
synchronize()
call("cuStreamDestroy_v2", s)
assert memory_info()[0] == 16 * MIB, memory_info()
print(*heard)
"""


@pytest.mark.parametrize("fallback", ["auto", "host", "managed", "off"])
@pytest.mark.parametrize("code", [2, 999])
def test_each_call_failed_once_leaves_nothing(tmp_path, fallback, code):
    program = PROGRAM
    if fallback == "off":
        program = PROGRAM.replace("(6 * MIB, 24 * MIB, 20 * MIB)", "(3 * MIB, 2 * MIB, MIB)").replace("20 * MIB", "MIB")
    clean = succeed(program, tmp_path, fallback=fallback, **CARD)
    assert clean.out == "\n"
    failed = 0
    for symbol, times in clean.report["calls"].items():
        if symbol.startswith(("cuGetProcAddress", "cuDriverGetVersion", "nvml")):
            continue
        for nth in range(1, min(times, FAILURES_OF_A_CALL) + 1):
            ended = run_program(program, tmp_path, fallback=fallback, FAKECUDA_FAIL=f"{symbol}:{nth}:{code}", **CARD)
            what = f"{symbol} call {nth} -> {code}: {ended.err}"
            assert ended.code == 0, what
            assert ended.report["violations"] == [], what
            assert ended.held() == {}, what
            assert ended.report["streams"] == ended.report["events"] == 0, what
            assert set(ended.out.split()) <= {"2", str(code)}, what
            failed += 1
    assert failed > 20
