"""What pyepics (libca, the client library of EPICS base) makes of an IOC.

Usage: python clients.py PREFIX

PREFIX begins the records that epics_tools_test.go lists. The script gets, puts
and monitors them as scripts of a laboratory do, and prints one JSON object of
what it found, by the name of the call. EPICS_CA_ADDR_LIST says where.
"""

import json
import sys
import threading
import time

import epics

TIMEOUT = 20


def pv(name):
    """A PV, connected and with its first value."""
    p = epics.PV(sys.argv[1] + name, form="ctrl", connection_timeout=TIMEOUT)
    if not p.wait_for_connection(timeout=TIMEOUT):
        raise SystemExit("no connection to " + name)
    p.get(use_monitor=False, timeout=TIMEOUT)
    return p


def caget(name, **options):
    """Asks the IOC: what pyepics remembers of a monitor may be older than a put."""
    return epics.caget(sys.argv[1] + name, use_monitor=False, timeout=TIMEOUT, **options)


def caput(name, value):
    """Puts with completion (WRITE_NOTIFY) and gives how long it took."""
    begin = time.time()
    if epics.caput(sys.argv[1] + name, value, wait=True, timeout=TIMEOUT) != 1:
        raise SystemExit("put to %s failed" % name)
    return time.time() - begin


def monitor(name, n):
    """The first n values of a monitor."""
    values, enough = [], threading.Event()

    def update(value=None, timestamp=None, **_):
        values.append([value, timestamp])
        if len(values) >= n:
            enough.set()

    epics.camonitor(sys.argv[1] + name, callback=update)
    enough.wait(TIMEOUT)
    epics.camonitor_clear(sys.argv[1] + name)
    return values[:n]


def main():
    found = {}
    caput("large", list(range(20000)))
    caput("text", "a long string of more than forty bytes, which STRING cannot hold")
    found["get"] = caget("d")
    found["get string"] = caget("d", as_string=True)
    found["get enum"] = caget("e")
    found["get enum string"] = caget("e", as_string=True)
    found["get array"] = caget("w").tolist()
    found["get 2 of array"] = caget("w", count=2).tolist()
    large = caget("large").tolist()
    found["get large"] = [len(large), large[-1] - large[0]]
    found["get long string"] = caget("text", as_string=True)
    found["get string record"] = caget("s")
    found["get field"] = [caget("d.EGU"), caget("d.RTYP"), caget("nick.NAME")]
    found["ctrlvars"] = {k: v for k, v in pv("d").get_ctrlvars(timeout=TIMEOUT).items() if k not in ("status", "severity")}
    found["enum strings"] = list(pv("e").get_ctrlvars(timeout=TIMEOUT)["enum_strs"])
    stamp = pv("stamped").get_timevars(timeout=TIMEOUT)
    found["stamp"] = [stamp["timestamp"], stamp["status"], stamp["severity"]]
    d, ro = pv("d"), pv("ro")
    found["info"] = [line.strip() for line in d.info.splitlines() if "=" in line]
    found["type"] = [d.type, d.count, d.host, d.access, ro.access, pv("large").nelm]
    found["monitor"] = monitor("tick", 3)

    caput("d", -9.5)
    found["put"] = [caget("d"), pv("d").severity]
    caput("e", "On")
    found["put enum"] = caget("e")
    caput("w", [7, 8])
    found["put array"] = caget("w").tolist()
    caput("text", "other words of more than forty characters in all")
    found["put long string"] = caget("text", as_string=True)
    caput("s", "new")
    found["put string"] = caget("s")
    found["put slow"] = caput("slow", 3)
    try:
        found["put read-only"] = ro.put(1, wait=True, timeout=TIMEOUT)
    except epics.ca.CASeverityException as refusal:
        found["put read-only"] = str(refusal)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
