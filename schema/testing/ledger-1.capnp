# SPDX-License-Identifier: Apache-2.0
@0xf28123e9f098fc03;
# ledgerd's contract: Flow's execution ledger over Cap'n Proto RPC and shared memory.
#
# How a client works with it
#   1. It connects to the server's Unix socket. The bootstrap capability is a Ledgerd.
#   2. It calls connect(), offers what it can do and receives a Session, the version and features
#      chosen, and the server's limits. A session ends with its connection.
#   3. It calls the session's methods, as many at a time as it likes up to Limits.callsInFlight.
#      Dropping a call cancels it.
#
# Payloads
#   Small payloads ride in the message. Large ones lie in an arena: memory that one side writes and
#   the other may read. A reply names spans of the server's arenas, which the client opens by their
#   id and maps; a request names spans of the client's own arenas, which it has registered. Either
#   side accepts every form of a Bulk that the features chosen allow, whatever the payload's size.
#
# Packed list: how several byte strings make one payload. All numbers are little-endian.
#     u32 count   u32 zero   count * u32 length   the items, back to back, without padding
#   The payload ends with the last item's last byte. No items: eight zero bytes. An item has less
#   than 4 GiB; keys and values have their own limit, maxItemBytes.
#
# Bytes whose format flow-go fixes travel as they are: a key is flow-go's encoded key without its
# version-and-type prefix, a proof is flow-go's encoded batch proof with it.
#
# Errors
#   A refusal is data: the `error` member of the reply, with a code, a reason and a message. An
#   exception means a broken transport or a bug, and nobody need read its text: DISCONNECTED
#   (reconnect), OVERLOADED (back off), UNIMPLEMENTED (the peer is older: fall back), FAILED.
#
# Rules of evolution
#   * Every declaration carries an explicit id, so that it may be renamed or moved, never renumbered.
#   * Ordinals only grow. A new ability is a new method, a new field or a new union member.
#   * Nothing is retyped, reused or given another default. A member that is no longer used keeps its
#     ordinal and type and is renamed `obsolete...`, with the reason beside it.
#   * The lowest member of a union is `unset`: what a message reads as that nobody filled in. It is
#     never sent on purpose, and its receiver refuses it.
#   * A receiver that meets an unknown union member, enumerant or feature bit treats it as refused
#     (UNIMPLEMENTED), or as Reason.unspecified; it never guesses. An unknown method is answered
#     UNIMPLEMENTED by Cap'n Proto itself.
#   * A new field's zero means "as before". A change that old peers could misread gets a feature
#     bit; one that they cannot live with gets a new protocol version.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("ledger::rpc");

# ==========================================================================================
# Constants

const protocolVersion @0xaf9eaa31f5e259b9 :UInt16 = 1;
# The version that this file describes. Zero is no version.

const featureSharedMemory @0xd312f0e49ac935e4 :UInt64 = 0x1;
# The client takes descriptors from capabilities and maps them; without it every payload is inline.

const featureHandOver @0x83358e6007951c7c :UInt64 = 0x2;
# The same for a client that cannot take or send descriptors with capabilities: it does so over the
# hand-over socket (docs/formats.md), with tokens. By itself or beside featureSharedMemory.

const featureTables @0xa42dbbff222ca9a5 :UInt64 = 0x4;
# The client takes Bulk.table in replies. Needs one of the first two. Granted to clients that may map
# the server's store: large values are then read where they lie, as spans of arenas that are segments
# of the store (docs/formats.md). What else lies in these is not for the client.

const featureStateViews @0xb6f0f2ac1b8fa3d1 :UInt64 = 0x8;
# The client may call Session.openView. Needs one of the first two. Granted to clients that may map
# the server's store, and that read the layout that it has (ClientHello.storeLayout).

const stateBytes @0xad0fb2ed06ec2f53 :UInt32 = 32;
# Length of a state: the root hash of a trie.

const setIdBytes @0x944a0edcc7d637c8 :UInt32 = 16;
# Length of a Set's id.

const handOverTokenBytes @0xce056d563da92a81 :UInt32 = 32;
# Length of a token for the hand-over socket.

const unknownUser @0x9db10601940df552 :UInt32 = 0xffffffff;
# SessionUse.user of a client whose user is not known. It is no user's number.

const maxItemBytes @0x9da2d2271daaf4db :UInt64 = 0x40000000;
# The most bytes of one key or one value (1 GiB).

const inlineChunkBytes @0xb58a38021a9abe71 :UInt64 = 0x4000000;
# What a sender puts into one chunk of Bulk.inline at most (64 MiB). A receiver takes any chunk that
# Cap'n Proto can carry (under 512 MiB), and chunks of unequal length.

const minChunkBytes @0xd5a3501d680a658f :UInt64 = 0x10000;
const shortChunks @0xdd8a5742df039499 :UInt64 = 0x1000;
# A payload of n bytes inline has at most
#     shortChunks + n / minChunkBytes
# chunks, empty ones included. A receiver refuses more.

const tableEntryBytes @0x9b01ca377dfbf52c :UInt32 = 24;
# Length of one entry of Bulk.table.

const maxNameBytes @0x8bb6a10181d97757 :UInt32 = 256;
# The most bytes of ClientHello.name. A longer name is cut.

const messageSlackWords @0xf19df43e46084f41 :UInt64 = 0x20000;
# Room for what surrounds a payload, in words of 8 bytes. A peer that means to send or receive
# payloads of n bytes inline sets its message limit (traversal limit) to
#     n / 8 + n / 64 + messageSlackWords
# words; Limits.messageWords and ClientHello.messageWords say what each side has set.

const defaultMessageWords @0x841997bf6825c366 :UInt64 = 0x800000;
# Cap'n Proto's own message limit (64 MiB), in words: assumed of a client that names none.

# ==========================================================================================
# Handshake

interface Ledgerd @0xe134d15fe57dc00d {
  # The bootstrap capability.

  connect @0 (hello :ClientHello) -> ConnectReply;
  # Opens a session. May be called more than once on a connection: each session has its own arenas
  # and quotas. The server bounds the sessions of one connection, and those of all: over it: quota.
}

struct ClientHello @0x9f9835b5d5287f72 {
  minVersion @0 :UInt16;
  # The oldest protocol version that the client speaks, at least 1.

  maxVersion @1 :UInt16;
  # The newest, at least minVersion. The server chooses the newest version that both speak.

  features @2 :UInt64;
  # What the client can do: the sum of `feature...` constants. Unknown bits are ignored.

  name @3 :Text;
  # Program and version, for the server's log. At most maxNameBytes.

  messageWords @4 :UInt64;
  # The longest message that the client accepts, in words of 8 bytes. 0: defaultMessageWords. The
  # server sends nothing longer: it answers RESOURCE_EXHAUSTED.

  storeLayout @5 :UInt32;
  # The version of store segments that the client reads (docs/formats.md). 0: none.
}

struct ConnectReply @0xba85e66ff0fd5bef {
  union {
    unset @0 :Void;

    welcome @1 :Welcome;

    error @2 :Error;
    # versionMismatch, with both ranges in the message; shuttingDown; quota.
  }
}

struct Welcome @0xfdc38c543dc1475b {
  version @0 :UInt16;
  # The version chosen, within the client's range.

  features @1 :UInt64;
  # What both can do: a subset of the client's bits.

  build @2 :Text;
  # The server's program and version, for logs. Its form is not part of the contract.

  limits @3 :Limits;

  session @4 :Session;

  handOverSocket @5 :Text;
  # The path of the hand-over socket, as the server sees it. A client in another mount namespace knows
  # itself where that is. Empty unless featureHandOver was chosen.
}

struct Limits @0x99af47c4e7ddf97f {
  # What the server accepts. Constant for the life of a session.

  requestBytes @0 :UInt64;
  # The most payload bytes of one request: its Bulks with their tables, and its keys, together. Over
  # it: tooLarge. The requests of a session that are unanswered together may hold twice as much
  # memory. Over that: outOfMemory.

  responseBytes @1 :UInt64;
  # The most payload bytes of one reply. Over it: tooLarge.

  inlineThreshold @2 :UInt64;
  # Bytes. A payload longer than this goes through shared memory when there is room. The server
  # follows it; a client is advised to.

  arenaBytes @3 :UInt64;
  # The most bytes that the session's reply arenas may hold together.

  messageWords @4 :UInt64;
  # The longest message that the server accepts, in words of 8 bytes. A longer one ends the
  # connection.

  regions @5 :UInt32;
  # The most regions that the session may hold at a time.

  callsInFlight @6 :UInt32;
  # The most unanswered calls of the session. Over it: quota.

  batchOperations @7 :UInt32;
  # The most operations in one batch.

  registeredArenas @8 :UInt32;
  # The most arenas that the client may have registered at a time.
}

# ==========================================================================================
# Errors

struct Error @0xdff48011d01cd89f {
  code @0 :Code;
  # What kind of refusal: enough to decide whether to retry.

  reason @1 :Reason;
  # Why, for programs.

  message @2 :Text;
  # Why, for people, with the figures. Not part of the contract.
}

enum Code @0xad9df3bf3b5fa991 {
  # gRPC's canonical codes, with their numbers. Only those that Reason names are sent.

  ok @0;
  cancelled @1;
  unknown @2;
  invalidArgument @3;
  deadlineExceeded @4;
  notFound @5;
  alreadyExists @6;
  permissionDenied @7;
  resourceExhausted @8;
  failedPrecondition @9;
  aborted @10;
  outOfRange @11;
  unimplemented @12;
  internal @13;
  unavailable @14;
  dataLoss @15;
  unauthenticated @16;
}

enum Reason @0xb33d5897b6e5ba8a {
  unspecified @0;
  # No reason that this version knows. Also: an operation that this server does not have.

  badState @1;
  # A state that is not stateBytes long.

  badKey @2;
  # A key that is not a well-formed encoded key.

  badRequest @3;
  # Counts, lengths or offsets of the request contradict each other.

  unknownState @4;
  # Never built here, or evicted.

  indexOutOfRange @5;
  # No state has that index.

  tooLarge @6;
  # A request, a reply or a value over its limit.

  outOfMemory @7;
  # The server's memory limit. The message has needed and free bytes.

  outOfSharedMemory @8;
  # The shared-memory limit, or the session's arena limit, and the reply does not fit inline. The
  # message has needed and free bytes. Give regions back and retry.

  quota @9;
  # The session's regions, calls in flight or registered arenas, or the server's queue, are used up.

  readOnlySession @10;
  # The client may not change the ledger.

  shuttingDown @11;
  # Nothing of the request was done.

  cancelled @12;
  # The call was dropped before it had an effect.

  writeFailed @13;
  # The log refused the record: nothing was changed.

  proofTooDeep @14;
  # A proof of 256 steps does not fit flow-go's format.

  setIdReused @15;
  # The id of a recent Set came with another request.

  badArena @16;
  # A client's arena that is unknown, unsealed, or not a memfd.

  versionMismatch @17;
  # No protocol version in common.

  badEncoding @18;
  # Bytes that do not decode.
}

# ==========================================================================================
# Payloads

struct Bulk @0xc739151e0e7e47c3 {
  # One payload of bytes.

  union {
    unset @0 :Void;

    inline @1 :List(Data);
    # Chunks, in order: the payload is their concatenation. No chunks: an empty payload. How many
    # there may be: minChunkBytes.

    span :group {
      # The payload lies in one piece in an arena.

      region @2 :Region;
      # Keeps the bytes in place. The receiver drops it as soon as it needs them no longer.

      arena @3 :UInt32;
      # In a reply: an id for Session.openArena. In a request: one from Session.registerArena.

      offset @4 :UInt64;
      # Bytes from the arena's start.

      length @5 :UInt64;
      # Bytes. The receiver checks offset and length against the arena's size, without overflow.
    }

    table :group {
      # The payload is the concatenation of spans, in order. They are listed by a table that lies
      # in an arena: `count` entries of tableEntryBytes, little-endian,
      #     u32 arena   u32 zero   u64 offset   u64 length
      # No item of a packed list crosses a span's end, and its header lies within the first span.

      region @6 :Region;
      # Keeps the table and every span in it in place.

      arena @7 :UInt32;
      # Where the table lies.

      offset @8 :UInt64;
      # Bytes from that arena's start to the table.

      count @9 :UInt32;
      # Entries. The table is no longer than the longest payload that the receiver accepts. The
      # receiver reads it once, and checks it and each of its spans.

      length @10 :UInt64;
      # Bytes of the payload: the sum of the spans' lengths.

      leaseArena @11 :UInt32;
      # Where the lease is, if the table has one.

      lease @12 :UInt64;
      # Bytes from that arena's start to a number of 8 bytes, at a multiple of 8.

      leaseValue @13 :UInt64;
      # That number while the spans hold what was sent. The sender changes it before it uses their
      # memory for anything else, which it may do once the region is dropped or the connection lost,
      # and it never is the same again. So a receiver that has read the spans, and then finds it
      # unchanged, has read what was sent. 0: there is no lease, and the bytes never change.
    }
  }
}

interface Region @0xf051b21efc20c8bf {
  # Spans of an arena, lent for as long as somebody holds this capability. It has no methods:
  # dropping the last reference, or losing the connection, gives the spans back. The bytes do not
  # change while it is held. Its server is the side that wrote the bytes.
}

interface Arena @0xec3ebf685be87f88 {
  # A memfd, as a capability that carries its descriptor (getFd()). It has no methods.
  #
  # A server's arena is read-only for the client, of fixed size, every page committed. A client's
  # arena must be a plain memfd (tmpfs, not huge pages) sealed against shrinking at least; the
  # server never maps it, and reads a span once.
}

interface Registration @0xc656703277bdb0aa {
  # Keeps a client's arena registered. It has no methods; dropping it ends the registration. Its id
  # is never used again in the session.
}

# ==========================================================================================
# The session

interface Session @0xe7b3e042b3f414c4 {
  # Methods of one session. All may be called at any time, side by side, and may be answered in any
  # order. Every method may also answer quota, shuttingDown and cancelled; every method that names a
  # state badState; every method that carries a Bulk badRequest, badArena, tooLarge and outOfMemory;
  # every method that answers with a Bulk tooLarge and outOfSharedMemory.

  initialState @0 () -> StateReply;
  # The empty ledger's state, whether or not it is still there to be read.

  hasState @1 StateRequest -> HasStateReply;
  # Whether a state can be read now.

  getSingleValue @2 GetSingleValueRequest -> ValueReply;
  # One register's value; empty if it is not allocated. Errors: unknownState, badKey.

  get @3 GetRequest -> GetReply;
  # Many registers' values. No keys: no values, whatever the state. Errors: unknownState, badKey.

  set @4 SetRequest -> StateReply;
  # Applies one update and answers with the new state once that is durable. No keys: the state that
  # was given, unchecked. After an error nothing was changed.
  # Errors: unknownState, badKey, badRequest, tooLarge, outOfMemory, writeFailed, setIdReused,
  # readOnlySession.

  prove @5 ProveRequest -> ProveReply;
  # A batch proof of registers, present or absent. No keys: a proof of nothing, whatever the state.
  # Errors: unknownState, badKey, proofTooDeep.

  stateCount @6 () -> CountReply;
  # How many states can be read now.

  stateByIndex @7 (index :Int64) -> StateReply;
  # 0 is the oldest state, 1 the next; -1 is the newest. Error: indexOutOfRange.

  states @8 () -> StatesReply;
  # All states that can be read now.

  batch @9 BatchRequest -> BatchReply;
  # Many operations in one round trip.

  openArena @10 (id :UInt32) -> OpenArenaReply;
  # The arena that a reply's Bulk names. Error: badArena. An arena stays as it is for as long as it
  # is open; ids are never used twice in a session. A client opens each once and keeps the mapping
  # until it holds no region of it; the server may close an arena whose regions are all given back.

  registerArena @11 (arena :Arena, size :UInt64) -> RegisterArenaReply;
  # Makes a memfd of the client's known, for use in requests. `size` is its length in bytes.
  # Errors: badArena, quota.

  info @12 () -> InfoReply;
  # What the server is, and how it is doing.

  checkpoint @13 () -> CheckpointReply;
  # Writes a checkpoint of all that was acknowledged by now and answers once it is on disk and has
  # been read back, or at once if the newest one holds all of it. That may take as long as writing
  # and reading all states; info() tells how far it has come. Dropping the call ends the waiting,
  # not the writing. Errors: outOfMemory, writeFailed (no room on the disk, or a fault of it),
  # shuttingDown. A server that cannot says so as data (Code.unimplemented).

  openView @14 StateRequest -> OpenViewReply;
  # A state for the client to read by itself, in the server's store (featureStateViews).
  # Errors: unknownState, quota (as many states are held as may be), outOfSharedMemory, and
  # Code.unimplemented without the feature.

  offerArena @15 (size :UInt64) -> OfferArenaReply;
  # registerArena for a client that cannot send a descriptor with a capability: it sends the memfd
  # over the hand-over socket, with the token. `size` is its length in bytes. Errors: quota, and
  # Code.failedPrecondition unless featureHandOver was chosen.

  sessions @16 () -> SessionsReply;
  # All sessions of the server, oldest first, and what each holds. For clients that may write, and
  # those of the user that the server runs as; others are refused (Code.permissionDenied).
}

struct StateRequest @0xca3367c9ac95b31d {
  state @0 :Data;
  # stateBytes long.
}

struct GetSingleValueRequest @0x9ad870f123b02c67 {
  state @0 :Data;
  # stateBytes long.

  key @1 :Data;
  # An encoded key, at most maxItemBytes.
}

struct GetRequest @0x91099a231a984942 {
  state @0 :Data;
  # stateBytes long.

  keys @1 :Bulk;
  # A packed list of encoded keys. Duplicates are answered as often as they occur.
}

struct SetRequest @0xfa6e0a0be1064084 {
  state @0 :Data;
  # The state that the update starts from, stateBytes long.

  keys @1 :Bulk;
  # A packed list of encoded keys. Of a duplicate key the last value counts.

  values @2 :Bulk;
  # A packed list of values, as many as keys, each at most maxItemBytes. An empty value unallocates
  # its register.

  id @3 :Data;
  # Empty, or setIdBytes bytes of the client's choice, unlike any other Set's (random). A Set whose
  # id is in flight or among the most recent ones is answered with that one's result and not executed
  # again, so a retry is safe; the same id with another request is refused (setIdReused).
}

struct ProveRequest @0x8d8c762c4f13eed8 {
  state @0 :Data;
  # stateBytes long.

  keys @1 :Bulk;
  # A packed list of encoded keys.
}

struct StateReply @0x98938fe7ce923b66 {
  union {
    unset @0 :Void;
    state @1 :Data;   # stateBytes long.
    error @2 :Error;
  }
}

struct HasStateReply @0x870935e9f06b1d48 {
  union {
    unset @0 :Void;
    found @1 :Bool;
    error @2 :Error;
  }
}

struct ValueReply @0xb90e720d1e5d650d {
  union {
    unset @0 :Void;
    value @1 :Bulk;   # The value itself.
    error @2 :Error;
  }
}

struct GetReply @0xb51cdc6db0e116ae {
  union {
    unset @0 :Void;
    values @1 :Bulk;  # A packed list, one value for each key, in the keys' order.
    error @2 :Error;
  }
}

struct ProveReply @0xc8cd8609a3ef16b6 {
  union {
    unset @0 :Void;

    proof @1 :Bulk;
    # flow-go's encoded batch proof, with its prefix: one proof for each key, duplicates included,
    # in ascending order of path.

    error @2 :Error;
  }
}

struct CountReply @0xe180b570728cc915 {
  union {
    unset @0 :Void;
    count @1 :UInt64;
    error @2 :Error;
  }
}

struct StatesReply @0xd93da6f2065a490d {
  union {
    unset @0 :Void;
    states @1 :List(Data);  # Oldest first, each stateBytes long.
    error @2 :Error;
  }
}

struct Operation @0xd6e783363392c1b6 {
  # One of a session's methods, with its arguments.

  union {
    unset @0 :Void;
    initialState @1 :Void;
    hasState @2 :StateRequest;
    getSingleValue @3 :GetSingleValueRequest;
    get @4 :GetRequest;
    set @5 :SetRequest;
    prove @6 :ProveRequest;
  }
}

struct OperationReply @0xd37fe4d46fd0b62e {
  # What the method of the same name would have answered.

  union {
    unset @0 :Void;
    initialState @1 :StateReply;
    hasState @2 :HasStateReply;
    getSingleValue @3 :ValueReply;
    get @4 :GetReply;
    set @5 :StateReply;
    prove @6 :ProveReply;

    error @7 :Error;
    # An operation that the server does not know (Code.unimplemented), or one left `unset`.
  }
}

struct BatchRequest @0xcf94f6afd89e145a {
  operations @0 :List(Operation);
  # At most Limits.batchOperations; their payloads together at most Limits.requestBytes. They are
  # independent: an operation may run before, after or beside any other of the batch.
}

struct BatchReply @0x9ba3b9a70fc0bb91 {
  union {
    unset @0 :Void;

    results @1 :List(OperationReply);
    # One for each operation, in the operations' order. An error of one says nothing about the others.
    # The payloads together are at most Limits.responseBytes: an operation whose payload no longer
    # fits is answered tooLarge. All of the batch's Bulks in shared memory share one region.

    error @2 :Error;
    # Nothing of the batch was done.
  }
}

struct OpenArenaReply @0xde7d59992bca8e2d {
  union {
    unset @0 :Void;
    opened @1 :OpenedArena;
    error @2 :Error;
  }
}

struct OpenedArena @0x9f9dd8b90158c814 {
  arena @0 :Arena;
  # Carries the descriptor, read-only.

  size @1 :UInt64;
  # Bytes: the length of the memfd. The client checks it before mapping.

  handOverToken @2 :Data;
  # handOverTokenBytes: good for one receipt of the descriptor on the hand-over socket, for a minute
  # and while `arena` is held. Empty unless featureHandOver was chosen.
}

struct RegisterArenaReply @0xa68ec1d62fe329c6 {
  union {
    unset @0 :Void;
    registered @1 :RegisteredArena;
    error @2 :Error;
  }
}

struct RegisteredArena @0xf5ae5f7e41106e43 {
  id @0 :UInt32;
  # For Bulk.span.arena and Bulk.table in requests of this session.

  registration @1 :Registration;
}

struct OfferArenaReply @0x955e4e62f4e43538 {
  union {
    unset @0 :Void;
    offered @1 :OfferedArena;
    error @2 :Error;
  }
}

struct OfferedArena @0xe8bdd62de5176425 {
  id @0 :UInt32;
  # As RegisteredArena.id, once the hand-over socket has answered that the memfd was taken.

  registration @1 :Registration;
  # Dropping it ends the offer, too.

  token @2 :Data;
  # handOverTokenBytes: good for one memfd, for a minute.
}

struct OpenViewReply @0xd0c9a5a4c94b1d3e {
  union {
    unset @0 :Void;
    view @1 :StateView;
    error @2 :Error;
  }
}

struct StateView @0xe3a1d76c4b9f20c5 {
  # One state, where it lies in the server's store (docs/formats.md, "Store segments"). Nothing that
  # it is made of changes, and no arena that it names is closed, while the region is held, the
  # connection lasts and the lease holds.

  root @0 :UInt64;
  # The node that the state's trie begins with; 0: the trie has no registers.

  nodes @1 :List(StoreSegment);
  payloads @2 :List(StoreSegment);
  # The segments, each list in ascending order of numbers. All that the trie refers to lies in them.

  region @3 :Region;
  # Keeps the trie.

  leaseArena @4 :UInt32;
  lease @5 :UInt64;
  leaseValue @6 :UInt64;
  # As in Bulk.table; never 0. What was read counts only if the number is found unchanged after it
  # was read. A server that is short of memory takes the trie back, as soon as the state is not one
  # that hasState finds: then the number changes, and the client drops the region.

  evictionsArena @7 :UInt32;
  evictions @8 :UInt64;
  # Bytes from that arena's start to a number of 8 bytes, at a multiple of 8, which grows.

  evictedAbove @9 :UInt64;
  # The state is one that hasState finds as long as that number is at most this.
}

struct StoreSegment @0x9c5be1f0d2a3784b {
  number @0 :UInt32;     # What references to nodes or payloads call it.
  arena @1 :UInt32;      # An id for Session.openArena.
  committed @2 :UInt64;  # Bytes from its start. Nothing of the state lies beyond.
}

struct InfoReply @0xe9fd14f136af4268 {
  union {
    unset @0 :Void;
    info @1 :Info;
    error @2 :Error;
  }
}

struct Info @0x80acbe96c9fd3435 {
  version @0 :UInt16;     # Protocol version of this session.
  features @1 :UInt64;    # Features of this session.
  build @2 :Text;         # As in Welcome.
  limits @3 :Limits;      # As in Welcome.
  arenas @4 :ArenaUse;    # Of this session.
  ledger @5 :LedgerUse;   # Of the whole server.
  uptimeMs @6 :UInt64;    # Milliseconds since the server began to serve.
  sessions @7 :UInt32;    # Open now, over the whole server.
}

struct ArenaUse @0xff300f9ab5158493 {
  # The session's reply arenas.

  arenas @0 :UInt32;          # Open ones.
  committedBytes @1 :UInt64;  # Their length, all of it memory.
  lentBytes @2 :UInt64;       # Of that, in regions that are held.
  regions @3 :UInt32;         # Held now.
}

struct LedgerUse @0xc3a4f1faacacdf99 {
  states @0 :UInt64;          # States that can be read.
  nodes @1 :UInt64;           # Live nodes, shared ones counted once.
  leaves @2 :UInt64;          # Of these, leaves.
  values @3 :UInt64;          # Live values.
  nodeBytes @4 :UInt64;       # Bytes of the live nodes.
  valueBytes @5 :UInt64;      # Bytes of the live values and their keys.
  committedBytes @6 :UInt64;  # Memory of the stores.
  privateBytes @7 :UInt64;    # Memory of the bookkeeping beside them.
  newestRegisters @8 :UInt64; # Allocated registers of the newest state, as flow-go counts them.
  newestBytes @9 :UInt64;     # Their size, as flow-go counts it.
  activeSegment @10 :UInt32;  # Number of the log's segment that is being written.
  memoryUsed @11 :UInt64;     # Bytes counted against the server's memory limit.
  memoryLimit @12 :UInt64;    # Bytes.
  log @13 :LogUse;
  checkpoints @14 :CheckpointUse;
}

struct LogUse @0x8b31b3f8798f5fd3 {
  # Whether Sets can be logged. Reads go on in any case.

  state @0 :State;
  reason @1 :Text;
  # Of a state that is not good.

  enum State @0xf16dc281b7a9ddb4 {
    unspecified @0;
    good @1;
    refused @2;  # The last Set could not be written. The next one tries again.
    failed @3;   # Nobody knows what is on disk: Sets are refused until the server is restarted.
  }
}

struct CheckpointUse @0xdc0630204276cb59 {
  hasNewest @0 :Bool;
  newest @1 :UInt64;      # Number of the newest checkpoint on disk, if there is one.
  isRunning @2 :Bool;
  running @3 :UInt64;     # Number of the one that is being written, if one is.
  doneBytes @4 :UInt64;   # Of that one.
  totalBytes @5 :UInt64;  # An estimate.
  elapsedMs @6 :UInt64;   # Milliseconds since it was begun.
  failure @7 :Text;       # Why the last attempt failed; empty if it did not.
}

struct CheckpointReply @0x87005330ccd88705 {
  union {
    unset @0 :Void;
    number @1 :UInt32;  # Of the checkpoint: the last segment of the log that it covers.
    error @2 :Error;
  }
}

struct SessionsReply @0xfca4b998abcdbb96 {
  union {
    unset @0 :Void;
    sessions @1 :List(SessionUse);
    error @2 :Error;
  }
}

struct SessionUse @0xa544b5c9c2e25e4d {
  # One session, as it was when it was looked at.

  id @0 :UInt64;                # Never used again while the server runs.
  user @1 :UInt32;              # Number of the client's user, or unknownUser.
  process @2 :UInt32;           # Number of its process when it connected; 0: not known.
  client @3 :Text;              # ClientHello.name: whatever the client said.
  mayWrite @4 :Bool;
  transport @5 :Transport;
  ageMs @6 :UInt64;             # Milliseconds since its handshake.
  callsInFlight @7 :UInt32;
  arenas @8 :ArenaUse;
  registeredArenas @9 :UInt32;  # Arenas of the client's that are registered or offered.
  pinnedStates @10 :UInt32;     # States that it keeps by what it reads in the store.
  isThis @11 :Bool;             # The session that asks.

  enum Transport @0xe81e24f7a137a5b5 {
    # How the client comes by arenas.

    unspecified @0;
    inline @1;        # It takes none: all payloads are in messages.
    sharedMemory @2;  # By capabilities.
    handOver @3;      # Over the hand-over socket.
  }
}
