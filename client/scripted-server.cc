// SPDX-License-Identifier: Apache-2.0
#include "client/scripted-server.h"

#include "schema/message-limits.h"
#include "schema/packed-list.h"

#include <capnp/rpc-twoparty.h>
#include <kj/debug.h>

#include <unistd.h>

namespace ledger::client {
namespace {

using rpc::Bytes;

constexpr uint32_t FIRST_ARENA = 7;  // Tables and spans; every other span is in the next arena.
constexpr uint64_t ARENA_BYTES = uint64_t(4) << 20;

class CountedRegion final : public rpc::Region::Server {
public:
  explicit CountedRegion(Script& script) : script(script) { ++script.seen.regionsHeld; }
  ~CountedRegion() { --script.seen.regionsHeld; }

private:
  Script& script;
};

class CountedRegistration final : public rpc::Registration::Server {
public:
  explicit CountedRegistration(Script& script) : script(script) { ++script.seen.registrationsHeld; }
  ~CountedRegistration() { --script.seen.registrationsHeld; }

private:
  Script& script;
};

class ArenaDescriptor final : public rpc::Arena::Server {
public:
  explicit ArenaDescriptor(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

private:
  kj::AutoCloseFd fd;
};

// Memory that replies are put into, one after the other, from the start again when it is full.
// In an arena, before all else: the one lease of all tables. It is 0 once it has ended.
constexpr uint64_t LEASE_AT = 0, LEASE_VALUE = 7, FIRST_BYTE = LEASE_AT + rpc::Lease::BYTES;

struct ReplyArena {
  explicit ReplyArena() : memory(shm::Memfd::create("scripted-reply", ARENA_BYTES)) {
    memory->commit(0, ARENA_BYTES, shm::Memfd::Warm::NO);
  }

  uint64_t put(Bytes bytes) {
    if (bytes.size() > ARENA_BYTES - used) used = FIRST_BYTE;
    if (bytes.size() > 0) memcpy(memory->bytes().begin() + used, bytes.begin(), bytes.size());
    auto offset = used;
    used += bytes.size();
    return offset;
  }

  kj::Own<shm::Memfd> memory;
  uint64_t used = FIRST_BYTE;
};

kj::Array<kj::byte> pack(kj::ArrayPtr<const Bytes> items) {
  auto packed = kj::heapArray<kj::byte>(rpc::packedListSize(items));
  rpc::writePackedList(items, packed);
  return packed;
}

class ScriptedSession final : public rpc::Session::Server {
public:
  explicit ScriptedSession(Script& script) : script(script) {
    ++script.seen.sessions;
    arenas[0].memory->bytes()[LEASE_AT] = LEASE_VALUE;
    script.endLease = [this]() { arenas[0].memory->bytes()[LEASE_AT] = 0; };
  }

  kj::Promise<void> initialState(InitialStateContext context) override {
    return answer(context, [](auto reply) { reply.setState(initialStateByRule().ptr()); });
  }

  kj::Promise<void> hasState(HasStateContext context) override {
    return answer(context, [&](auto reply) {
      reply.setFound(context.getParams().getState() == initialStateByRule().ptr());
    });
  }

  kj::Promise<void> getSingleValue(GetSingleValueContext context) override {
    return answer(context, [&](auto reply) { fillSingle(context.getParams(), reply); });
  }

  kj::Promise<void> get(GetContext context) override {
    return answer(context, [&](auto reply) { fillGet(context.getParams(), reply); });
  }

  kj::Promise<void> set(SetContext context) override {
    return answer(context, [&](auto reply) { fillSet(context.getParams(), reply); });
  }

  kj::Promise<void> prove(ProveContext context) override {
    return answer(context, [&](auto reply) { fillProof(context.getParams(), reply); });
  }

  kj::Promise<void> stateCount(StateCountContext context) override {
    return answer(context, [](auto reply) { reply.setCount(3); });
  }

  kj::Promise<void> stateByIndex(StateByIndexContext context) override {
    return answer(context, [&](auto reply) {
      reply.setState(stateAfter(initialStateByRule(), context.getParams().getIndex()).ptr());
    });
  }

  kj::Promise<void> states(StatesContext context) override {
    return answer(context, [&](auto reply) {
      auto states = reply.initStates(3);
      for (auto i : kj::indices(states)) {
        states.set(i, stateAfter(initialStateByRule(), i).ptr());
      }
    });
  }

  // One that is filled in, and one of which nothing is known.
  kj::Promise<void> sessions(SessionsContext context) override {
    return answer(context, [](auto reply) {
      auto list = reply.initSessions(2);
      list[0].setClient("somebody");
      list[0].setUser(1000);
      list[0].setProcess(77);
      list[0].setTransport(rpc::SessionUse::Transport::HAND_OVER);
      list[0].initArenas().setLentBytes(4096);
      list[1].setUser(rpc::UNKNOWN_USER);
    });
  }

  kj::Promise<void> info(InfoContext context) override {
    return answer(context, [&](auto reply) {
      auto info = reply.initInfo();
      info.setVersion(script.version);
      info.setFeatures(script.features);
      info.setBuild("scripted 1");
      info.setUptimeMs(1500);
      info.setSessions(script.seen.sessions);
      info.initArenas().setRegions(script.seen.regionsHeld);
      info.initLedger().setStates(3);
    });
  }

  kj::Promise<void> batch(BatchContext context) override {
    return answer(context, [&](rpc::BatchReply::Builder reply) {
      auto operations = context.getParams().getOperations();
      auto results = reply.initResults(operations.size());
      for (auto i : kj::indices(operations)) fillResult(operations[i], results[i]);
      script.spoilBatch(reply);
    });
  }

  kj::Promise<void> openArena(OpenArenaContext context) override {
    ++script.seen.arenasOpened;
    return answer(context, [&](rpc::OpenArenaReply::Builder reply) {
      auto id = context.getParams().getId();
      if (id < FIRST_ARENA || id >= FIRST_ARENA + kj::size(arenas)) {
        auto error = reply.initError();
        error.setReason(rpc::Reason::BAD_ARENA);
        error.setMessage("no such arena");
      } else {
        auto opened = reply.initOpened();
        auto fd = arenas[id - FIRST_ARENA].memory->openReadOnly();
        opened.setArena(kj::heap<ArenaDescriptor>(kj::mv(fd)));
        opened.setSize(ARENA_BYTES);
      }
      script.spoilArena(reply);
    });
  }

  kj::Promise<void> registerArena(RegisterArenaContext context) override {
    ++script.seen.arenasRegistered;
    auto arena = context.getParams().getArena();
    auto fd = arena.getFd();
    return fd.then([this, context, arena = kj::mv(arena)](kj::Maybe<int> fd) mutable {
      auto reply = context.getResults();
      if (!script.takesArenas) {
        reply.initError().setReason(rpc::Reason::BAD_ARENA);
        return;
      }
      int copy;
      KJ_SYSCALL(copy = dup(KJ_REQUIRE_NONNULL(fd)));
      auto accepted = shm::PeerArena::accept(kj::AutoCloseFd(copy));
      KJ_REQUIRE(!accepted.is<shm::PeerFault>(), accepted.get<shm::PeerFault>().message);
      auto id = nextClientArena++;
      clientArenas.emplace(id, kj::mv(accepted.get<kj::Own<const shm::PeerArena>>()));
      auto registered = reply.initRegistered();
      registered.setId(id);
      registered.setRegistration(kj::heap<CountedRegistration>(script));
    });
  }

private:
  // The reply that `fill` makes; or an error, or none at all, as the script says.
  template <typename Context, typename Fill>
  kj::Promise<void> answer(Context& context, Fill fill) {
    context.allowCancellation();
    ++script.seen.calls;
    if (!script.answers) return kj::NEVER_DONE;
    auto reply = context.getResults();
    KJ_IF_MAYBE (reason, script.error) {
      auto error = reply.initError();
      error.setCode(rpc::Code::FAILED_PRECONDITION);
      error.setReason(*reason);
      error.setMessage("scripted");
    } else {
      fill(reply);
    }
    return kj::READY_NOW;
  }

  void fillSingle(rpc::GetSingleValueRequest::Reader request, rpc::ValueReply::Builder reply) {
    auto value = valueOf(request.getKey());
    putBytes(reply.initValue(), value);
  }

  void fillGet(rpc::GetRequest::Reader request, rpc::GetReply::Builder reply) {
    script.seen.keys = take(request.getKeys());
    auto values = KJ_MAP(key, script.seen.keys) {
      return valueOf(key);
    };
    auto items = KJ_MAP(value, values) {
      return Bytes(value);
    };
    auto packed = pack(items);
    auto bulk = reply.initValues();
    // A piece for the header, and one for each item.
    kj::Vector<Bytes> pieces;
    auto rest = packed.asPtr().asConst();
    auto cut = [&](size_t size) {
      pieces.add(rest.slice(0, size));
      rest = rest.slice(size, rest.size());
    };
    cut(8 + 4 * items.size());
    for (auto item : items) cut(item.size());
    put(bulk, packed, pieces);
  }

  void fillSet(rpc::SetRequest::Reader request, rpc::StateReply::Builder reply) {
    script.seen.keys = take(request.getKeys());
    script.seen.values = take(request.getValues());
    script.seen.setIds.add(kj::heapArray<kj::byte>(request.getId()));
    auto state = RootHash::copyOf(request.getState());
    reply.setState(stateAfter(state, script.seen.keys.size()).ptr());
    script.spoilState(reply);
  }

  void fillProof(rpc::ProveRequest::Reader request, rpc::ProveReply::Builder reply) {
    script.seen.keys = take(request.getKeys());
    auto keys = KJ_MAP(key, script.seen.keys) {
      return EncodedKey(key);
    };
    auto proof = proofOf(keys);
    putBytes(reply.initProof(), proof);
  }

  void fillResult(rpc::Operation::Reader operation, rpc::OperationReply::Builder result) {
    switch (operation.which()) {
      case rpc::Operation::INITIAL_STATE:
        result.initInitialState().setState(initialStateByRule().ptr());
        break;
      case rpc::Operation::HAS_STATE:
        result.initHasState().setFound(true);
        break;
      case rpc::Operation::GET_SINGLE_VALUE:
        fillSingle(operation.getGetSingleValue(), result.initGetSingleValue());
        break;
      case rpc::Operation::GET:
        fillGet(operation.getGet(), result.initGet());
        break;
      case rpc::Operation::SET:
        fillSet(operation.getSet(), result.initSet());
        break;
      case rpc::Operation::PROVE:
        fillProof(operation.getProve(), result.initProve());
        break;
      default:
        result.initError().setCode(rpc::Code::UNIMPLEMENTED);
    }
  }

  // A request's items, copied out of the message or out of the client's arena.
  kj::Vector<kj::Array<kj::byte>> take(rpc::Bulk::Reader bulk) {
    auto place = rpc::locate(bulk, uint64_t(1) << 30).get<rpc::BulkPlace>();
    auto bytes = kj::heapArray<kj::byte>(place.length);
    KJ_IF_MAYBE (span, place.form.tryGet<rpc::ArenaSpan>()) {
      ++script.seen.requestsInArenas;
      auto& arena = *clientArenas.at(span->arena);
      KJ_ASSERT(arena.read(span->offset, bytes) == nullptr);
    } else {
      auto to = bytes.begin();
      for (auto chunk : place.form.get<rpc::InlineChunks>().chunks) {
        memcpy(to, chunk.begin(), chunk.size());
        to += chunk.size();
      }
    }
    kj::Vector<kj::Array<kj::byte>> items;
    auto list = rpc::PackedList::parse(bytes, rpc::MAX_ITEM_BYTES);
    for (auto item : list.get<rpc::PackedList>().items()) {
      items.add(kj::heapArray<kj::byte>(item));
    }
    return items;
  }

  void putBytes(rpc::Bulk::Builder bulk, Bytes bytes) {
    Bytes halves[] = {bytes.slice(0, bytes.size() / 2),
                      bytes.slice(bytes.size() / 2, bytes.size())};
    put(bulk, bytes, halves);
  }

  // `pieces` make up `whole`: where a table may be cut.
  void put(rpc::Bulk::Builder bulk, Bytes whole, kj::ArrayPtr<const Bytes> pieces) {
    switch (script.form) {
      case Script::Form::INLINE:
        rpc::setInline(bulk, whole);
        break;
      case Script::Form::CHUNKS: {
        auto chunks = bulk.initInline(whole.size());
        for (auto i : kj::indices(whole)) chunks.set(i, whole.slice(i, i + 1));
        break;
      }
      case Script::Form::SPAN:
        rpc::setSpan(bulk, kj::heap<CountedRegion>(script),
                     {FIRST_ARENA, arenas[0].put(whole), whole.size()});
        break;
      case Script::Form::TABLE:
        putTable(bulk, whole, pieces);
        break;
    }
    script.spoilBulk(bulk);
  }

  void putTable(rpc::Bulk::Builder bulk, Bytes whole, kj::ArrayPtr<const Bytes> pieces) {
    auto spans = kj::heapArrayBuilder<rpc::ArenaSpan>(pieces.size());
    for (auto i : kj::indices(pieces)) {
      spans.add(rpc::ArenaSpan{FIRST_ARENA + uint32_t(i % 2), arenas[i % 2].put(pieces[i]),
                               pieces[i].size()});
    }
    auto entries = kj::heapArray<kj::byte>(rpc::tableSize(spans.size()));
    rpc::writeTable(spans, entries);
    const rpc::ArenaSpan table{FIRST_ARENA, arenas[0].put(entries), entries.size()};
    const rpc::Lease lease{{FIRST_ARENA, LEASE_AT, rpc::Lease::BYTES}, LEASE_VALUE};
    rpc::setTable(bulk, kj::heap<CountedRegion>(script), {table, uint32_t(spans.size()), lease},
                  whole.size());
  }

  Script& script;
  ReplyArena arenas[2];
  std::unordered_map<uint32_t, kj::Own<const shm::PeerArena>> clientArenas;
  uint32_t nextClientArena = 100;
};

class ScriptedLedgerd final : public rpc::Ledgerd::Server {
public:
  explicit ScriptedLedgerd(Script& script) : script(script) {}

  kj::Promise<void> connect(ConnectContext context) override {
    context.allowCancellation();
    if (!script.shakesHands) return kj::NEVER_DONE;
    auto hello = context.getParams().getHello();
    script.seen.clientName = kj::str(hello.getName());
    script.seen.clientFeatures = hello.getFeatures();
    if (script.handshakesToRefuse > 0) {
      --script.handshakesToRefuse;
      auto error = context.getResults().initError();
      error.setCode(script.refusal);
      error.setMessage("not now");
      return kj::READY_NOW;
    }
    auto welcome = context.getResults().initWelcome();
    welcome.setVersion(script.version);
    welcome.setFeatures(script.features & hello.getFeatures());
    welcome.setBuild("scripted 1");
    welcome.setSession(kj::heap<ScriptedSession>(script));
    auto limits = welcome.initLimits();
    limits.setRequestBytes(script.requestBytes);
    limits.setResponseBytes(uint64_t(1) << 30);
    limits.setInlineThreshold(script.inlineThreshold);
    limits.setMessageWords(script.messageWords);
    limits.setRegisteredArenas(script.registeredArenas);
    limits.setBatchOperations(16);
    return kj::READY_NOW;
  }

private:
  Script& script;
};

// One connection, torn down from the bottom up.
struct Served {
  Served(kj::Own<kj::AsyncCapabilityStream> from, Script& script)
      : stream(kj::mv(from)),
        network(*stream, 1, capnp::rpc::twoparty::Side::SERVER,
                rpc::readerOptionsFor(script.messageWords)),
        rpcSystem(capnp::makeRpcServer(network, kj::heap<ScriptedLedgerd>(script))) {}

  kj::Own<kj::AsyncCapabilityStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpcSystem;
};

class Acceptor final : private kj::TaskSet::ErrorHandler {
public:
  Acceptor(kj::Own<kj::ConnectionReceiver> receiver, Script& script)
      : receiver(kj::mv(receiver)), script(script), tasks(*this) {}

  kj::Promise<void> run() {
    return receiver->accept().then([this](kj::Own<kj::AsyncIoStream> stream) {
      tasks.add(serve(stream.downcast<kj::AsyncCapabilityStream>(), script));
      return run();
    });
  }

private:
  void taskFailed(kj::Exception&& exception) override { KJ_LOG(INFO, exception); }

  kj::Own<kj::ConnectionReceiver> receiver;
  Script& script;
  kj::TaskSet tasks;
};

}  // namespace

kj::Array<kj::byte> valueOf(EncodedKey key) {
  if (key == "absent"_kj.asBytes()) return nullptr;
  kj::Vector<kj::byte> twice;
  twice.addAll(key);
  twice.addAll(key);
  return twice.releaseAsArray();
}

kj::Array<kj::byte> proofOf(kj::ArrayPtr<const EncodedKey> keys) {
  kj::Vector<kj::byte> proof;
  for (auto key : keys) proof.addAll(key);
  return proof.releaseAsArray();
}

RootHash initialStateByRule() {
  return stateAfter(RootHash{}, 1);
}

RootHash stateAfter(const RootHash& state, size_t keys) {
  auto next = state;
  next.bytes[RootHash::SIZE - 1] += keys;
  return next;
}

kj::Promise<void> serve(kj::Own<kj::AsyncCapabilityStream> stream, Script& script) {
  auto served = kj::heap<Served>(kj::mv(stream), script);
  auto done = served->network.onDisconnect();
  return done.attach(kj::mv(served));
}

kj::Promise<void> serveAt(kj::Network& network, kj::StringPtr path, Script& script) {
  return network.parseAddress(kj::str("unix:", path))
      .then([&script](kj::Own<kj::NetworkAddress> address) {
        auto acceptor = kj::heap<Acceptor>(address->listen(), script);
        auto running = acceptor->run();
        return running.attach(kj::mv(acceptor));
      });
}

}  // namespace ledger::client
