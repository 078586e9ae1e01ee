"""What may run in a soak: the kinds of programs, the settings that they get, configurations, intruders. Lists, and nothing done.

In a command {python}, {clients}, {scripts}, {soak} and {seed} stand for what the run knows.
"""

from dataclasses import dataclass

MIB = 1 << 20

HOST_RESERVE_MIB = 384
"""What every program leaves of its group: for what programs take without asking, so that nobody has to be killed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of program.

    Attributes:
        name: what it is called.
        command: as above.
        talks: it holds still when it is told to, and goes on until it is told to end; others end by themselves.
        ends: it may end by itself, with status 0, although it talks.
        keeps: it may end without giving back what it holds.
        without: the settings that it cannot do with.
    """

    name: str
    command: tuple[str, ...]
    talks: bool = False
    ends: bool = False
    keeps: bool = False
    without: frozenset[str] = frozenset()


def _python(name: str, ends: bool = False, keeps: bool = False) -> Kind:
    return Kind(name, ("{python}", "{soak}/program/program.py", name, "{seed}"), True, ends, keeps)


def _client(name: str, *arguments: str, without: frozenset[str] = frozenset()) -> Kind:
    # --slack: free memory that is told includes host memory, if it is advertised, and that is others' too.
    words = ("c", name, *(word for word in arguments if word.isalpha()))
    return Kind("-".join(words), (f"{{clients}}/{name}", "--slack", "1GiB", *arguments), without=without)


def _script(name: str) -> Kind:
    # It compares the free memory that it is told with what it was before.
    return Kind(name, ("{python}", f"{{scripts}}/{name}.py", str(16 * MIB)), without=frozenset({"advertise"}))


TALKING = (
    _python("churn"),
    _python("threads"),
    _python("contexts"),
    _python("forks"),
    _python("spike"),
    _python("fill"),
    _python("stubborn"),
    _python("leak", ends=True, keeps=True),
)

PASSING = (
    _client("linked", "--vram", "16MiB", "--seed", "{seed}"),
    _client("dlopened", "--vram", "16MiB", "--seed", "{seed}", "pitch", "malloc"),
    _client("deepbind", "--vram", "16MiB", "--seed", "{seed}"),
    _client("proc_address", "--vram", "16MiB", "--seed", "{seed}", "async", "pool"),
    _client("threads", "--vram", "16MiB", "--seed", "{seed}", "--threads", "6"),
    _client("handles", "--seed", "{seed}", "--threads", "3", "--count", "60", without=frozenset({"FAKECUDA_CAPS"})),
    _client("contexts", "--vram", "16MiB", "--seed", "{seed}"),
    _client("stream_order", "--vram", "16MiB", "--count", "6"),
    _client("capture", "--vram", "16MiB"),
    _client("forks", "--vram", "16MiB", "before"),
    _client("forks", "--vram", "16MiB", "busy"),
    _client("forks", "--vram", "16MiB", "exec"),
    _script("bindings_overflow"),
    _script("core_overflow"),
    _script("numba_copies"),
)

KINDS = {kind.name: kind for kind in (*TALKING, *PASSING)}

SETTINGS: dict[str, tuple[str, ...]] = {
    "FAKECUDA_VRAM": ("4MiB", "8MiB", "16MiB"),
    "FAKECUDA_DEVICES": ("1", "2"),
    "FAKECUDA_DEFER": ("0", "0", "2"),
    "FAKECUDA_POPULATE": ("0", "1"),
    "FAKECUDA_CAPS": ("", "", "", "no-numa", "no-host-vmm", "no-vmm"),
    "host_limit": ("64MiB", "128MiB", "256MiB"),
    "fallback": ("", "", "", "split", "host", "managed"),
    "placement": ("", "interleave", "front"),
    "expect": ("", "", "32MiB", "100%"),
    "chunk": ("", "2MiB"),
    "movable": ("", "1"),
    "moves": ("", "", "0"),
    "min_spill": ("", "64KiB"),
    "vram_limit": ("", "", "50%"),
    "vram_reserve": ("", "", "10%"),
    "advertise": ("", "", "64MiB"),
    "retry_first": ("", "", "1"),
    "remember": ("", "", "{remember}"),
}
"""By setting, as tests/shim/harness.py takes it, the values that may be drawn; "": unset."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the daemon may be told while it runs.

    Attributes:
        text: TOML.
        is_broken: it must be refused, and the one before stays in force.
        per_process_bytes, per_user_bytes: the caps it sets.
        is_critical: it makes any machine's RAM critical.
    """

    text: str
    is_broken: bool = False
    per_process_bytes: int | None = None
    per_user_bytes: int | None = None
    is_critical: bool = False


CONFIGURATIONS = {
    "plain": Configuration(""),
    "process cap": Configuration('[lease]\nper_process = "64MiB"\n', per_process_bytes=64 * MIB),
    "user cap": Configuration('[lease]\nper_user = "192MiB"\n', per_user_bytes=192 * MIB),
    "both caps": Configuration('[lease]\nper_process = "40MiB"\nper_user = "256MiB"\n', False, 40 * MIB, 256 * MIB),
    "small groups are short": Configuration('[ram]\nnotice = "80%"\nwarn = "50%"\ncritical = "2%"\n'),
    "RAM is short": Configuration('[ram]\nnotice = "100%"\nwarn = "99.9%"\ncritical = "1%"\n'),
    "RAM is critical": Configuration('[ram]\nnotice = "100%"\nwarn = "100%"\ncritical = "100%"\n', is_critical=True),
    "slow looks": Configuration("[poll]\nfastest_s = 0.5\nslowest_s = 5.0\n"),
    "no TOML": Configuration("[lease\n", is_broken=True),
    "unknown key": Configuration('[lease]\nper_proces = "1GiB"\n', is_broken=True),
    "no size": Configuration('[lease]\nreserve = "much"\n', is_broken=True),
}

INTRUDERS = (
    "garbage",
    "half",
    "silent",
    "flood",
    "out of order",
    "wrong page",
    "many descriptors",
    "liar",
    "crowd",
    "status storm",
)
"""Hostile clients of the daemon's: intruders.py."""
