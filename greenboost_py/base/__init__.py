"""What everything else stands on: errors, units, the shim's lists and its shared page, and the file system's root."""
