"""The daemon: sense, decide, look again, act."""
