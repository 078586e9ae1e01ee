"""GreenBoost: runs unmodified CUDA programs past the end of VRAM, without tipping over the machine.

Packages import rightwards only: cli, then sensors, then base. `docs/architecture.md` has the whole picture, and
`tests/layering` checks it.
"""

__version__ = "0.1.0"
