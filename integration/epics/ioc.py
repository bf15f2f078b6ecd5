"""A softIoc with the subroutines that all_types.db names.

Usage: python ioc.py -d all_types.db [-m P=EP:]

It is `python -m epicscorelibs.ioc` without the pvAccess server, and ends, as
that does, when its standard input ends. The routines do what the stock record
types cannot: fill the arrays of an aSub record, and stamp a record with the
time of a "device" that is late, early, stuck or broken.
"""

import ctypes
import math
import struct
import time

from epicscorelibs import ioc

EPICS_EPOCH = 631152000
HOUR = 3600


class Address(ctypes.Structure):
    """dbAddr of dbAddr.h."""

    _fields_ = [
        ("record", ctypes.c_void_p),
        ("field", ctypes.c_void_p),
        ("description", ctypes.c_void_p),
        ("elements", ctypes.c_long),
        ("type", ctypes.c_short),
        ("size", ctypes.c_short),
        ("special", ctypes.c_short),
        ("dbr_type", ctypes.c_short),
    ]


ioc.dbCore.dbNameToAddr.argtypes = [ctypes.c_char_p, ctypes.POINTER(Address)]
ioc.dbCore.registryFunctionAdd.argtypes = [ctypes.c_char_p, ctypes.c_void_p]

addresses = {}


def address(record, field):
    """Where a field lies. A record begins with its name, 61 bytes."""
    name = ctypes.string_at(record) + b"." + field
    if name not in addresses:
        found = Address()
        if ioc.dbCore.dbNameToAddr(name, ctypes.byref(found)):
            raise LookupError(name)
        addresses[name] = found
    return addresses[name]


def read(record, field, code):
    size = struct.calcsize(code)
    return struct.unpack(code, ctypes.string_at(address(record, field).field, size))[0]


def write(record, field, code, *values):
    data = struct.pack(code, *values)
    ctypes.memmove(address(record, field).field, data, len(data))


def sine(record):
    """VAL = sin(A)."""
    write(record, b"VAL", "=d", math.sin(read(record, b"A", "=d")))
    return 0


def arrays(record):
    """Fills VALA to VALC of an aSub from its counter in A."""
    n = int(read(record, b"A", "=d"))
    write(record, b"VALA", "=1000d", *(n + i / 8 for i in range(1000)))
    length = n % 21
    write(record, b"VALB", "=%dh" % length, *(n - i for i in range(length)))
    write(record, b"NEVB", "=I", length)
    label = ("label %d of the aSub" % n).encode()
    write(record, b"VALC", "=40s", label)
    return n


def stamp(record, seconds, nanoseconds):
    write(record, b"TIME", "=II", int(seconds) - EPICS_EPOCH, nanoseconds)


def device(shift):
    """A subroutine for a record with TSE=-2: VAL counts its runs, and
    shift(run, second, nanosecond) gives the stamp."""

    def routine(record):
        run = int(read(record, b"VAL", "=d")) + 1
        second, nanosecond = divmod(time.time_ns(), 10**9)
        stamp(record, *shift(run, second, nanosecond))
        write(record, b"VAL", "=d", float(run))
        return 0

    return routine


ROUTINES = {
    b"sine": sine,
    b"arrays": arrays,
    # every fourth stamp is 5 s late: a clock that jumps back
    b"backwards": device(lambda n, s, ns: (s - 5 if n % 4 == 0 else s, ns)),
    # three runs share one stamp
    b"stuck": device(lambda n, s, ns: (s - s % 3, 0)),
    # every fifth stamp is two hours ahead of everybody's clock
    b"ahead": device(lambda n, s, ns: (s + 2 * HOUR if n % 5 == 0 else s, ns)),
    # every fifth stamp is two hours old
    b"behind": device(lambda n, s, ns: (s - 2 * HOUR if n % 5 == 0 else s, ns)),
    # a clock that was never set, every other time
    b"unset": device(lambda n, s, ns: (EPICS_EPOCH + n if n % 2 else s, ns)),
    # every fifth stamp has more nanoseconds than a second
    b"illegal": device(lambda n, s, ns: (s, 1500000000 if n % 5 == 0 else ns)),
    # stamps at the edges of the second
    b"edges": device(lambda n, s, ns: (s, 999999999 if n % 2 else 0)),
}

ROUTINE = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
registered = {name: ROUTINE(routine) for name, routine in ROUTINES.items()}
for name, routine in registered.items():
    if not ioc.dbCore.registryFunctionAdd(name, ctypes.cast(routine, ctypes.c_void_p)):
        raise RuntimeError("register subroutine %s" % name.decode())

if __name__ == "__main__":
    ioc.main(extra_dbd_load=(), extra_dso_load=())
