// SPDX-License-Identifier: Apache-2.0
// A real ledgerd is killed with SIGKILL at random moments, under Sets of several clients and with
// checkpoints all the time, and also while it starts. Every acknowledged Set is there afterwards.
//
// LEDGERD_RUNS: how many kills (the long form, tools/crash-runs, has 200). LEDGERD_SEED: of moments
// and values.
#include "client/blocking-client.h"
#include "tests/testing/ledgerd-process.h"
#include "tests/testing/registers.h"
#include "tests/testing/scratch-folder.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/thread.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace ledger::testing {
namespace {

constexpr unsigned CLIENTS = 4;
constexpr unsigned RUNS = 8;
constexpr unsigned KEYS = 12;             // Of each client.
constexpr size_t REMEMBERED = 10;         // Acknowledged states that must still be there.
constexpr unsigned LONGEST_LOAD_MS = 250;  // Before a kill.
constexpr unsigned LONGEST_START_MS = 60;  // Before a kill amid a start.

uint64_t fromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

void pass(unsigned microseconds) {
  timespec duration = {time_t(microseconds / 1'000'000), long(microseconds % 1'000'000) * 1000};
  nanosleep(&duration, nullptr);
}

// One fork of states, each an update of the one before. Thread: one at a time.
class Fork {
public:
  Fork(unsigned number, uint64_t seed) : number(number), random(seed + number) {}

  void begin(const RootHash& state) { acknowledged.push_back(state); }

  // Sets until the server is gone.
  void setUntilItEnds(const std::string& socket) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   client::BlockingClient client(connectOptions(socket));
                   for (;;) setNext(client);
                 })) {
      if (exception->getType() == kj::Exception::Type::DISCONNECTED) return;
      problem = exception->getDescription().cStr();
    }
  }

  // All that was acknowledged is there. What was in flight is there or not: it is sent again.
  void check(const std::string& socket) {
    EXPECT_EQ(problem, "");
    client::BlockingClient client(connectOptions(socket));
    auto states = answer(client.states());
    auto at = states.begin();
    for (auto& state : acknowledged) {
      at = std::find(at, states.end(), state);
      EXPECT_TRUE(at != states.end()) << "a state of fork " << number << " is lost, or misplaced";
    }
    checkValues(client);
    if (!update.empty()) {
      send(client);
      checkValues(client);
    }
  }

  unsigned sets() const { return done; }

private:
  struct Written {
    uint64_t seed;
    size_t length;
  };

  static client::ConnectOptions connectOptions(const std::string& socket) {
    return {.address = socket.c_str()};
  }

  template <typename T>
  static T answer(Result<T> result) {
    KJ_IF_MAYBE (error, result.template tryGet<Error>()) KJ_FAIL_REQUIRE("refused", error->message);
    return kj::mv(result.template get<T>());
  }

  void setNext(client::BlockingClient& client) {
    for (unsigned i = random() % 4; i < 4; ++i) {
      const size_t length = random() % 8 == 0 ? 0 : random() % 4000;
      update[KEYS * number + random() % KEYS] = {random(), length};
    }
    send(client);
  }

  // What is in `update` stays there until it is acknowledged.
  void send(client::BlockingClient& client) {
    std::vector<kj::Array<kj::byte>> keyBytes, valueBytes;
    for (auto& [key, written] : update) {
      keyBytes.push_back(keyOf(key));
      valueBytes.push_back(valueOf(written.seed, written.length));
    }
    std::vector<EncodedKey> keys(keyBytes.begin(), keyBytes.end());
    std::vector<Value> values(valueBytes.begin(), valueBytes.end());
    auto state = answer(client.set(acknowledged.back(), kj::arrayPtr(keys.data(), keys.size()),
                                   kj::arrayPtr(values.data(), values.size())));
    acknowledged.push_back(state);
    if (acknowledged.size() > REMEMBERED) acknowledged.pop_front();
    for (auto& [key, written] : update) registers[key] = written;
    update.clear();
    ++done;
  }

  void checkValues(client::BlockingClient& client) {
    if (registers.empty()) return;
    std::vector<kj::Array<kj::byte>> keyBytes;
    for (auto& [key, written] : registers) keyBytes.push_back(keyOf(key));
    std::vector<EncodedKey> keys(keyBytes.begin(), keyBytes.end());
    auto values = answer(client.get(acknowledged.back(), kj::arrayPtr(keys.data(), keys.size())));
    size_t i = 0;
    for (auto& [key, written] : registers) {
      EXPECT_TRUE(values[i++] == valueOf(written.seed, written.length).asPtr())
          << "register " << key << " of fork " << number;
    }
  }

  const unsigned number;
  std::mt19937_64 random;
  std::deque<RootHash> acknowledged;       // The last ones.
  std::map<uint64_t, Written> registers;   // Of the last one.
  std::map<uint64_t, Written> update;      // In flight.
  std::string problem;
  unsigned done = 0;
};

class RandomKills : public ::testing::Test {
public:
  ~RandomKills() noexcept override {}

protected:
  LedgerdOptions options() {
    LedgerdOptions result;
    result.binary = ledgerdBinary();
    result.triedir = scratch / "triedir";
    result.socket = scratch / "socket";
    result.flags = {"--wal-segment-size",    "32KiB", "--checkpoint-distance", "1",
                    "--checkpoints-to-keep", "2",     "--disk-reserve",        "0",
                    "--wal-retention"};
    return result;
  }

  // A start that is killed before it can serve, or perhaps shortly after: by a timer, which outlives
  // exec, and a signal that nobody handles.
  void killAStart(unsigned microseconds) {
    auto how = options();
    how.inChild = [](const char* microseconds) {
      itimerval timer = {{0, 0}, {0, atoi(microseconds)}};
      if (setitimer(ITIMER_REAL, &timer, nullptr) != 0) _exit(125);
    };
    how.inChildArgument = std::to_string(microseconds);
    auto ended = runLedgerd(kj::mv(how)).ended;
    EXPECT_TRUE(ended.bySignal && ended.number == SIGALRM) << ended.describe().cStr();
  }

  ScratchFolder scratch;
};

TEST_F(RandomKills, LoseNothing) {
  const auto seed = fromEnvironment("LEDGERD_SEED", std::random_device()());
  const auto runs = fromEnvironment("LEDGERD_RUNS", RUNS);
  printf("LEDGERD_SEED=%llu LEDGERD_RUNS=%llu\n", (unsigned long long)seed,
         (unsigned long long)runs);
  fflush(stdout);
  std::mt19937_64 random(seed);
  std::deque<Fork> forks;
  for (unsigned i = 0; i < CLIENTS; ++i) forks.emplace_back(i, seed);
  unsigned killedStarts = 0;

  for (uint64_t run = 0; run <= runs && !HasFailure(); ++run) {
    SCOPED_TRACE(::testing::Message() << "run " << run);
    if (run > 0 && random() % 3 == 0) {
      killAStart(1000 + random() % (1000 * LONGEST_START_MS));
      ++killedStarts;
    }
    LedgerdProcess daemon(options());
    if (run == 0) {
      client::BlockingClient client({.address = (scratch / "socket").c_str()});
      auto initial = client.initialState();
      for (auto& fork : forks) fork.begin(initial.get<RootHash>());
    }
    for (auto& fork : forks) fork.check(scratch / "socket");
    if (run == runs) {
      EXPECT_TRUE(daemon.stop().cleanly()) << daemon.log().cStr();
      break;
    }
    kj::Vector<kj::Own<kj::Thread>> threads;  // Joined at the end of the block.
    for (auto& fork : forks) {
      threads.add(kj::heap<kj::Thread>(
          [&fork, socket = scratch / "socket"]() { fork.setUntilItEnds(socket); }));
    }
    pass(random() % (1000 * LONGEST_LOAD_MS));
    EXPECT_TRUE(daemon.running()) << daemon.log().cStr();
    daemon.kill();
  }
  unsigned sets = 0;
  for (auto& fork : forks) sets += fork.sets();
  printf("%llu kills under load, %u of starts, %u Sets\n", (unsigned long long)runs, killedStarts,
         sets);
}

}  // namespace
}  // namespace ledger::testing
