#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""client/python/ledgerd.py against a real ledgerd: flow-go's golden data, and the C++ client.

That the contract can be used by a Cap'n Proto that cannot pass descriptors. Needs pycapnp, and in
the environment LEDGERD_BINARY, LEDGERCTL_BINARY and LEDGERD_GOLDEN. The last line is the sum.
"""

import asyncio
import collections
import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client" / "python"))

import capnp  # noqa: E402
import ledgerd  # noqa: E402

GOLDEN = pathlib.Path(os.environ["LEDGERD_GOLDEN"])
START_SECONDS = 60
READER = 54402  # Nobody's.


class Server:
    """A ledgerd of the test's own, on a directory in /tmp: a socket's path is short."""

    def __init__(self, *flags):
        self.directory = tempfile.mkdtemp(prefix="ledgerd-", dir="/tmp")
        self.socket = self.directory + "/socket"
        ready, child_end = os.pipe()
        with open(self.directory + "/log", "wb") as log:
            self.process = subprocess.Popen(
                [
                    os.environ["LEDGERD_BINARY"],
                    f"--triedir={self.directory}/triedir",
                    f"--socket={self.socket}",
                    f"--ready-fd={child_end}",
                    *flags,
                ],
                stderr=log,
                stdin=subprocess.DEVNULL,
                pass_fds=[child_end],
            )
        os.close(child_end)
        with open(ready, "rb") as pipe:
            if not pipe.readline():  # It ends when the process does.
                self.stop()
                raise RuntimeError("ledgerd did not start")

    def ctl(self, *arguments):
        """ledgerctl's output."""
        command = [os.environ["LEDGERCTL_BINARY"], "--socket", self.socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def sessions(self):
        """Those of others than the asking ledgerctl."""
        sessions = json.loads(self.ctl("--json", "sessions"))["sessions"]
        return [each for each in sessions if not each["this"]]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(START_SECONDS)
        log = pathlib.Path(self.directory, "log").read_text(errors="replace")
        shutil.rmtree(self.directory)
        if status != 0:
            raise RuntimeError(f"ledgerd ended with {status}: {log}")


def on_loop(test):
    """A test that is a coroutine, on KJ's event loop."""

    @functools.wraps(test)
    def run(self):
        asyncio.run(capnp.run(test(self)))

    return run


def same(blob, value):
    """Whether `value` is what golden data says: hex, null, or a hash and a length."""
    if isinstance(blob, dict):
        return len(value) == blob["len"] and hashlib.sha256(value).hexdigest() == blob["sha256"]
    return value == bytes.fromhex(blob or "")


def key_of(parts):
    return ledgerd.encode_key([(part["type"], bytes.fromhex(part["value"])) for part in parts])


class LedgerdTest(unittest.TestCase):
    def start(self, *flags):
        server = Server(*flags)
        self.addCleanup(server.stop)
        return server

    def setUp(self):
        # What crossed the hand-over socket, and in which forms answers came.
        self.taken = self.given = 0
        self.forms = collections.Counter()
        exchange, read = ledgerd._exchange, ledgerd.Ledger._read

        def counted_exchange(path, kind, token, descriptor=None):
            result = exchange(path, kind, token, descriptor)
            self.taken += descriptor is None
            self.given += descriptor is not None
            return result

        def counted_read(ledger, bulk):
            self.forms[str(bulk.which())] += 1
            return read(ledger, bulk)

        ledgerd._exchange, ledgerd.Ledger._read = counted_exchange, counted_read
        self.addCleanup(setattr, ledgerd, "_exchange", exchange)
        self.addCleanup(setattr, ledgerd.Ledger, "_read", read)

    async def play(self, ledger, line):
        """One line of a scenario: does it, and compares the answer with flow-go's."""
        op = line["op"]
        if "state" in line:
            state = bytes.fromhex(line["state"])
        if op == "initial":
            self.assertEqual(await ledger.initial_state(), state)
        elif op == "has":
            self.assertEqual(await ledger.has_state(state), line["result"])
        elif op == "state_count":
            self.assertEqual(await ledger.state_count(), line["result"])
        elif op == "state_by_index":
            self.assertEqual((await ledger.state_by_index(line["index"])).hex(), line["state"])
        elif op == "get_single":
            value = await ledger.get_single_value(state, key_of(line["key"]))
            self.assertTrue(same(line["value"], value))
        elif op == "get":
            values = await ledger.get(state, [key_of(key) for key in line["keys"]])
            self.assertTrue(all(map(same, line["values"], values)))
            self.assertEqual(len(values), len(line["keys"]))
        elif op == "prove":
            proof = await ledger.prove(state, [key_of(key) for key in line["keys"]])
            self.assertTrue(same(line["proof"], proof))
        elif op == "set":
            keys = [key_of(key) for key in line["keys"]]
            values = [bytes.fromhex(value or "") for value in line["values"]]
            self.assertEqual((await ledger.set(state, keys, values)).hex(), line["new_state"])
        else:
            self.assertEqual(op, "block")

    async def play_or_fail(self, ledger, line):
        if "panic" in line:
            return  # flow-go dies of it.
        if "error" not in line:
            await self.play(ledger, line)
            return
        line.update(result=None, value=None, values=[], proof="", new_state="")
        with self.assertRaises(ledgerd.LedgerError):
            await self.play(ledger, line)

    async def play_scenario(self, name):
        with open(GOLDEN / name, encoding="ascii") as file:
            lines = [json.loads(line) for line in file]
        opened = lines.pop(0)
        self.assertEqual(opened["op"], "open")
        # Whatever has a byte goes through shared memory.
        flags = [f"--mtrie-cache-size={opened['forest_capacity']}", "--inline-threshold=0"]
        if "wal_segment_size" in opened:
            flags.append(f"--wal-segment-size={opened['wal_segment_size']}")
        server = self.start(*flags)
        async with await ledgerd.connect(server.socket) as ledger:
            for number, line in enumerate(lines, 2):
                try:
                    await self.play_or_fail(ledger, line)
                except Exception as error:
                    raise AssertionError(f"{name}, line {number}, {line['op']}") from error
        self.assertGreater(self.forms["span"], 100)
        self.assertGreater(self.taken, 0)
        self.assertGreater(self.given, 0)

    @on_loop
    async def test_answers_are_flow_gos_on_a_made_up_ledger(self):
        await self.play_scenario("scenario-small/scenario.jsonl")

    @on_loop
    async def test_answers_are_flow_gos_on_executed_blocks(self):
        await self.play_scenario("flow-blocks/scenario.jsonl")

    @on_loop
    async def test_large_payloads_are_the_same_by_every_way(self):
        server = self.start()
        size = 48 << 20
        blob = os.urandom(size)
        keys = [ledgerd.encode_key([(0, b""), (2, b"blob%d" % i)]) for i in range(2)]
        async with await ledgerd.connect(server.socket) as shared:
            self.assertTrue(shared.has_shared_memory)
            state = await shared.set(await shared.initial_state(), keys, [blob, b"short"])
            self.assertEqual(self.given, 1)
            value = await shared.get_single_value(state, keys[0])
            values = await shared.get(state, keys)
            proof = await shared.prove(state, keys)
            self.assertEqual(self.forms, {"span": 3})
        self.assertTrue(value == blob and values == [blob, b"short"])

        async with await ledgerd.connect(server.socket, shared_memory=False) as inline:
            self.assertFalse(inline.has_shared_memory)
            taken = self.taken
            self.assertTrue(await inline.get(state, keys) == values)
            self.assertTrue(await inline.prove(state, keys) == proof)
            self.assertEqual(await inline.set(await inline.initial_state(), keys, values), state)
            self.assertEqual(self.taken, taken)
        # The C++ client's.
        self.assertTrue(server.ctl("get", state.hex(), "0:/2:blob0", "--raw") == blob)
        self.assertTrue(server.ctl("prove", state.hex(), "0:/2:blob0", "0:/2:blob1") == proof)

    @on_loop
    async def test_calls_may_be_made_side_by_side(self):
        server = self.start("--inline-threshold=0")
        async with await ledgerd.connect(server.socket) as ledger:
            initial = await ledger.initial_state()
            keys = [ledgerd.encode_key([(0, b"%d" % i)]) for i in range(100)]
            sets = [ledger.set(initial, [key], [key * 50]) for key in keys]
            states = await asyncio.gather(*sets)
            gets = [ledger.get(state, keys) for state in states]
            for number, values in enumerate(await asyncio.gather(*gets)):
                self.assertEqual(values[number], keys[number] * 50)
                self.assertEqual(sum(map(len, values)), len(keys[number]) * 50)

    @on_loop
    async def test_nothing_is_kept_longer_than_needed(self):
        server = self.start("--inline-threshold=0")
        async with await ledgerd.connect(server.socket) as ledger:
            state = await ledger.initial_state()
            key = ledgerd.encode_key([(0, b"k")])
            for size in (10, 3 << 20, 100) * 10:
                state = await ledger.set(state, [key], [b"v" * size])
                self.assertEqual(len((await ledger.get(state, [key]))[0]), size)
            await ledger.state_count()  # What was dropped has arrived.
            (session,) = await asyncio.to_thread(server.sessions)
            self.assertEqual(session["client"], "ledgerd.py")
            self.assertEqual(session["transport"], "hand-over")
            self.assertEqual(session["regions"], 0)
            self.assertLessEqual(session["registered_arenas"], ledgerd._IDLE_ARENAS)
            self.assertLess(self.given, 30)  # Of 60 requests.
        self.assertEqual(await asyncio.to_thread(server.sessions), [])

    @on_loop
    async def test_a_token_is_good_once_and_for_its_user(self):
        server = self.start("--socket-mode=0666")
        async with await ledgerd.connect(server.socket) as ledger:
            os.chmod(server.directory, 0o755)
            offered = (await ledger._session.offerArena(size=4096)).offered
            path = ledger._requests._path
            self.assertEqual(path, server.socket + ".handover")
            arena = ledgerd._RequestArena(4096)
            self.addCleanup(arena.close)

            async def give(token):
                await asyncio.to_thread(ledgerd._exchange, path, 2, token, arena.fd)

            async def refusal(token):
                with self.assertRaises(ledgerd.LedgerError) as caught:
                    await give(token)
                return caught.exception.code

            self.assertEqual(await refusal(os.urandom(32)), 5)
            if os.geteuid() == 0:
                os.seteuid(READER)
                try:
                    self.assertEqual(await refusal(offered.token), 7)
                finally:
                    os.seteuid(0)
            await give(offered.token)
            self.assertEqual(await refusal(offered.token), 5)

    @on_loop
    async def test_without_a_hand_over_socket_all_is_inline(self):
        server = self.start("--hand-over-socket=none")
        async with await ledgerd.connect(server.socket) as ledger:
            self.assertFalse(ledger.has_shared_memory)
            key, value = ledgerd.encode_key([(0, b"k")]), os.urandom(1 << 20)
            state = await ledger.set(await ledger.initial_state(), [key], [value])
            self.assertTrue(await ledger.get_single_value(state, key) == value)
            self.assertEqual(self.forms, {"inline": 1})

    @on_loop
    async def test_refusals_have_their_code_and_text(self):
        server = self.start()
        async with await ledgerd.connect(server.socket) as ledger:
            with self.assertRaisesRegex(ledgerd.LedgerError, "0000 not found") as caught:
                await ledger.get(bytes(32), [ledgerd.encode_key([(0, b"k")])])
            self.assertEqual(caught.exception.code, 5)
            self.assertEqual(caught.exception.reason, 4)

    def test_the_example_runs(self):
        server = self.start()
        example = pathlib.Path(ledgerd.__file__).with_name("example.py")
        command = [sys.executable, "-B", str(example), server.socket]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        state, value, proof = output.splitlines()
        self.assertEqual(value, "value hello")
        self.assertEqual(state, "state " + json.loads(server.ctl("--json", "states"))["states"][-1])
        self.assertRegex(proof, "^proof of [0-9]{3} bytes$")


if __name__ == "__main__":
    program = unittest.main(verbosity=2, exit=False)
    result = program.result
    bad = len(result.failures) + len(result.errors)
    good = result.testsRun - bad - len(result.skipped)
    sys.stderr.flush()
    print(f"{good} passed, {bad} failed, {len(result.skipped)} skipped", flush=True)
    sys.exit(bad != 0)
