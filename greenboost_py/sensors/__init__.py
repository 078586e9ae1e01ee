"""Readings of the machine: each module is a function from a SysRoot to a frozen reading."""
