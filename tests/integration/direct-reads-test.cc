// SPDX-License-Identifier: Apache-2.0
// Registers that a client reads in the server's store, with no call; and what becomes of its views
// when states are evicted, memory is short, or the server is gone.

#include "client/blocking-client.h"
#include "client/state-view.h"
#include "tests/integration/daemon-fixture.h"

#include <kj/thread.h>

#include <atomic>

namespace ledger::testing {
namespace {

using Standing = client::StateView::Standing;

class DirectReads : public DaemonTest {
protected:
  client::ConnectOptions how() {
    client::ConnectOptions result;
    socket = scratch / "socket";
    result.address = socket.c_str();
    result.connection.transport = client::TransportChoice::SHM;
    return result;
  }
  kj::Own<client::LedgerClient> connectDirectly() {
    return client::connect(io.provider->getNetwork(), io.provider->getTimer(), how())
        .wait(io.waitScope);
  }

  RootHash setAll(client::LedgerClient& ledger, const RootHash& state, const Registers& registers) {
    return answer(ledger.set(state, registers.keys, registers.values));
  }

  // Reads until that needs no call.
  void readUntilDirect(client::LedgerClient& ledger, const RootHash& state, EncodedKey key) {
    const uint64_t before = ledger.readCounts().direct;
    ASSERT_TRUE(eventually([&]() {
      answer(ledger.getSingleValue(state, key));
      return ledger.readCounts().direct > before;
    }));
  }

  std::string socket;
};

TEST_F(DirectReads, AnswerAsCallsDo) {
  startDaemon();
  auto ledger = connectDirectly();
  Registers registers(1000, 100), others(1001, 0);
  const RootHash state = setAll(*ledger, answer(ledger->initialState()), registers);
  readUntilDirect(*ledger, state, registers.keys[0]);

  const uint64_t before = ledger->readCounts().direct;
  for (size_t i = 0; i < registers.keys.size(); ++i) {
    auto value = answer(ledger->getSingleValue(state, registers.keys[i]));
    ASSERT_TRUE(value.bytes() == registers.values[i]) << i;
  }
  EXPECT_EQ(answer(ledger->getSingleValue(state, others.keys[1000])).size(), 0u);
  auto values = answer(ledger->get(state, registers.keys.slice(0, 300)));
  for (size_t i = 0; i < values.size(); ++i) ASSERT_TRUE(values[i] == registers.values[i]) << i;
  EXPECT_EQ(ledger->readCounts().direct, before + 1301);

  // What is refused is refused by the server.
  const kj::byte malformed[] = {0, 1, 0};
  auto refused = ledger->getSingleValue(state, malformed).wait(io.waitScope);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().reason, Reason::BAD_KEY);
  EXPECT_EQ(ledger->readCounts().direct, before + 1301);
}

TEST_F(DirectReads, ReadALargeValueInPlaceOnlyWhereAsked) {
  startDaemon();
  Registers registers(1, 4 << 20);
  auto copying = connectDirectly();
  const RootHash state = setAll(*copying, answer(copying->initialState()), registers);
  auto options = how();
  options.connection.storeViews = true;
  auto ledger =
      client::connect(io.provider->getNetwork(), io.provider->getTimer(), options)
          .wait(io.waitScope);
  readUntilDirect(*ledger, state, registers.keys[0]);
  auto value = answer(ledger->getSingleValue(state, registers.keys[0]));
  EXPECT_EQ(value.place(), client::Place::SHARED_MEMORY);
  EXPECT_TRUE(value.bytes() == registers.values[0]);
  EXPECT_TRUE(value.isIntact());
}

// The server no longer knows the state, so neither does its client; a view that is held does.
TEST_F(DirectReads, EndForCallersWhenTheStateIsEvicted) {
  startDaemon({"--mtrie-cache-size=3"});
  auto ledger = connectDirectly();
  Registers registers(100, 100);
  const RootHash state = setAll(*ledger, answer(ledger->initialState()), registers);
  auto view = answer(ledger->openView(state));
  readUntilDirect(*ledger, state, registers.keys[0]);
  EXPECT_EQ(view->standing(), Standing::CURRENT);

  RootHash newest = state;
  for (uint64_t block = 0; block < 3; ++block) {
    newest = setAll(*ledger, newest, Registers(100, 100, 1000 + block));
  }
  auto gone = ledger->getSingleValue(state, registers.keys[0]).wait(io.waitScope);
  ASSERT_TRUE(gone.is<Error>());
  EXPECT_EQ(gone.get<Error>().reason, Reason::UNKNOWN_STATE);
  EXPECT_EQ(view->standing(), Standing::EVICTED);
  for (size_t i = 0; i < registers.keys.size(); ++i) {
    auto value = view->read(registers.keys[i]);
    ASSERT_TRUE(value.is<kj::Array<kj::byte>>());
    EXPECT_TRUE(value.get<kj::Array<kj::byte>>() == registers.values[i]);
  }
  auto values = view->read(registers.keys.slice(0, 40));
  ASSERT_TRUE(values.is<kj::Array<kj::Array<kj::byte>>>());
  EXPECT_TRUE(values.get<kj::Array<kj::Array<kj::byte>>>()[39] == registers.values[39]);
}

// One client's view must not keep the others from writing.
TEST_F(DirectReads, AreTakenBackWhenMemoryIsShort) {
  startDaemon({"--mtrie-cache-size=2", "--memory-limit=160MiB", "--arena-size=16MiB",
               "--max-request-size=64MiB", "--max-response-size=64MiB"});
  auto ledger = connectDirectly();
  Registers large(12, 2 << 20);  // 24 MiB; a Set of them takes four times as much while it lasts.
  const RootHash first = setAll(*ledger, answer(ledger->initialState()), large);
  auto view = answer(ledger->openView(first));
  EXPECT_TRUE(view->read(large.keys[3]).get<kj::Array<kj::byte>>() == large.values[3]);

  // Each replaces all values. There is room for the forest's two states and a Set, and not for the
  // view's state beside them.
  RootHash state = first;
  for (uint64_t block = 1; block < 5; ++block) {
    state = setAll(*ledger, state, Registers(12, 2 << 20, 100 * block));
  }
  EXPECT_EQ(view->standing(), Standing::TAKEN_BACK);
  auto refused = view->read(large.keys[3]);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::UNAVAILABLE);
}

TEST_F(DirectReads, OfAServerThatIsGoneAreErrorsAndBeginAgainWithTheNext) {
  startDaemon();
  auto ledger = connectDirectly();
  Registers registers(100, 100);
  const RootHash state = setAll(*ledger, answer(ledger->initialState()), registers);
  auto view = answer(ledger->openView(state));
  readUntilDirect(*ledger, state, registers.keys[0]);
  daemon->kill();
  // It learns of it when its loop runs.
  EXPECT_TRUE(eventually([&]() {
    io.waitScope.poll();
    return view->standing() == Standing::TAKEN_BACK;
  }));
  EXPECT_TRUE(view->read(registers.keys[0]).is<Error>());
  startDaemon();
  readUntilDirect(*ledger, state, registers.keys[0]);
  EXPECT_TRUE(answer(ledger->getSingleValue(state, registers.keys[7])).bytes() ==
              registers.values[7]);
}

// One view and many threads, while another client writes.
TEST_F(DirectReads, ServeManyThreadsBesideAWriter) {
  startDaemon({"--mtrie-cache-size=5"});
  auto writer = connectDirectly();
  Registers registers(500, 64);
  RootHash state = setAll(*writer, answer(writer->initialState()), registers);
  client::BlockingClient reader(how());
  auto opened = reader.openView(state);
  auto& view = *opened.get<kj::Own<const client::StateView>>();
  std::atomic<bool> done{false};
  std::atomic<uint64_t> wrong{0}, reads{0};
  {
    kj::Vector<kj::Own<kj::Thread>> threads;
    KJ_DEFER(done = true);
    for (int thread = 0; thread < 3; ++thread) {
      threads.add(kj::heap<kj::Thread>([&, thread]() {
        for (size_t i = thread; !done || reads < 10'000; i = (i + 7) % registers.keys.size()) {
          auto value = view.read(registers.keys[i]);
          ++reads;
          if (value.is<Error>() || value.get<kj::Array<kj::byte>>() != registers.values[i]) ++wrong;
          // The client's own way: the first reads are calls.
          auto asked = reader.getSingleValue(state, registers.keys[i]);
          if (asked.is<client::View>() &&
              asked.get<client::View>().bytes() != registers.values[i]) {
            ++wrong;
          }
        }
      }));
    }
    RootHash newest = state;
    for (uint64_t block = 0; block < 50; ++block) {
      newest = setAll(*writer, newest, Registers(500, 64, 1000 + block));
    }
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(reader.readCounts().direct, 0u);
}

}  // namespace
}  // namespace ledger::testing
