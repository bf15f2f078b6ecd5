"""Reads PVs as all 35 DBR types through libca, and tells what each holds.

Usage: python dbr.py PV [PV ...]

It shares no code with pvlog: libca through ctypes. Each line of its output is
a JSON object of one PV and type:

  pv, type (0 to 34), status (ECA); with status 1 also
  count, value (base64 of the elements, little endian, strings 40 bytes each),
  alarm ([status, severity]), stamp ([EPICS seconds, nanoseconds]),
  units (base64), precision, limits (in the order of the structure), labels (base64)

as far as the type has them.
"""

import base64
import ctypes
import json
import struct
import sys
import threading

from record import ON_CONNECTION, ON_EVENT, OP_CONN_UP, load_libca

ECA_NORMAL = 1
CODES = {0: "40s", 1: "h", 2: "f", 3: "H", 4: "B", 5: "i", 6: "d"}
# what stands before the value, by class and native type: db_access.h, without
# padding of its own, which the x's are
STS = {0: "=hh", 1: "=hh", 2: "=hh", 3: "=hh", 4: "=hhx", 5: "=hh", 6: "=hh4x"}
TIME = {0: "=hhII", 1: "=hhII2x", 2: "=hhII", 3: "=hhII2x", 4: "=hhII3x", 5: "=hhII", 6: "=hhII4x"}


def head(kind, native):
    """The format of what stands before the value, and the number of limits."""
    if kind == 0 or native == 0 and kind in (3, 4):
        return ("=" if kind == 0 else STS[0]), 0
    if kind == 1:
        return STS[native], 0
    if kind == 2:
        return TIME[native], 0
    limits = 6 if kind == 3 else 8
    code = CODES[native]
    if native in (2, 6):
        return "=hhh2x8s%d%s" % (limits, code), limits
    return "=hh8s%d%s%s" % (limits, code, "x" if native == 4 else ""), limits


def text(b):
    return base64.b64encode(b.split(b"\0")[0]).decode()


def tell(pv, args):
    line = {"pv": pv, "type": args.type, "status": args.status}
    if args.status == ECA_NORMAL and args.dbr:
        kind, native = divmod(args.type, 7)
        size = struct.calcsize("=" + CODES[native])
        if native == 3 and kind in (3, 4):
            status, severity, n = struct.unpack("=hhh", ctypes.string_at(args.dbr, 6))
            line["alarm"] = [status, severity]
            line["labels"] = [text(ctypes.string_at(args.dbr + 6 + 26 * i, 26)) for i in range(n)]
            offset = 6 + 16 * 26
        else:
            form, limits = head(kind, native)
            offset = struct.calcsize(form)
            found = struct.unpack(form, ctypes.string_at(args.dbr, offset)) if offset else ()
            if kind:
                line["alarm"] = list(found[:2])
            if kind == 2:
                line["stamp"] = list(found[2:4])
            if limits:
                line["limits"] = [repr(float(v)) for v in found[-limits:]]
                line["units"] = text(found[-limits - 1])
                line["precision"] = found[2] if native in (2, 6) else 0
        line["count"] = args.count
        line["value"] = base64.b64encode(ctypes.string_at(args.dbr + offset, size * args.count)).decode()
    print(json.dumps(line), flush=True)


def main():
    names = sys.argv[1:]
    ca = load_libca()
    ca.ca_array_get_callback.argtypes = [ctypes.c_long, ctypes.c_ulong, ctypes.c_void_p, ON_EVENT, ctypes.c_void_p]
    left = threading.Semaphore(0)
    up = threading.Semaphore(0)

    @ON_EVENT
    def got(args):
        tell(ca.ca_name(args.chid).decode(), args)
        left.release()

    @ON_CONNECTION
    def connection(args):
        if args.op == OP_CONN_UP:
            up.release()

    ca.ca_context_create(1)
    channels = []
    for name in names:
        chid = ctypes.c_void_p()
        ca.ca_create_channel(name.encode(), connection, None, 0, ctypes.byref(chid))
        channels.append(chid)
    ca.ca_flush_io()
    for name in names:
        if not up.acquire(timeout=30):
            raise RuntimeError("not all PVs are connected")
    for chid in channels:
        for kind in range(35):
            ca.ca_array_get_callback(kind, ca.ca_element_count(chid), chid, got, None)
    ca.ca_flush_io()
    for _ in range(35 * len(names)):
        if not left.acquire(timeout=30):
            raise RuntimeError("not all gets are answered")
    ca.ca_context_destroy()


if __name__ == "__main__":
    main()
