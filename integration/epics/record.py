"""The independent witness: writes down every update that libca delivers.

Usage: python record.py --out FILE [--mask 6] PV [PV ...] < PIPE

It shares no code with pvlog: libca, the client library of EPICS base, through
ctypes. Each line of FILE is a JSON object with "event" and "seen" (Unix
nanoseconds of this host):

  connected     pv, type (native DBR type 0 to 6), count (of the channel)
  disconnected  pv
  update        pv, type, count (elements of this update), status, severity,
                secs (Unix), nanos, value (base64 of the elements, little
                endian, strings 40 bytes each)
  fault         pv, status (ECA): an update that carried no data
  end           updates: how many were written; a FILE without it is cut short

It prints "ready" once every PV has delivered an update and ends, with the
"end" line written, when its standard input ends.
"""

import argparse
import base64
import ctypes
import json
import queue
import struct
import sys
import threading
import time

import epicscorelibs.path

ECA_NORMAL = 1
OP_CONN_UP = 6
EPICS_EPOCH = 631152000
TIME = 14  # DBR_TIME_<native> is native + 14

# native DBR type: (bytes of an element, offset of the first in DBR_TIME_<native>)
LAYOUT = {0: (40, 12), 1: (2, 14), 2: (4, 12), 3: (2, 14), 4: (1, 15), 5: (4, 12), 6: (8, 16)}


class ConnectionArgs(ctypes.Structure):
    _fields_ = [("chid", ctypes.c_void_p), ("op", ctypes.c_long)]


class EventArgs(ctypes.Structure):
    _fields_ = [
        ("usr", ctypes.c_void_p),
        ("chid", ctypes.c_void_p),
        ("type", ctypes.c_long),
        ("count", ctypes.c_long),
        ("dbr", ctypes.c_void_p),
        ("status", ctypes.c_int),
    ]


ON_CONNECTION = ctypes.CFUNCTYPE(None, ConnectionArgs)
ON_EVENT = ctypes.CFUNCTYPE(None, EventArgs)


def load_libca():
    ctypes.CDLL(epicscorelibs.path.get_lib("Com"), mode=ctypes.RTLD_GLOBAL)
    ca = ctypes.CDLL(epicscorelibs.path.get_lib("ca"), mode=ctypes.RTLD_GLOBAL)
    ca.ca_context_create.argtypes = [ctypes.c_int]
    ca.ca_create_channel.argtypes = [
        ctypes.c_char_p, ON_CONNECTION, ctypes.c_void_p, ctypes.c_uint, ctypes.POINTER(ctypes.c_void_p)]
    ca.ca_create_subscription.argtypes = [
        ctypes.c_long, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_long,
        ON_EVENT, ctypes.c_void_p, ctypes.c_void_p]
    ca.ca_field_type.argtypes = [ctypes.c_void_p]
    ca.ca_field_type.restype = ctypes.c_short
    ca.ca_element_count.argtypes = [ctypes.c_void_p]
    ca.ca_element_count.restype = ctypes.c_ulong
    ca.ca_name.argtypes = [ctypes.c_void_p]
    ca.ca_name.restype = ctypes.c_char_p
    ca.ca_message.restype = ctypes.c_char_p
    return ca


class Witness:
    """Subscribes to PVs and queues what libca's threads tell of them."""

    def __init__(self, ca, mask):
        self.ca = ca
        self.mask = mask
        self.lines = queue.SimpleQueue()
        self.subscribed = set()
        self.ending = False
        # libca keeps only addresses: these must live as long as it does
        self.on_connection = ON_CONNECTION(self.connection)
        self.on_event = ON_EVENT(self.event)

    def check(self, status, what):
        if status != ECA_NORMAL:
            raise RuntimeError("%s: %s" % (what, self.ca.ca_message(status).decode()))

    def open(self, names):
        self.check(self.ca.ca_context_create(1), "create context")
        for name in names:
            chid = ctypes.c_void_p()
            self.check(
                self.ca.ca_create_channel(name.encode(), self.on_connection, None, 0, ctypes.byref(chid)), name)
        self.ca.ca_flush_io()

    def tell(self, event, chid, **more):
        line = {"event": event, "seen": time.time_ns(), "pv": self.ca.ca_name(chid).decode("latin-1")}
        line.update(more)
        self.lines.put(line)

    def connection(self, args):
        if args.op != OP_CONN_UP:
            if not self.ending:  # or it is this client that hangs up
                self.tell("disconnected", args.chid)
            return
        native = self.ca.ca_field_type(args.chid)
        self.tell("connected", args.chid, type=native, count=self.ca.ca_element_count(args.chid))
        if args.chid in self.subscribed:
            return  # libca renews a subscription by itself
        self.subscribed.add(args.chid)
        # count 0: an array arrives at its own length
        self.check(
            self.ca.ca_create_subscription(
                native + TIME, 0, args.chid, self.mask, self.on_event, None, None), "subscribe")
        self.ca.ca_flush_io()

    def event(self, args):
        if args.status != ECA_NORMAL or not args.dbr:
            self.tell("fault", args.chid, status=args.status)
            return
        native = args.type - TIME
        size, offset = LAYOUT[native]
        status, severity, seconds, nanos = struct.unpack("=hhII", ctypes.string_at(args.dbr, 12))
        value = ctypes.string_at(args.dbr + offset, size * args.count)
        self.tell(
            "update", args.chid, type=native, count=args.count, status=status, severity=severity,
            secs=seconds + EPICS_EPOCH, nanos=nanos, value=base64.b64encode(value).decode())


def write(witness, out, waited_for):
    """Writes and flushes line by line until None comes, and counts updates."""
    updates = 0
    told = time.monotonic()
    while True:
        try:
            line = witness.lines.get(timeout=5)
        except queue.Empty:
            line = {}
        if waited_for and time.monotonic() - told > 5:
            told = time.monotonic()
            print("no update yet of %d: %s" % (len(waited_for), " ".join(sorted(waited_for)[:10])), flush=True)
        if line == {}:
            continue
        if line is None:
            break
        out.write(json.dumps(line) + "\n")
        out.flush()
        if line["event"] == "update":
            updates += 1
            if line["pv"] in waited_for:
                waited_for.discard(line["pv"])
                if not waited_for:
                    print("ready", flush=True)
    out.write(json.dumps({"event": "end", "seen": time.time_ns(), "updates": updates}) + "\n")
    out.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--mask", type=int, default=6, help="2 LOG, 4 ALARM, 1 VALUE, 8 PROPERTY")
    parser.add_argument("pv", nargs="+")
    args = parser.parse_args()
    witness = Witness(load_libca(), args.mask)
    with open(args.out, "w", encoding="ascii") as out:
        writer = threading.Thread(target=write, args=(witness, out, set(args.pv)))
        writer.start()
        witness.open(args.pv)
        sys.stdin.read()
        witness.ending = True
        witness.ca.ca_context_destroy()
        witness.lines.put(None)
        writer.join()


if __name__ == "__main__":
    main()
