"""A second witness, to judge the first: caproto, which shares no code with libca.

Usage: python crosscheck.py --out FILE [--mask 6] PV [PV ...] < PIPE

It writes the "connected", "update" and "end" lines of record.py, prints "ready" once every PV has
delivered an update, and ends when its standard input ends.
"""

import argparse
import base64
import json
import sys
import threading
import time

import numpy
from caproto.threading.client import Context

EPICS_EPOCH = 631152000
TIME = 14
STRING_BYTES = 40


def value_bytes(native, data):
    """The elements of an update as record.py writes them, and their number."""
    if native == 0:
        return b"".join(bytes(s)[:STRING_BYTES].ljust(STRING_BYTES, b"\0") for s in data), len(data)
    elements = numpy.asarray(data)
    return elements.astype(elements.dtype.newbyteorder("<")).tobytes(), len(elements)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--mask", type=int, default=6)
    parser.add_argument("pv", nargs="+")
    args = parser.parse_args()
    waited_for = set(args.pv)
    lock = threading.Lock()
    written = []
    with open(args.out, "w", encoding="ascii") as out:

        def tell(line):
            line["seen"] = time.time_ns()
            with lock:
                out.write(json.dumps(line) + "\n")
                out.flush()

        def writer(name):
            def update(_, response):
                native = int(response.data_type) - TIME
                value, count = value_bytes(native, response.data)
                stamp = response.metadata.stamp
                tell({
                    "event": "update", "pv": name, "type": native, "count": count,
                    "status": int(response.metadata.status), "severity": int(response.metadata.severity),
                    "secs": stamp.secondsSinceEpoch + EPICS_EPOCH, "nanos": stamp.nanoSeconds,
                    "value": base64.b64encode(value).decode()})
                written.append(name)
                if name in waited_for:
                    waited_for.discard(name)
                    if not waited_for:
                        print("ready", flush=True)

            return update

        # caproto holds callbacks weakly: they live in this list
        held = []
        for pv in Context().get_pvs(*args.pv):
            pv.wait_for_connection(timeout=30)
            channel = pv.channel
            tell({
                "event": "connected", "pv": pv.name, "type": int(channel.native_data_type),
                "count": channel.native_data_count})
            subscription = pv.subscribe(data_type="time", data_count=0, mask=args.mask)
            held += [subscription, writer(pv.name)]
            subscription.add_callback(held[-1])
        sys.stdin.read()
        for subscription in held[::2]:
            subscription.clear()
        tell({"event": "end", "updates": len(written)})


if __name__ == "__main__":
    main()
