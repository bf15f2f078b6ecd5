"""A second kind of real server: caproto's, which shares no code with EPICS base.

Usage: python caproto_ioc.py [--types wide]

It listens at EPICS_CAS_INTF_ADDR_LIST and EPICS_CAS_SERVER_PORT, prints "IOC
Running", and runs until it is killed. With "--types wide" some records have
another type, as after an edit and a restart.
"""

import argparse
import asyncio

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty, run

PREFIX = "CP:"


class Records(PVGroup):
    double = pvproperty(
        value=2.5, name="double", units="mm", precision=3,
        upper_disp_limit=10, lower_disp_limit=-10, upper_alarm_limit=9, lower_alarm_limit=-9,
        upper_warning_limit=8, lower_warning_limit=-8, upper_ctrl_limit=7, lower_ctrl_limit=-7)
    float = pvproperty(value=1.25, name="float", dtype=ChannelType.FLOAT, units="V")
    long = pvproperty(value=-70000, name="long", dtype=ChannelType.LONG, units="counts")
    short = pvproperty(value=-7, name="short", dtype=ChannelType.INT)
    enum = pvproperty(value="On", name="enum", dtype=ChannelType.ENUM, enum_strings=["Off", "On", "Broken"])
    string = pvproperty(value="a text", name="string", dtype=ChannelType.STRING)
    char = pvproperty(value=b"a text of more than forty characters, which is long", name="char", dtype=ChannelType.CHAR, max_length=200)
    doubles = pvproperty(value=[1.5, 2.5, 3.5], name="doubles", max_length=10)
    longs = pvproperty(value=list(range(30000)), name="longs", dtype=ChannelType.LONG, max_length=30000)
    strings = pvproperty(value=["one", "two", "three"], name="strings", dtype=ChannelType.STRING, max_length=5)
    ticks = pvproperty(value=0.0, name="ticks")

    @ticks.startup
    async def ticks(self, instance, async_lib):
        while True:
            await instance.write(instance.value + 1)
            await async_lib.sleep(0.1)


class Wide(Records):
    long = pvproperty(value=0.5, name="long", max_length=4)


async def running(async_lib):
    async def tell():
        await asyncio.sleep(0.2)  # the hook runs before the sockets answer
        print("IOC Running", flush=True)

    asyncio.ensure_future(tell())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", default="")
    args = parser.parse_args()
    group = Wide if args.types == "wide" else Records
    run(group(prefix=PREFIX).pvdb, interfaces=["127.0.0.1"], startup_hook=running, log_pv_names=False)
