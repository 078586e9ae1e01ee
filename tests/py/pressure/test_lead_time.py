"""How long before the end people are told: memory is filled under a simulated clock, looked at as the daemon does."""

import pytest

from greenboost_py.base.config import Config
from greenboost_py.pressure.levels import Level, Sample
from greenboost_py.pressure.model import State, limits_of, step
from greenboost_py.pressure.pace import next_look_s

MIB, GIB = 1 << 20, 1 << 30
CONFIG = Config()
TOTAL = 16 * GIB
LIMITS = limits_of(CONFIG.ram, CONFIG.forecast, TOTAL)
CALM_BEFORE_S = 20.0


def warn_lead_s(fill: int, from_bytes: int, phase_s: float) -> float:
    """How many seconds before the end WARN was reached, where the fill begins some time after a look."""
    begin_s, end_s = CALM_BEFORE_S + phase_s, CALM_BEFORE_S + phase_s + from_bytes / fill
    state, now_s = State(), 0.0
    while now_s < end_s:
        available_bytes = from_bytes - max(0, int((now_s - begin_s) * fill))
        state, assessment = step(state, Sample("ram", now_s, TOTAL, available_bytes), LIMITS)
        if assessment.level >= Level.WARN:
            return end_s - now_s
        now_s += next_look_s([(assessment, LIMITS)], CONFIG.poll)
    return -1.0


@pytest.mark.parametrize(
    ("fill_mib_per_s", "least_warn_s"),
    [(1, 1600), (10, 160), (100, 28), (256, 12), (512, 6), (1024, 3), (2048, 1.4), (4096, 0.3)],
)
def test_warn_comes_before_the_end_at_every_rate(fill_mib_per_s: int, least_warn_s: float) -> None:
    fill = fill_mib_per_s * MIB
    from_bytes = min(12 * GIB, LIMITS.warn_bytes + 90 * fill)  # of a slow fill, the last minutes are enough
    lead_s = min(warn_lead_s(fill, from_bytes, phase_s / 10) for phase_s in range(0, 20, 3))
    print(f"{fill_mib_per_s:5} MiB/s: WARN {lead_s:7.2f} s before the end")
    assert lead_s >= least_warn_s
