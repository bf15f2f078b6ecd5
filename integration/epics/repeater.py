"""The repeater of EPICS base, as the program caRepeater runs it.

Usage: python repeater.py

It uses the port of EPICS_CA_REPEATER_PORT, says "repeating" and runs until it
is killed; without the port it ends at once.
"""

from record import load_libca

if __name__ == "__main__":
    print("repeating", flush=True)
    load_libca().caRepeaterThread(None)
