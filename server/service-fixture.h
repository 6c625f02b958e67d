// SPDX-License-Identifier: Apache-2.0
#pragma once
// A service over a ledger in memory, and a client of it at the other end of a socket. For tests.

#include "ledger/encoding.h"
#include "ledger/ledger.h"
#include "ledger/trie/format.h"
#include "schema/bulk.h"
#include "schema/ledger.capnp.h"
#include "schema/message-limits.h"
#include "schema/packed-list.h"
#include "server/connections.h"
#include "server/host.h"

#include <capnp/rpc-twoparty.h>
#include <capnp/serialize-async.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/filesystem.h>

#include <string>
#include <vector>

#include <sys/mman.h>

namespace ledger::server {

struct FixtureOptions {
  ServiceLimits limits = {.requestBytes = 8 << 20,
                          .responseBytes = 8 << 20,
                          .inlineThreshold = 1024,
                          .arenaBytes = 16 << 20,
                          .messageWords = rpc::messageWordsFor(8 << 20)};
  uint64_t memoryBytes = uint64_t(1) << 30;
  uint64_t sharedMemoryBytes = uint64_t(256) << 20;
  std::vector<uid_t> writers = {};
  std::vector<uid_t> readers = {};
  std::vector<uid_t> storeReaders = {};
  uint32_t workers = 2;
  uint32_t queueLength = 100;
  uint32_t forestCapacity = 500;
};

inline LedgerOptions ledgerOptions(const FixtureOptions& options, const StorePins& storePins) {
  LedgerOptions result;
  result.forestCapacity = options.forestCapacity;
  result.relieve = [&storePins](const Ledger& ledger) { return storePins.revoke(ledger); };
  return result;
}

inline kj::Array<kj::byte> keyOf(kj::StringPtr name) {
  KeyPart part{2, name.asBytes()};
  auto encoded = encodeKey(kj::arrayPtr(&part, 1));
  return kj::mv(encoded.get<kj::Array<kj::byte>>());
}

// A packed list of strings.
inline kj::Array<kj::byte> packed(const std::vector<std::string>& items) {
  std::vector<Bytes> views;
  for (auto& item : items) {
    views.push_back(kj::StringPtr(item.c_str(), item.size()).asBytes());
  }
  auto list = kj::arrayPtr(views.data(), views.size());
  auto out = kj::heapArray<kj::byte>(rpc::packedListSize(list));
  rpc::writePackedList(list, out);
  return out;
}

inline std::string stringOf(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.begin(), bytes.end());
}

// The packed list of the keys of these names.
inline kj::Array<kj::byte> packedKeys(const std::vector<std::string>& names) {
  std::vector<std::string> keys;
  for (auto& name : names) keys.push_back(stringOf(keyOf(kj::StringPtr(name.c_str()))));
  return packed(keys);
}

inline std::vector<std::string> unpacked(kj::ArrayPtr<const kj::byte> payload) {
  auto list = rpc::PackedList::parse(payload, UINT32_MAX);
  KJ_REQUIRE(list.is<rpc::PackedList>(), list.get<rpc::BadPayload>().message);
  std::vector<std::string> result;
  for (auto& item : list.get<rpc::PackedList>().items()) result.push_back(stringOf(item));
  return result;
}

inline kj::Array<const uid_t> uidsOf(const std::vector<uid_t>& uids) {
  return kj::heapArray<const uid_t>(uids.data(), uids.size());
}

class Service {
public:
  explicit Service(const FixtureOptions& options = {})
      : memory(shm::MemoryBudget::create("--memory-limit", options.memoryBytes)),
        sharedMemory(shm::MemoryBudget::createUnder(*memory, "--shared-memory-limit",
                                                    options.sharedMemoryBytes)),
        grpcReplies(
            shm::MemoryBudget::createUnder(*memory, "gRPC replies", options.memoryBytes / 4)),
        ledger(Ledger::open(kj::newInMemoryDirectory(kj::nullClock()), "test",
                            kj::atomicAddRef(*memory), ledgerOptions(options, storePins))),
        retired(kj::atomicRefcounted<shm::RetiredArenas>()),
        // Nobody runs as this user.
        access(UINT32_MAX - 1, {uidsOf(options.writers), nullptr},
               {uidsOf(options.readers), nullptr}, uidsOf(options.storeReaders)),
        host{.ledger = *ledger,
             .memory = *memory,
             .sharedMemory = *sharedMemory,
             .grpcReplies = *grpcReplies,
             .retiredArenas = *retired,
             .storePins = storePins,
             .limits = options.limits,
             .access = access,
             .start = kj::systemPreciseMonotonicClock().now(),
             .workers = Workers(options.workers, options.queueLength),
             .checkpointCalls = Workers(1, options.queueLength)},
        io(kj::setupAsyncIo()),
        handOverSocket(kj::str("/run/test.handover")),
        connections(kj::heap<Connections>(host, calls)) {}

  kj::Own<const shm::MemoryBudget> memory, sharedMemory, grpcReplies;
  const StorePins storePins;
  kj::Own<Ledger> ledger;
  kj::Own<const shm::RetiredArenas> retired;
  const AccessRules access;
  const Host host;
  kj::AsyncIoContext io;
  InFlight calls;
  const kj::String handOverSocket;  // Its path; nobody serves it.
  kj::Own<Connections> connections;
};

// A client's stream that can stop reading.
class PausableStream final : public capnp::MessageStream {
public:
  explicit PausableStream(kj::AsyncCapabilityStream& stream) : inner(stream) {}

  // No message is read after the one that is being waited for.
  void pause() { paused = kj::newPromiseAndFulfiller<void>(); }
  void resume() {
    KJ_IF_MAYBE (p, paused) p->fulfiller->fulfill();
  }

  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch) override {
    KJ_IF_MAYBE (p, paused) {
      auto resumed = kj::mv(p->promise);
      return resumed.then([this, fdSpace, options, scratch]() {
        paused = nullptr;
        return inner.tryReadMessage(fdSpace, options, scratch);
      });
    }
    return inner.tryReadMessage(fdSpace, options, scratch);
  }
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override {
    return inner.writeMessage(fds, segments);
  }
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override {
    return inner.writeMessages(messages);
  }
  kj::Maybe<int> getSendBufferSize() override { return inner.getSendBufferSize(); }
  kj::Promise<void> end() override { return inner.end(); }

private:
  capnp::AsyncCapabilityMessageStream inner;
  kj::Maybe<kj::PromiseFulfillerPair<void>> paused;
};

// One connection of a client, in the same loop as the service.
class Peer {
public:
  explicit Peer(Service& service, uint64_t features = rpc::FEATURE_SHARED_MEMORY,
                uint64_t messageWords = rpc::messageWordsFor(8 << 20),
                uint32_t storeLayout = LAYOUT_VERSION)
      : service(service), pipe(service.io.provider->newCapabilityPipe()) {
    service.connections->serve(kj::mv(pipe.ends[0]),
                               {.handOverSocket = service.handOverSocket.asPtr()});
    stream = kj::heap<PausableStream>(*pipe.ends[1]);
    network = kj::heap<capnp::TwoPartyVatNetwork>(*stream, 1, capnp::rpc::twoparty::Side::CLIENT,
                                                  rpc::readerOptionsFor(messageWords));
    system = kj::heap(capnp::makeRpcClient(*network));
    capnp::MallocMessageBuilder message;
    auto server = message.initRoot<capnp::rpc::twoparty::VatId>();
    server.setSide(capnp::rpc::twoparty::Side::SERVER);
    ledgerd = system->bootstrap(server).castAs<rpc::Ledgerd>();

    auto request = ledgerd.connectRequest();
    auto hello = request.initHello();
    hello.setMinVersion(1);
    hello.setMaxVersion(1);
    hello.setFeatures(features);
    hello.setMessageWords(messageWords);
    hello.setStoreLayout(storeLayout);
    hello.setName("test");
    auto reply = request.send().wait(service.io.waitScope);
    KJ_REQUIRE(reply.isWelcome(), "refused", reply.getError().getMessage());
    session = reply.getWelcome().getSession();
    handOverSocket = reply.getWelcome().getHandOverSocket().cStr();
  }

  // The bytes of a payload, wherever they are.
  std::string bytesOf(rpc::Bulk::Reader bulk) {
    auto located = rpc::locate(bulk, UINT64_MAX);
    KJ_REQUIRE(located.is<rpc::BulkPlace>(), located.get<rpc::BadPayload>().message);
    auto& place = located.get<rpc::BulkPlace>();
    std::string result;
    KJ_SWITCH_ONEOF(place.form) {
      KJ_CASE_ONEOF(chunks, rpc::InlineChunks) {
        for (auto& chunk : chunks.chunks) result += stringOf(chunk);
      }
      KJ_CASE_ONEOF(span, rpc::ArenaSpan) {
        result = readArena(span);
      }
      KJ_CASE_ONEOF(table, rpc::SpanTable) {
        const auto entries = readArena(table.table);
        auto spans = rpc::parseTable(dataOf(entries), place.length);
        KJ_REQUIRE(spans.is<kj::Array<rpc::ArenaSpan>>(), "a malformed table");
        for (auto& span : spans.get<kj::Array<rpc::ArenaSpan>>()) result += readArena(span);
      }
    }
    return result;
  }

  std::string readArena(const rpc::ArenaSpan& span) {
    auto request = session.openArenaRequest();
    request.setId(span.arena);
    auto reply = request.send().wait(service.io.waitScope);
    KJ_REQUIRE(reply.isOpened());
    auto opened = reply.getOpened();
    auto arena = opened.getArena();
    const int fd = KJ_REQUIRE_NONNULL(arena.getFd().wait(service.io.waitScope));
    KJ_REQUIRE(span.offset + span.length <= opened.getSize());
    void* memory = mmap(nullptr, opened.getSize(), PROT_READ, MAP_SHARED, fd, 0);
    KJ_REQUIRE(memory != MAP_FAILED);
    std::string result(static_cast<char*>(memory) + span.offset, span.length);
    munmap(memory, opened.getSize());
    return result;
  }

  template <typename Request>
  auto send(Request& request) {
    return request.send().wait(service.io.waitScope);
  }

  // One call each, with inline payloads. A request can be sent only once.
  auto hasState(const std::string& state) {
    auto request = session.hasStateRequest();
    request.setState(dataOf(state));
    return send(request);
  }
  auto getSingleValue(const std::string& state, Bytes key) {
    auto request = session.getSingleValueRequest();
    request.setState(dataOf(state));
    request.setKey(key);
    return send(request);
  }
  auto get(const std::string& state, Bytes keys) {
    auto request = session.getRequest();
    request.setState(dataOf(state));
    rpc::setInline(request.initKeys(), keys);
    return send(request);
  }
  auto prove(const std::string& state, Bytes keys) {
    auto request = session.proveRequest();
    request.setState(dataOf(state));
    rpc::setInline(request.initKeys(), keys);
    return send(request);
  }
  auto set(const std::string& state, Bytes keys, Bytes values, Bytes id = nullptr) {
    auto request = session.setRequest();
    request.setState(dataOf(state));
    rpc::setInline(request.initKeys(), keys);
    rpc::setInline(request.initValues(), values);
    request.setId(id);
    return send(request);
  }
  auto stateByIndex(int64_t index) {
    auto request = session.stateByIndexRequest();
    request.setIndex(index);
    return send(request);
  }

  // Sets registers; the new state.
  std::string mustSet(const std::string& state, const std::vector<std::string>& names,
                      const std::vector<std::string>& values) {
    auto reply = set(state, packedKeys(names), packed(values));
    if (reply.isError()) KJ_FAIL_REQUIRE("set failed", reply.getError().getMessage());
    return stringOf(reply.getState());
  }

  std::string initialState() {
    auto request = session.initialStateRequest();
    return stringOf(send(request).getState());
  }

  rpc::Info::Reader info(kj::Maybe<capnp::Response<rpc::InfoReply>>& holder) {
    auto request = session.infoRequest();
    holder = send(request);
    return KJ_ASSERT_NONNULL(holder).getInfo();
  }

  static capnp::Data::Reader dataOf(const std::string& bytes) {
    return kj::StringPtr(bytes.c_str(), bytes.size()).asBytes();
  }

  Service& service;
  kj::CapabilityPipe pipe;
  kj::Own<PausableStream> stream;
  kj::Own<capnp::TwoPartyVatNetwork> network;
  kj::Own<capnp::RpcSystem<capnp::rpc::twoparty::VatId>> system;
  rpc::Ledgerd::Client ledgerd = nullptr;
  rpc::Session::Client session = nullptr;
  std::string handOverSocket;  // As the server told it.
};

}  // namespace ledger::server
