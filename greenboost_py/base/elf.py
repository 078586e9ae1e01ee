"""What the head of an ELF file says about how it is run. For files of anybody's making: every offset is checked first.

Source: elf(5), and the kernel's own loader, fs/binfmt_elf.c.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_MAGIC = b"\x7fELF"
_PT_INTERP = 3
_PHNUM_MAX = 0xFFFE
"""0xffff says that the number is elsewhere (PN_XNUM): the kernel runs no such file."""
_PATH_MAX = 4096

_MACHINES = {
    3: "i386",
    8: "MIPS",
    20: "32-bit PowerPC",
    21: "PowerPC64",
    22: "s390x",
    40: "32-bit ARM",
    62: "x86-64",
    183: "aarch64",
    243: "RISC-V",
    258: "LoongArch",
}


class ElfError(ValueError):
    """The file starts like an ELF file, but is cut short or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What has to agree between a program and a library loaded into it.

    Attributes:
        bits: 32 or 64.
        is_little_endian: the byte order.
        machine: e_machine, 0 to 65535.
    """

    bits: int
    is_little_endian: bool
    machine: int

    def __str__(self) -> str:
        name = _MACHINES.get(self.machine, f"machine {self.machine}")
        if self.machine == 62 and self.bits == 32:
            return "x32"
        if self.machine in (8, 243, 258):
            return f"{self.bits}-bit {name}"
        return name


@dataclass(frozen=True, slots=True)
class Elf:
    """The head of an ELF file.

    Attributes:
        architecture: what it runs on.
        interpreter: the dynamic loader it asks for (PT_INTERP); None: a static program, or a library.
    """

    architecture: Architecture
    interpreter: str | None


def read_elf(file: BinaryIO) -> Elf | None:
    """Reads the head of an ELF file.

    Args:
        file: seekable; its position is changed.

    Returns:
        None where it is no ELF file at all.

    Raises:
        ElfError: it starts like one, and is malformed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    ident = file.read(min(16, size))
    if ident[:4] != _MAGIC:
        return None
    if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise ElfError("its ELF header is cut short or malformed")
    is_64 = ident[4] == 2
    order = "<" if ident[5] == 1 else ">"
    # e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum
    fields = _unpack(file, size, 16, order + ("HHIQQQIHHH" if is_64 else "HHIIIIIHHH"))
    architecture = Architecture(64 if is_64 else 32, order == "<", fields[1])
    table, entry_bytes, count = fields[4], fields[8], fields[9]
    segment = order + ("IIQQQQ" if is_64 else "IIIII")
    if count and entry_bytes != (56 if is_64 else 32):
        raise ElfError(f"its program headers are {entry_bytes} bytes each")
    if count > _PHNUM_MAX:
        raise ElfError(f"it has {count} program headers")
    for index in range(count):
        header = _unpack(file, size, table + index * entry_bytes, segment)
        if header[0] == _PT_INTERP:
            offset, length = (header[2], header[5]) if is_64 else (header[1], header[4])
            return Elf(architecture, _interpreter(file, size, offset, length))
    return Elf(architecture, None)


def _interpreter(file: BinaryIO, size: int, offset: int, length: int) -> str:
    if not 2 <= length <= _PATH_MAX:
        raise ElfError(f"the name of its dynamic loader is {length} bytes long")
    text = _read(file, size, offset, length)
    if text[-1] != 0:
        raise ElfError("the name of its dynamic loader has no end")
    return os.fsdecode(text.split(b"\0", 1)[0])


def _unpack(file: BinaryIO, size: int, offset: int, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, _read(file, size, offset, struct.calcsize(layout)))


def _read(file: BinaryIO, size: int, offset: int, length: int) -> bytes:
    if offset + length > size:
        raise ElfError(f"it is cut short: {size} bytes, where {offset + length} are the least")
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise ElfError("it is being written to")
    return data
