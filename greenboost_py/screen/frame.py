"""The machine at one moment, as `top` draws it, `record` writes it and `plot` reads it. Pure data, in bytes.

A recording is made of these, so a field that is added needs a default, and none is ever renamed.
"""

from dataclasses import dataclass

from greenboost_py.pressure.levels import Level


@dataclass(frozen=True, slots=True)
class Ram:
    """The machine's RAM, in parts that add up to its total.

    Attributes:
        total_bytes: RAM that the kernel manages.
        available_bytes: what can really be had (sensors.ram, `effective_available_bytes`); 0 to total_bytes.
        free_bytes: of it, used for nothing; the rest is cache that is given back when asked for.
        gpu_host_bytes: held by GPU drivers, and in no process list: the hidden part.
    """

    total_bytes: int
    available_bytes: int
    free_bytes: int
    gpu_host_bytes: int

    @property
    def used_bytes(self) -> int:
        """What cannot be had."""
        return max(0, self.total_bytes - self.available_bytes)

    @property
    def hidden_bytes(self) -> int:
        """What GPU drivers hold, at most what is used."""
        return min(self.gpu_host_bytes, self.used_bytes)

    @property
    def programs_bytes(self) -> int:
        """What programs and the kernel itself use."""
        return self.used_bytes - self.hidden_bytes

    @property
    def cache_bytes(self) -> int:
        """What is in use, and can be had all the same."""
        return self.available_bytes - self.spare_bytes

    @property
    def spare_bytes(self) -> int:
        """Free, as far as it can be had: of the last free pages the kernel keeps some for itself."""
        return min(self.free_bytes, self.available_bytes)


@dataclass(frozen=True, slots=True)
class Swap:
    """All swap.

    Attributes:
        total_bytes, used_bytes: of all devices; used is at most total.
        zram_bytes: the RAM that compressed swap and disks in RAM (zram) take.
    """

    total_bytes: int
    used_bytes: int
    zram_bytes: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Memory PSI: the share of the last ten seconds in which tasks waited for memory, in percent, 0 to 100.

    Attributes:
        some_percent: at least one task.
        full_percent: all that had something to do; None where the kernel does not say.
    """

    some_percent: float
    full_percent: float | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU and its memory; a total of 0: it has none of that kind, or it is not known.

    Attributes:
        address: PCI, for example 0000:c4:00.0.
        name: the product's, or what the kernel calls it.
        is_apu: its VRAM is a part of RAM that the firmware set aside.
        vram_total_bytes, vram_used_bytes: its own memory; used is at most total.
        gtt_total_bytes, gtt_used_bytes: RAM that its driver lends it, at most and now.
    """

    address: str
    name: str
    is_apu: bool
    vram_total_bytes: int
    vram_used_bytes: int
    gtt_total_bytes: int
    gtt_used_bytes: int


@dataclass(frozen=True, slots=True)
class Resource:
    """What to think of a resource.

    Attributes:
        name: `ram`, `vram:<PCI address>`, `gtt:<PCI address>` or `cgroup:<path>`, as in pressure.levels.
        level: how short it is.
        total_bytes, available_bytes: all there is of it, and what can still be had.
        exhausted_in_s: seconds until nothing is left, at the present rate; None: no trend.
        fill_bytes_per_s: that rate.
    """

    name: str
    level: Level
    total_bytes: int
    available_bytes: int
    exhausted_in_s: float | None
    fill_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class ProgramUse:
    """A program under the shim, over all of its devices.

    Attributes:
        pid: its process; 0 where it is in a pid namespace that is not to be seen from here.
        name: its executable's; the program's to choose, so not fit for a terminal as it is.
        gpus: the CUDA ordinals, in the program's own order, on which it holds or held something.
        tiers: bytes held, by tier (base.abi.TierUse); `leased` where only the daemon knows it.
        split_vram_bytes: what its split allocations have in VRAM; counted in the tier `device` too.
        vram_chunks, host_chunks: the chunks of its split allocations, by where they lie.
        moved_bytes: ever moved between VRAM and host memory, either way.
        refused: requests answered with out of memory.
        container: what the container is called that it is in, as little fit for a terminal; empty: in none.
    """

    pid: int
    name: str
    gpus: tuple[int, ...]
    tiers: dict[str, int]
    split_vram_bytes: int = 0
    vram_chunks: int = 0
    host_chunks: int = 0
    moved_bytes: int = 0
    refused: int = 0
    container: str = ""

    @property
    def held_bytes(self) -> int:
        """All that it holds, wherever it lies."""
        return sum(self.tiers.values())

    @property
    def vram_bytes(self) -> int:
        """Of it, in VRAM."""
        return self.tiers.get("device", 0)

    @property
    def host_bytes(self) -> int:
        """Of it, outside VRAM."""
        return self.held_bytes - self.vram_bytes


@dataclass(frozen=True, slots=True)
class Leases:
    """Host memory that the daemon has granted.

    Attributes:
        clients: programs that lease.
        held_bytes: granted to them, and not given back.
        pending_bytes: of it, not taken yet.
        refused: requests that were refused since the daemon's start.
    """

    clients: int
    held_bytes: int
    pending_bytes: int
    refused: int


@dataclass(frozen=True, slots=True)
class Warned:
    """A level that changed, or its repetition.

    Attributes:
        at_s: when, in seconds since the epoch.
        resource: as in `Resource`.
        level: the new one; OK: it is over.
        text: one line for everybody, without names of programs.
    """

    at_s: float
    resource: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything at one moment; what is not there, or cannot be read, is None or left out.

    Attributes:
        at_s: when, in seconds since the epoch.
        elapsed_s: seconds since the first frame of this view or recording, by a clock that nobody sets; 0 or more.
        by_daemon: whether levels, forecasts and warnings are the daemon's; else they are made from the frames so far.
        resources: RAM, GTT and VRAM of each GPU, memory cgroups.
        programs: by pid.
        leases: None without a daemon.
        warnings: the last few, the oldest first; in a recording those that are new.
        errors: what could not be read.
    """

    at_s: float
    elapsed_s: float
    by_daemon: bool
    ram: Ram | None = None
    swap: Swap | None = None
    stall: Stall | None = None
    gpus: tuple[Gpu, ...] = ()
    resources: tuple[Resource, ...] = ()
    programs: tuple[ProgramUse, ...] = ()
    leases: Leases | None = None
    warnings: tuple[Warned, ...] = ()
    errors: tuple[str, ...] = ()

    def resource(self, name: str) -> Resource | None:
        """What to think of a resource; None: it is not judged."""
        return next((each for each in self.resources if each.name == name), None)
