"""How short of memory the machine is, and how soon: pure functions of readings."""
