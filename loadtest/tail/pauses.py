#!/usr/bin/env python3
"""When does the machine stand still? A thread of real-time priority that wants to wake every millisecond, as cyclictest's does.

    pauses.py --core 0 --out FILE        # until SIGTERM

Nothing that runs on the core keeps such a thread from waking in time, so where it wakes late the machine itself was not there: the
hypervisor had taken the core away. Writes a line for each pause: its start and end in nanoseconds of the Unix epoch. A pause
is known to begin a millisecond late at most, and those below half a millisecond are left out. Needs CAP_SYS_NICE.
"""

from __future__ import annotations

import argparse
import gc
import os
import pathlib
import signal
import sys
import time
from typing import List, Tuple

PERIOD_NS = 1_000_000
LEAST_NS = 500_000


def watch(wanted: List[bool]) -> List[Tuple[int, int]]:
    pauses: List[Tuple[int, int]] = []
    due = time.time_ns() + PERIOD_NS
    while wanted[0]:
        time.sleep(max(0, due - time.time_ns()) / 1e9)
        now = time.time_ns()
        if now - due >= LEAST_NS:
            pauses.append((due, now))
            due = now
        due += PERIOD_NS
    return pauses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    except PermissionError:
        sys.exit("pauses.py: real-time priority needs CAP_SYS_NICE")
    wanted = [True]
    signal.signal(signal.SIGTERM, lambda *_: wanted.__setitem__(0, False))
    gc.disable()
    print("watching", flush=True)
    pauses = watch(wanted)
    options.out.write_text("".join(f"{start} {end}\n" for start, end in pauses), encoding="ascii")


if __name__ == "__main__":
    main()
