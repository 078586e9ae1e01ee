"""Commands of the administrator's that are run when a level is reached."""

from collections.abc import Mapping
from dataclasses import dataclass

from greenboost_py.actions.alert import Alert, variables
from greenboost_py.actions.alert_text import headline
from greenboost_py.actions.child import run_child
from greenboost_py.base.config import HooksConfig
from greenboost_py.pressure.levels import Level

_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
"""Meant for the daemon alone. Source: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A command to run.

    Attributes:
        argv: the program and its arguments.
        environment: all that it gets.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]


def plan(config: HooksConfig, alert: Alert, environment: Mapping[str, str]) -> Hook | None:
    """The command for an alert; None: there is none for its level.

    Args:
        config: which command for which level.
        alert: goes into the command's environment: `actions.alert.variables`, and GREENBOOST_HEADLINE.
        environment: the daemon's own, which the command inherits but for what is the daemon's alone.
    """
    commands = {
        Level.OK: config.on_ok,
        Level.NOTICE: config.on_notice,
        Level.WARN: config.on_warn,
        Level.CRITICAL: config.on_critical,
    }
    argv = commands[alert.level]
    if not argv:
        return None
    inherited = {name: value for name, value in environment.items() if not name.startswith(_NOT_INHERITED)}
    return Hook(argv, {**inherited, **variables(alert), "GREENBOOST_HEADLINE": headline(alert)})


class Hooks:
    """Runs them, one at a time for each resource and level.

    Args:
        config: which command for which level, and how long it may take.
    """

    def __init__(self, config: HooksConfig) -> None:
        self._config = config
        self._running: set[tuple[str, Level]] = set()

    async def run(self, alert: Alert, environment: Mapping[str, str]) -> str | None:
        """Runs the command for an alert, if there is one.

        Returns:
            One line on what went wrong, for the journal; None: nothing did.
        """
        hook = plan(self._config, alert, environment)
        if hook is None:
            return None
        key = alert.resource, alert.level
        if key in self._running:
            return f"hook: {hook.argv[0]}: still running since the last time, not started again"
        self._running.add(key)
        try:
            outcome = await run_child(hook.argv, hook.environment, self._config.timeout_s)
        finally:
            self._running.discard(key)
        return None if outcome.problem is None else f"hook: {outcome.problem}"
