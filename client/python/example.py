#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a register, reads it back and fetches a proof of it.

    pip install pycapnp~=2.2.0
    client/python/example.py /run/ledgerd.sock
"""

import asyncio
import sys

import capnp
import ledgerd


async def main(path):
    async with await ledgerd.connect(path) as ledger:
        key = ledgerd.encode_key([(0, b"owner"), (2, b"greeting")])
        parent = await ledger.state_by_index(-1)  # The newest state.
        state = await ledger.set(parent, [key], [b"hello"])  # Durable from here on.
        value = await ledger.get_single_value(state, key)
        proof = await ledger.prove(state, [key])
        print(f"state {state.hex()}\nvalue {value.decode()}\nproof of {len(proof)} bytes")


if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} SOCKET")
asyncio.run(capnp.run(main(sys.argv[1])))
