"""What ends a soak."""

PATIENCE_S = 120.0
"""Nothing that works takes so long, on a machine however busy; what does hangs. A program may leave a silent daemon alone for
30 s."""


class BrokenError(Exception):
    """A check has failed; the text says which, where, and what was found."""
