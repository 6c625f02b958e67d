# SPDX-License-Identifier: Apache-2.0
"""Flow's execution ledger from Python: ledgerd's operations over Cap'n Proto and shared memory.

    import asyncio, capnp, ledgerd

    async def main():
        async with await ledgerd.connect("/run/ledgerd.sock") as ledger:
            state = await ledger.state_by_index(-1)
            key = ledgerd.encode_key([(0, b""), (2, b"uuid")])
            print(await ledger.get_single_value(state, key))

    asyncio.run(capnp.run(main()))

States are 32 bytes, keys are flow-go's encoded keys (encode_key), values and proofs are bytes, all of
them copies. What the ledger refuses is raised as LedgerError. Large payloads go through shared memory
in both directions: pycapnp cannot pass descriptors with capabilities, so they come and go over the
hand-over socket (docs/formats.md). Without one, or with shared_memory=False, all is sent in messages.

Calls may be made side by side, on one event loop. Needs pycapnp 2 and Python 3.9, and the contract:
schema/ledger.capnp of this checkout, or the file that LEDGERD_SCHEMA names.
"""

import array
import asyncio
import collections
import fcntl
import mmap
import os
import pathlib
import socket
import struct

import capnp

capnp.remove_import_hook()

_SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "schema" / "ledger.capnp"
_IMPORTS = ["/usr/include", str(pathlib.Path(capnp.__file__).parent.parent)]  # Of capnp/c++.capnp.
schema = capnp.load(os.environ.get("LEDGERD_SCHEMA", str(_SCHEMA)), imports=_IMPORTS)

_HAND_OVER_SECONDS = 10
_HAND_OVER_TAKE, _HAND_OVER_GIVE = 1, 2
_MAGIC, _VERSION = b"LDHO", 1
_REPLY = struct.Struct("<4sHHHH")

_OPEN_ARENAS = 16  # Mappings of the server's memory that are kept for the next answer.
_BUSY_ARENAS = 64  # Requests that are in shared memory at a time; others wait.
_IDLE_ARENAS = 4  # Arenas for requests that are kept for the next one.
_LEAST_ARENA = 1 << 20  # Bytes.


class LedgerError(Exception):
    """A refusal: `code` is gRPC's canonical code, `reason` one of the contract's, both as numbers."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason = int(code), int(reason)


def encode_key(parts):
    """flow-go's encoded key of [(type, value)]."""
    pieces = [struct.pack(">H", len(parts))]
    for kind, value in parts:
        pieces.append(struct.pack(">IH", len(value) + 2, kind) + value)
    return b"".join(pieces)


def _packed(items):
    """The pieces of the packed list of `items`: one payload (docs/formats.md)."""
    header = struct.pack("<II", len(items), 0) + array.array("I", map(len, items)).tobytes()
    return [header, *items]


def _unpacked(payload):
    """The items of a packed list, which is checked."""
    count, zero = struct.unpack_from("<II", payload) if len(payload) >= 8 else (0, 1)
    offset = 8 + 4 * count
    if zero != 0 or offset > len(payload):
        raise ValueError("the server sent a malformed list")
    items = []
    for length in struct.unpack_from(f"<{count}I", payload, 8):
        items.append(payload[offset : offset + length])
        offset += length
    if offset != len(payload):
        raise ValueError("the server sent a list of another length than its items have")
    return items


def _exchange(path, kind, token, descriptor=None):
    """One hand-over; blocks. The descriptor that came, for a kind that brings one."""
    request = struct.pack("<4sHH", _MAGIC, _VERSION, kind) + token
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(_HAND_OVER_SECONDS)
        peer.connect(path)
        descriptors = [] if descriptor is None else [descriptor]
        sent = socket.send_fds(peer, [request], descriptors)
        if sent < len(request):
            peer.sendall(request[sent:])
        reply, received = b"", []
        try:
            while True:
                data, fds, _, _ = socket.recv_fds(peer, 4096, 4)
                received += fds
                reply += data
                if not data:
                    break
            if len(reply) < _REPLY.size:
                raise ConnectionError("the hand-over socket was closed without an answer")
            magic, version, code, reason, length = _REPLY.unpack_from(reply)
            if magic != _MAGIC or version != _VERSION or _REPLY.size + length != len(reply):
                raise ValueError("the hand-over socket gave an answer that is none")
            if code != 0:
                raise LedgerError(code, reason, reply[_REPLY.size :].decode(errors="replace"))
            if len(received) != (1 if kind == _HAND_OVER_TAKE else 0):
                raise ValueError(f"{len(received)} descriptors came with the answer")
            return received.pop() if received else None
        finally:
            for fd in received:
                os.close(fd)


class _ReplyArenas:
    """The server's arenas that this session has mapped, read-only."""

    def __init__(self, session, path):
        self._session, self._path = session, path
        self._mapped = collections.OrderedDict()  # By id, the one used last at the end.
        self._opening = {}

    async def read(self, arena, offset, length):
        while arena not in self._mapped:
            # Calls that need the same one share the hand-over.
            if arena not in self._opening:
                self._opening[arena] = asyncio.ensure_future(self._open(arena))
            await self._opening[arena]
        memory = self._mapped[arena]
        self._mapped.move_to_end(arena)
        if offset + length > len(memory):
            raise ValueError("the server named bytes behind the end of an arena")
        return memory[offset : offset + length]

    async def _open(self, arena):
        try:
            opened = _member(await self._session.openArena(id=arena), "opened")
            fd = await asyncio.to_thread(
                _exchange, self._path, _HAND_OVER_TAKE, opened.handOverToken
            )
            try:
                if os.fstat(fd).st_size < opened.size:
                    raise ValueError("the server said that an arena is longer than it is")
                self._mapped[arena] = mmap.mmap(fd, opened.size, prot=mmap.PROT_READ)
            finally:
                os.close(fd)
            while len(self._mapped) > _OPEN_ARENAS:
                self._mapped.popitem(last=False)[1].close()
        finally:
            del self._opening[arena]

    def close(self):
        for memory in self._mapped.values():
            memory.close()
        self._mapped.clear()


class _RequestArena:
    """A memfd of ours that the server may read."""

    def __init__(self, size):
        self.size = size
        self.fd = os.memfd_create("request", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.id = self.registration = None

    def close(self):
        self.registration = None
        self.memory.close()
        os.close(self.fd)


class _Region(schema.Region.Server):
    """Tells when the server has dropped it: from then on it reads no more."""

    def __init__(self, dropped):
        self._dropped = dropped

    def __del__(self):
        self._dropped()


class _RequestArenas:
    """Arenas for requests: each is one request's while the server may read it."""

    def __init__(self, session, path, most):
        self._session, self._path = session, path
        self._idle, self._closed = [], False
        # A server counts an arena until it has seen its registration dropped.
        self._free = asyncio.Semaphore(max(1, min(_BUSY_ARENAS, most // 2)))

    async def write(self, pieces_of_bulks):
        """Writes payloads; a list of (region, arena, offset, length), one for each."""
        size = sum(len(piece) for pieces in pieces_of_bulks for piece in pieces)
        await self._free.acquire()
        try:
            arena = await self._take(size)
        except BaseException:
            self._free.release()
            raise
        spans, offset = [], 0
        for pieces in pieces_of_bulks:
            start = offset
            for piece in pieces:
                arena.memory[offset : offset + len(piece)] = piece
                offset += len(piece)
            spans.append((arena.id, start, offset - start))
        region = _Region(lambda: self._give_back(arena))
        return [(region, *span) for span in spans]

    async def _take(self, size):
        for arena in sorted(self._idle, key=lambda each: each.size):
            if arena.size >= size:
                self._idle.remove(arena)
                return arena
        arena = _RequestArena(max(_LEAST_ARENA, 1 << (size - 1).bit_length()))
        try:
            offered = _member(await self._session.offerArena(size=arena.size), "offered")
            await asyncio.to_thread(
                _exchange, self._path, _HAND_OVER_GIVE, offered.token, arena.fd
            )
            arena.id, arena.registration = offered.id, offered.registration
        except BaseException:
            arena.close()
            raise
        return arena

    def _give_back(self, arena):
        self._free.release()
        if self._closed or len(self._idle) >= _IDLE_ARENAS:
            arena.close()
        else:
            self._idle.append(arena)

    def close(self):
        self._closed = True
        for arena in self._idle:
            arena.close()
        self._idle.clear()


def _member(reply, name):
    """That member of a reply's union; its error is raised."""
    which = str(reply.which())
    if which == "error":
        error = reply.error
        raise LedgerError(error.code.raw, error.reason.raw, error.message)
    if which != name:
        raise ValueError(f"the server answered with {which}, not with {name}")
    return getattr(reply, name)


class Ledger:
    """One session. Made by connect()."""

    def __init__(self, client, stream, welcome):
        self._client, self._stream = client, stream
        self._session = welcome.session
        self._threshold = welcome.limits.inlineThreshold
        self._most_in_message = schema.inlineChunkBytes
        self.build, self.features = welcome.build, welcome.features
        self._replies = self._requests = None
        if self.has_shared_memory:
            self._replies = _ReplyArenas(self._session, welcome.handOverSocket)
            most = welcome.limits.registeredArenas
            self._requests = _RequestArenas(self._session, welcome.handOverSocket, most)

    @property
    def has_shared_memory(self):
        return self.features & schema.featureHandOver != 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()

    def close(self):
        """Ends the session: everything that it holds in the server is given back."""
        for arenas in (self._replies, self._requests):
            if arenas is not None:
                arenas.close()
        self._session = self._client = None
        self._stream.close()

    async def initial_state(self):
        return _member(await self._session.initialState(), "state")

    async def has_state(self, state):
        return _member(await self._session.hasState(state=state), "found")

    async def get_single_value(self, state, key):
        """b"" if the register is not allocated."""
        reply = await self._session.getSingleValue(state=state, key=key)
        return await self._read(_member(reply, "value"))

    async def get(self, state, keys):
        """The values of `keys`, in their order."""
        request = self._session.get_request()
        request.state = state
        await self._write([request.keys], [_packed(keys)])
        return _unpacked(await self._read(_member(await request.send(), "values")))

    async def set(self, state, keys, values, id=None):
        """The new state, once it is durable. To send the same update again after an error, give it
        the same 16 bytes of `id`: it is executed once."""
        if len(keys) != len(values):
            raise ValueError(f"{len(values)} values for {len(keys)} keys")
        request = self._session.set_request()
        request.state = state
        request.id = os.urandom(schema.setIdBytes) if id is None else id
        await self._write([request.keys, request.values], [_packed(keys), _packed(values)])
        return _member(await request.send(), "state")

    async def prove(self, state, keys):
        """flow-go's encoded batch proof."""
        request = self._session.prove_request()
        request.state = state
        await self._write([request.keys], [_packed(keys)])
        return await self._read(_member(await request.send(), "proof"))

    async def state_count(self):
        return _member(await self._session.stateCount(), "count")

    async def state_by_index(self, index):
        """0 is the oldest state, -1 the newest."""
        return _member(await self._session.stateByIndex(index=index), "state")

    async def states(self):
        return list(_member(await self._session.states(), "states"))

    async def _write(self, bulks, payloads):
        size = sum(len(piece) for pieces in payloads for piece in pieces)
        if self._requests is None or size <= self._threshold:
            for bulk, pieces in zip(bulks, payloads):
                payload, most = b"".join(pieces), self._most_in_message
                bulk.inline = [payload[at : at + most] for at in range(0, len(payload), most)]
            return
        for bulk, place in zip(bulks, await self._requests.write(payloads)):
            span = bulk.init("span")
            span.region, span.arena, span.offset, span.length = place

    async def _read(self, bulk):
        which = str(bulk.which())
        if which == "inline":
            return b"".join(bulk.inline)
        if which == "span" and self._replies is not None:
            span = bulk.span  # It holds the region until the bytes are copied.
            return await self._replies.read(span.arena, span.offset, span.length)
        raise ValueError(f"the server sent a payload in the form {which}, which was not agreed")


async def connect(path, *, shared_memory=True, name="ledgerd.py", longest_payload=1 << 30):
    """Opens a session with the server at the Unix socket `path`."""
    words = longest_payload // 8 + longest_payload // 64 + schema.messageSlackWords
    stream = await capnp.AsyncIoStream.create_unix_connection(path)
    try:
        client = capnp.TwoPartyClient(stream, traversal_limit_in_words=words)
        request = client.bootstrap().cast_as(schema.Ledgerd).connect_request()
        hello = request.hello
        hello.minVersion = hello.maxVersion = schema.protocolVersion
        hello.features = schema.featureHandOver if shared_memory else 0
        hello.name = name
        hello.messageWords = words
        return Ledger(client, stream, _member(await request.send(), "welcome"))
    except BaseException:
        stream.close()
        raise
