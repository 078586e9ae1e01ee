import contextlib
import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.elf import Architecture, Elf, ElfError, read_elf

X86_64 = 62


def head(
    bits: int = 64,
    order: str = "<",
    machine: int = X86_64,
    table: int | None = None,
    entry: int | None = None,
    count: int = 1,
) -> bytes:
    """An ELF header; by default its one program header follows it at once."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    size, entry_bytes = (64, 56) if bits == 64 else (52, 32)
    fields = (
        3,
        machine,
        1,
        0,
        size if table is None else table,
        0,
        0,
        size,
        entry_bytes if entry is None else entry,
        count,
    )
    layout = order + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH")
    return (ident + struct.pack(layout, *fields)).ljust(size, b"\0")


def interpreter_segment(bits: int, order: str, offset: int, length: int) -> bytes:
    if bits == 64:
        return struct.pack(order + "IIQQQQQQ", 3, 4, offset, 0, 0, length, length, 1)
    return struct.pack(order + "IIIIIIII", 3, offset, 0, 0, length, length, 4, 1)


def program(bits: int = 64, order: str = "<", name: bytes = b"/lib/ld.so\0") -> bytes:
    start = head(bits, order)
    offset = len(start) + (56 if bits == 64 else 32)
    return start + interpreter_segment(bits, order, offset, len(name)) + name


SMALL = program()


def read(data: bytes) -> Elf | None:
    return read_elf(io.BytesIO(data))


def test_read_elf_of_this_python_has_a_dynamic_loader() -> None:
    with open(sys.executable, "rb") as file:
        elf = read_elf(file)
    assert elf is not None
    assert elf.architecture.bits == struct.calcsize("P") * 8
    assert elf.interpreter is not None
    assert Path(elf.interpreter).exists()


@pytest.mark.parametrize("flags", [["-static"], ["-static-pie"]])
def test_read_elf_of_a_static_program_has_none(
    compile_c: Callable[..., Path], tmp_path: Path, flags: list[str]
) -> None:
    with open(compile_c(tmp_path / "static", "int main(void) { return 0; }", *flags), "rb") as file:
        elf = read_elf(file)
    assert elf is not None
    assert elf.interpreter is None


def test_read_elf_of_a_library_has_none(library: Path) -> None:
    with open(library, "rb") as file:
        elf = read_elf(file)
    assert elf is not None
    assert elf.interpreter is None


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_read_elf_of_each_class_and_byte_order_is_read(bits: int, order: str) -> None:
    assert read(program(bits, order)) == Elf(Architecture(bits, order == "<", X86_64), "/lib/ld.so")


@pytest.mark.parametrize(
    ("bits", "machine", "name"),
    [
        (64, 62, "x86-64"),
        (32, 62, "x32"),
        (32, 3, "i386"),
        (64, 183, "aarch64"),
        (32, 243, "32-bit RISC-V"),
        (64, 9, "machine 9"),
    ],
)
def test_architecture_has_the_name_people_use(bits: int, machine: int, name: str) -> None:
    assert str(Architecture(bits, True, machine)) == name


@pytest.mark.parametrize("data", [b"", b"\x7f", b"\x7fEL", b"#!/bin/sh\n", b"\0" * 100])
def test_read_elf_of_another_file_is_none(data: bytes) -> None:
    assert read(data) is None


@pytest.mark.parametrize("length", range(4, len(SMALL)))
def test_read_elf_cut_short_anywhere_is_an_error(length: int) -> None:
    with pytest.raises(ElfError):
        read(SMALL[:length])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x7fELF\x03\x01" + SMALL[6:], id="no such class"),
        pytest.param(b"\x7fELF\x02\x00" + SMALL[6:], id="no such byte order"),
        pytest.param(head(table=2**64 - 1) + bytes(56), id="a table past every end"),
        pytest.param(head(entry=0) + bytes(56), id="headers of no size"),
        pytest.param(head(entry=65535) + bytes(56), id="headers too large"),
        pytest.param(head(count=65535) + bytes(56), id="more headers than there can be"),
        pytest.param(head(count=65534) + bytes(56), id="more headers than there are"),
        pytest.param(head() + interpreter_segment(64, "<", 2**64 - 1, 16), id="a name past every end"),
        pytest.param(head() + interpreter_segment(64, "<", 0, 2**64 - 1), id="a name without end"),
        pytest.param(head() + interpreter_segment(64, "<", 0, 0), id="a name of no bytes"),
        pytest.param(head() + interpreter_segment(64, "<", 0, 5000) + bytes(5000), id="a name longer than a path"),
        pytest.param(program(name=b"/lib/ld.so"), id="a name that is not ended"),
    ],
)
def test_read_elf_of_a_hostile_file_is_an_error(data: bytes) -> None:
    with pytest.raises(ElfError):
        read(data)


def test_read_elf_without_program_headers_has_no_loader() -> None:
    elf = read(head(count=0, entry=0))
    assert elf is not None
    assert elf.interpreter is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x7fELF", b"\x7fELF\x02\x01", b"\x7fELF\x01\x02"]))
def test_read_elf_of_noise_is_read_or_refused(noise: bytes, start: bytes) -> None:
    with contextlib.suppress(ElfError):
        read(start + noise)


@given(st.data())
def test_read_elf_of_a_program_with_one_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SMALL) - 1))
    changed = SMALL[:at] + bytes([data.draw(st.integers(0, 255))]) + SMALL[at + 1 :]
    with contextlib.suppress(ElfError):
        read(changed)
