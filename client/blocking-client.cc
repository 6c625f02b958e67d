// SPDX-License-Identifier: Apache-2.0
#include "client/blocking-client.h"

#include <kj/debug.h>
#include <kj/mutex.h>
#include <kj/thread.h>

namespace ledger::client {

// The thread, and what it publishes once it is connected.
struct BlockingClient::Loop {
  Loop(const ConnectOptions& options, RandomSource& random)
      : thread([this, &options, &random]() { run(options, random); }) {}

  ~Loop() noexcept(false) {
    auto locked = ready.lockExclusive();
    KJ_IF_MAYBE (open, locked->tryGet<Open>()) open->stop->fulfill();
  }

  // Waits until the thread has connected, or throws what kept it from that.
  void waitUntilOpen() const {
    kj::Maybe<kj::Exception> failure;
    ready.when([](const State& state) { return !state.is<Starting>(); },
               [&](State& state) {
                 KJ_IF_MAYBE (exception, state.tryGet<kj::Exception>()) failure = *exception;
               });
    KJ_IF_MAYBE (exception, failure) kj::throwFatalException(kj::mv(*exception));
  }

  // Runs `func` on the loop's thread and waits for what its promise brings.
  template <typename Func>
  auto call(Func&& func) const {
    kj::Own<const kj::Executor> executor;
    LedgerClient* client;
    {
      auto locked = ready.lockShared();
      auto& open = locked->get<Open>();
      executor = open.executor->addRef();
      client = open.client;
    }
    return executor->executeSync([&]() { return func(*client); });
  }

private:
  struct Starting {};
  struct Open {
    kj::Own<const kj::Executor> executor;
    kj::Own<kj::CrossThreadPromiseFulfiller<void>> stop;
    LedgerClient* client;  // The thread's own: used on it only.
  };
  using State = kj::OneOf<Starting, Open, kj::Exception>;

  void run(const ConnectOptions& options, RandomSource& random);

  kj::MutexGuarded<State> ready{Starting()};
  kj::Thread thread;  // Last: it uses the others, and is joined first.
};

void BlockingClient::Loop::run(const ConnectOptions& options, RandomSource& random) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 auto io = kj::setupAsyncIo();
                 auto client =
                     connect(io.provider->getNetwork(), io.provider->getTimer(), options, random)
                         .wait(io.waitScope);
                 auto stop = kj::newPromiseAndCrossThreadFulfiller<void>();
                 *ready.lockExclusive() = Open{kj::getCurrentThreadExecutor().addRef(),
                                               kj::mv(stop.fulfiller), client.get()};
                 // From here on `options` may be gone.
                 stop.promise.wait(io.waitScope);
               })) {
    *ready.lockExclusive() = kj::mv(*exception);
  }
}

BlockingClient::BlockingClient(const ConnectOptions& options, RandomSource& random)
    : reads(directReadsOf(options.connection)) {
  auto shared = options;
  shared.connection.reads = *reads;
  auto starting = kj::heap<Loop>(shared, random);
  starting->waitUntilOpen();
  loop = kj::mv(starting);
}

BlockingClient::~BlockingClient() noexcept(false) {}

Result<RootHash> BlockingClient::initialState() const {
  return loop->call([](LedgerClient& client) { return client.initialState(); });
}

Result<bool> BlockingClient::hasState(const RootHash& state) const {
  return loop->call([&](LedgerClient& client) { return client.hasState(state); });
}

Result<View> BlockingClient::getSingleValue(const RootHash& state, EncodedKey key) const {
  KJ_IF_MAYBE (value, reads->getSingleValue(state, key)) return kj::mv(*value);
  return loop->call([&](LedgerClient& client) { return client.getSingleValue(state, key); });
}

Result<Values> BlockingClient::get(const RootHash& state,
                                   kj::ArrayPtr<const EncodedKey> keys) const {
  KJ_IF_MAYBE (values, reads->get(state, keys)) return kj::mv(*values);
  return loop->call([&](LedgerClient& client) { return client.get(state, keys); });
}

Result<RootHash> BlockingClient::set(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                                     kj::ArrayPtr<const Value> values, kj::Maybe<SetId> id) const {
  return loop->call([&](LedgerClient& client) { return client.set(state, keys, values, id); });
}

Result<View> BlockingClient::prove(const RootHash& state,
                                   kj::ArrayPtr<const EncodedKey> keys) const {
  return loop->call([&](LedgerClient& client) { return client.prove(state, keys); });
}

Result<kj::Array<RootHash>> BlockingClient::states() const {
  return loop->call([](LedgerClient& client) { return client.states(); });
}

Result<uint64_t> BlockingClient::stateCount() const {
  return loop->call([](LedgerClient& client) { return client.stateCount(); });
}

Result<RootHash> BlockingClient::stateByIndex(int64_t index) const {
  return loop->call([&](LedgerClient& client) { return client.stateByIndex(index); });
}

Result<kj::Own<const StateView>> BlockingClient::openView(const RootHash& state) const {
  return loop->call([&](LedgerClient& client) { return client.openView(state); });
}

ReadCounts BlockingClient::readCounts() const {
  return reads->counts();
}

Result<ServerInfo> BlockingClient::info() const {
  return loop->call([](LedgerClient& client) { return client.info(); });
}

Result<kj::Array<SessionInfo>> BlockingClient::sessions() const {
  return loop->call([](LedgerClient& client) { return client.sessions(); });
}

Result<uint64_t> BlockingClient::checkpoint() const {
  return loop->call([](LedgerClient& client) { return client.checkpoint(); });
}

Result<kj::Array<OperationResult>> BlockingClient::batch(
    kj::ArrayPtr<const Operation> operations) const {
  return loop->call([&](LedgerClient& client) { return client.batch(operations); });
}

}  // namespace ledger::client
