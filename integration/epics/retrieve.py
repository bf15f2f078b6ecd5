"""Reads PVs as existing clients of the Appliance do.

Usage: python retrieve.py --server HOST:PORT --client CLIENT PV [PV ...]

CLIENT is aaclient (getApplianceInfo, then getData.raw by a C++ decoder), aapy
(getData.raw by Python protobuf) or aapy-json (getData.json). Prints a JSON line
per sample of the last hour: pv, secs, nanos, severity, status (aaclient only),
value (a list, what is not finite as text).
"""

import argparse
import asyncio
import datetime
import json
import math
import os
import warnings

import numpy

# aapy's generated messages are older than protobuf's C++ backend takes
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"


def plain(value):
    """A value as a list that JSON can state."""
    array = numpy.atleast_1d(numpy.asarray(value))
    if array.dtype == "S1":  # aaclient has strings as rows of 40 characters
        rows = array.reshape(-1, array.shape[-1])
        return [b"".join(row.tolist()).split(b"\0")[0].decode() for row in rows]
    return [str(item) if isinstance(item, float) and not math.isfinite(item) else item for item in array.tolist()]


def tell(pv, secs, nanos, severity, value, status=0):
    print(json.dumps({
        "pv": pv, "secs": int(secs), "nanos": int(nanos), "severity": int(severity), "status": int(status),
        "value": plain(value)}))


async def read_aaclient(server, pvs):
    from aaclient import appl
    from aaclient.conf import loadConfig

    conf = loadConfig(paths=())
    conf["url"] = "http://%s/mgmt/bpl/getApplianceInfo" % server
    archive = await appl.getArchive(conf)
    try:
        for pv in pvs:
            async for values, meta in archive.raw_iter(pv, T0="-1 h", Tend="now"):
                for value, m in zip(values, meta):
                    tell(pv, m["sec"], m["ns"], m["severity"], value, m["status"])
    finally:
        await archive.close()


def read_aapy(server, pvs, fetcher):
    host, port = server.split(":")
    source = fetcher(host, int(port))
    end = datetime.datetime.now(datetime.timezone.utc)
    for pv in pvs:
        data = source.get_values(pv, end - datetime.timedelta(hours=1), end)
        for i in range(len(data)):
            event = data.get_event(i)
            nanos, secs = math.modf(event.timestamp)
            tell(pv, secs, nanos * 1e9, numpy.atleast_1d(event.severity)[0], event.value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--client", choices=["aaclient", "aapy", "aapy-json"], required=True)
    parser.add_argument("pv", nargs="+")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.client == "aaclient":
        asyncio.run(read_aaclient(args.server, args.pv))
        return
    import aa.js
    import aa.pb

    read_aapy(args.server, args.pv, aa.pb.PbFetcher if args.client == "aapy" else aa.js.JsonFetcher)


if __name__ == "__main__":
    main()
