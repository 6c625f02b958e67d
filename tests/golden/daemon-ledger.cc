// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/daemon-ledger.h"

#include "client/connect.h"
#include "client/state-view.h"
#include "tests/testing/ledgerd-process.h"
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>

namespace ledger::golden {

namespace {

using client::LedgerClient;
using client::TransportChoice;
using client::View;

class DaemonLedger final : public LedgerUnderTest {
public:
  DaemonLedger(kj::AsyncIoContext& io, std::string ledgerd, Way way)
      : io(io), ledgerd(kj::mv(ledgerd)), way(way) {}

  kj::StringPtr name() const override {
    switch (way) {
      case Way::SHM:
        return "ledgerd, shm";
      case Way::INLINE:
        return "ledgerd, inline";
      case Way::DIRECT:
        return "ledgerd, direct reads";
    }
    KJ_UNREACHABLE;
  }

  void open(kj::StringPtr directory, const OpenOptions& options) override {
    testing::LedgerdOptions start;
    start.binary = ledgerd;
    start.triedir = directory.cStr();
    start.socket = scratch / "socket";
    start.flags = {"--mtrie-cache-size", std::to_string(options.forestCapacity)};
    if (options.walSegmentSize > 0) {
      start.flags.insert(start.flags.end(),
                         {"--wal-segment-size", std::to_string(options.walSegmentSize)});
    }
    // Everything but the smallest payloads takes the way that is under test.
    if (way != Way::INLINE) {
      start.flags.insert(start.flags.end(), {"--inline-threshold", "64"});
    }
    const std::string socket = start.socket;
    process = kj::heap<testing::LedgerdProcess>(kj::mv(start));
    attach(socket);
  }

  void attach(const std::string& socket) {
    // KJ's clock stands still between waits; other ledgers may have been at work for long since the
    // last one, and the time limits below must not count that.
    io.provider->getTimer().afterDelay(0 * kj::SECONDS).wait(io.waitScope);
    client::ConnectOptions options;
    options.address = socket.c_str();
    options.connection.transport =
        way == Way::INLINE ? TransportChoice::INLINE : TransportChoice::SHM;
    options.connection.storeViews = true;
    options.connection.directReads = way == Way::DIRECT;
    client = client::connect(io.provider->getNetwork(), io.provider->getTimer(), options)
                 .wait(io.waitScope);
  }

  void close() override {
    client = nullptr;
    KJ_IF_MAYBE (running, process) {
      auto ended = (*running)->stop();
      auto log = (*running)->log();
      process = nullptr;
      KJ_REQUIRE(ended.cleanly(), "ledgerd did not stop cleanly", ended.describe(), log);
    }
  }

  RootHash initialState() override { return answer(ledger().initialState()); }
  bool hasState(const RootHash& state) override { return answer(ledger().hasState(state)); }
  uint64_t stateCount() override { return answer(ledger().stateCount()); }
  kj::Array<RootHash> states() override { return answer(ledger().states()); }

  Result<RootHash> stateByIndex(int64_t index) override {
    return ledger().stateByIndex(index).wait(io.waitScope);
  }

  Result<Bytes> getSingleValue(const RootHash& state, EncodedKey key) override {
    if (way == Way::DIRECT) {
      auto view = ledger().openView(state).wait(io.waitScope);
      KJ_IF_MAYBE (error, view.tryGet<Error>()) return kj::mv(*error);
      return view.get<kj::Own<const client::StateView>>()->read(key);
    }
    return copy(ledger().getSingleValue(state, key).wait(io.waitScope));
  }

  Result<kj::Array<Bytes>> get(const RootHash& state, Keys keys) override {
    if (way == Way::DIRECT && keys.size() > 0) {
      auto view = ledger().openView(state).wait(io.waitScope);
      KJ_IF_MAYBE (error, view.tryGet<Error>()) return kj::mv(*error);
      return view.get<kj::Own<const client::StateView>>()->read(keys);
    }
    auto result = ledger().get(state, keys).wait(io.waitScope);
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(error, Error) {
        return kj::mv(error);
      }
      KJ_CASE_ONEOF(values, client::Values) {
        return values.copy();
      }
    }
    KJ_UNREACHABLE;
  }

  Result<Bytes> prove(const RootHash& state, Keys keys) override {
    return copy(ledger().prove(state, keys).wait(io.waitScope));
  }

  Result<RootHash> set(const RootHash& state, Keys keys,
                       kj::ArrayPtr<const Value> values) override {
    return ledger().set(state, keys, values).wait(io.waitScope);
  }

  kj::Maybe<TrieCounters> counters(const RootHash& state) override {
    // The server tells them of the newest state alone.
    auto newest = stateByIndex(-1);
    if (!newest.is<RootHash>() || newest.get<RootHash>() != state) return nullptr;
    auto info = answer(ledger().info());
    return TrieCounters{info.ledger.newestRegisters, info.ledger.newestBytes};
  }

private:
  LedgerClient& ledger() { return *KJ_REQUIRE_NONNULL(client, "no ledger is open"); }

  // Of a question that has no refusal.
  template <typename T>
  T answer(kj::Promise<Result<T>> promise) {
    auto result = promise.wait(io.waitScope);
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(error, Error) {
        KJ_FAIL_REQUIRE("refused", error.message);
      }
      KJ_CASE_ONEOF(value, T) {
        return kj::mv(value);
      }
    }
    KJ_UNREACHABLE;
  }

  static Result<Bytes> copy(Result<View> result) {
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(error, Error) {
        return kj::mv(error);
      }
      KJ_CASE_ONEOF(view, View) {
        return view.copy();
      }
    }
    KJ_UNREACHABLE;
  }

  kj::AsyncIoContext& io;
  const std::string ledgerd;
  const Way way;
  testing::ScratchFolder scratch;
  kj::Maybe<kj::Own<testing::LedgerdProcess>> process;
  kj::Maybe<kj::Own<LedgerClient>> client;  // Goes before the process.
};

}  // namespace

kj::Own<LedgerUnderTest> newDaemonLedger(kj::AsyncIoContext& io, std::string ledgerd,
                                         Way way) {
  return kj::heap<DaemonLedger>(io, kj::mv(ledgerd), way);
}

kj::Own<LedgerUnderTest> attachToLedgerd(kj::AsyncIoContext& io, std::string socket,
                                         Way way) {
  auto ledger = kj::heap<DaemonLedger>(io, "", way);
  ledger->attach(socket);
  return ledger;
}

}  // namespace ledger::golden
