"""The product's settings, in a process that tells for how long a thread keeps the interpreter's lock.

The file that `LOCK_METER` names holds a double: the largest number of seconds of CPU time that the process used while a
thread that only wants to wake up every two milliseconds could not. A test writes 0 there and reads it later. CPU time,
because a busy machine makes the thread late too, but gives the process nothing in the meantime.
"""

import mmap
import os
import struct
import threading
import time

from bedrock_chat.settings import *  # noqa: F403

PERIOD = 0.002


def _measure(meter: mmap.mmap) -> None:
    last = time.process_time()
    while True:
        time.sleep(PERIOD)
        now = time.process_time()
        if now - last > struct.unpack_from("d", meter)[0]:
            struct.pack_into("d", meter, 0, now - last)
        last = now


def _start(path: str) -> None:
    with open(path, "r+b") as file:
        meter = mmap.mmap(file.fileno(), 8)
    threading.Thread(target=_measure, args=(meter,), daemon=True).start()


if "LOCK_METER" in os.environ:
    _start(os.environ["LOCK_METER"])
