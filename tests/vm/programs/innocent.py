"""Somebody's work: holds memory, every page of it touched, and looks at it now and then.

innocent.py MIB
"""

import sys
import time

with open("/proc/self/comm", "w") as name:
    name.write("innocent")
work = bytearray(b"x") * (int(sys.argv[1]) << 20)
print("ready", flush=True)
while True:
    time.sleep(0.2)
    sum(work[:: 1 << 20])
