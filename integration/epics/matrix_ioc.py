"""A softIoc with an IOC shell that tells when a command has ended.

Usage: python matrix_ioc.py -d FILE [-d FILE ...] [-m MACROS] [--acf FILE]

It prints "IOC Running", runs each line of its standard input as a command of
the IOC shell, prints "done COMMAND" behind what that printed, and ends when
its standard input ends.
"""

import argparse
import ctypes
import os
import sys

from epicscorelibs import ioc

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--database", action="append", required=True)
    parser.add_argument("-m", "--macros", default="")
    parser.add_argument("--acf", help="access security file")
    args = parser.parse_args()
    if args.acf:
        ioc.dbCore.asSetFilename(args.acf.encode())
    ioc.start_ioc(dbs=[(file, args.macros) for file in args.database])
    for line in sys.stdin:
        command = line.strip()
        ioc.ioc(command)
        ctypes.CDLL(None).fflush(None)  # the shell prints through C
        print("done", command, flush=True)
    sys.stderr.flush()
    os._exit(0)
