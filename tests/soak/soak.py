"""Random programs, kills, daemon restarts, configurations, pressure and hostile clients, with the books checked all along.

usage: soak.py [--for 10m] [--events N] [--seed N] [--out build/soak] [--json]

What happens, and in which order, follows from the seed; when it happens, and how far it comes, from the machine. The run
ends when its time is over, after so many events, at the first failed check, or at Ctrl-C, with a report of one screen;
OUT/report.json has it all, and OUT the logs. No GPU is needed: programs run on the simulated driver.

Exit codes: 0 all checks passed; 1 one did not; 2 wrong usage; 130 interrupted (SIGTERM and SIGHUP likewise).
"""

import argparse
import math
import re
import secrets
import shutil
import signal
import sys
import time
from itertools import islice
from pathlib import Path

sys.path.extend(str(Path(__file__).resolve().parents[1] / name) for name in ("..", "shim", "proof"))

from broken import PATIENCE_S, BrokenError
from harness import FAKE_DRIVER, ROOT, SHIM
from schedule import schedule
from showing import progress
from stage import DAEMON_FAULTS, Stage, stage
from tally import Tally, screen

from greenboost_py.base.errors import GreenboostError

PROGRAM_FAULTS = frozenset({"counters", "pattern", "status", "file", "process", "noise"})
FAULTS = sorted(DAEMON_FAULTS | PROGRAM_FAULTS)
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_duration_s(text: str) -> float:
    """Reads 90s, 10m (or 10min), 24h or 2d, as seconds.

    Raises:
        ArgumentTypeError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", text)
    if match is None or match[2] not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 90s, 10m, 24h or 2d")
    return float(match[1]) * _UNITS[match[2]]


def run(stage: Stage, tally: Tally, length_s: float, events: int | None) -> None:
    """Lets things happen until it is time to end.

    Raises:
        BrokenError, AssertionError: a check failed.
    """
    begin_s = time.monotonic()
    with progress(tally) as show:
        for event in islice(schedule(tally.seed), events):
            tally.elapsed_s = time.monotonic() - begin_s
            if tally.elapsed_s >= length_s:
                break
            show()
            stage.do(event)
        stage.finish()
        tally.elapsed_s = time.monotonic() - begin_s


def soak(
    out: Path,
    seed: int,
    length_s: float = math.inf,
    events: int | None = None,
    fault: str = "",
    patience_s: float = PATIENCE_S,
) -> Tally:
    """A whole run.

    Args:
        out: what is there goes.
        seed: of the schedule.
        length_s: no event begins after so many seconds.
        events: no more than so many.
        fault: of FAULTS, what is done wrong on purpose.
        patience_s: how long the daemon's books may be behind.

    Returns:
        What happened, and the verdict.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tally = Tally(seed)
    try:
        with stage(out, fault, patience_s, tally) as place:
            try:
                run(place, tally, length_s, events)
            finally:
                place.close_books()
    except KeyboardInterrupt:
        tally.is_interrupted = True
    except (BrokenError, AssertionError, GreenboostError, RuntimeError) as error:
        tally.failure = f"event {tally.events}, {tally.elapsed_s:.1f} s, seed {seed}: {error}"
    (out / "report.json").write_text(tally.as_json())
    return tally


def main() -> int:
    """Reads the command line, runs, and reports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--for", dest="length_s", type=parse_duration_s, default=600.0, metavar="TIME")
    parser.add_argument("--events", type=int, help="end after so many, too")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--out", type=Path, default=ROOT / "build/soak")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--fault", choices=FAULTS, default="", help="do this wrong, to see that it is noticed")
    options = parser.parse_args()
    for library in (SHIM, FAKE_DRIVER / "libcuda.so.1"):
        if not library.exists():
            parser.error(f"{library} is missing: run `make build`")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # nobody is left behind
    print(f"seed {options.seed}; logs in {options.out}", file=sys.stderr, flush=True)
    tally = soak(options.out.absolute(), options.seed, options.length_s, options.events, options.fault)
    print(tally.as_json() if options.json else screen(tally))
    return 1 if tally.failure is not None else 130 if tally.is_interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
