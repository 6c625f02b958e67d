// SPDX-License-Identifier: Apache-2.0
// Memory that runs out is an answer with figures, not an end by the OOM killer.

#include "tests/integration/daemon-fixture.h"
#include "tests/testing/memory-cgroup.h"

#include <regex>

namespace ledger::testing {
namespace {

constexpr uint64_t LIMIT = uint64_t(512) << 20;
constexpr uint64_t HELD = 8 << 20;  // What one read gives.

// "needs N bytes, F of L free": what an operator has to know.
bool hasFigures(kj::StringPtr message) {
  static const std::regex FIGURES("needs [1-9][0-9]* bytes, [0-9]+ of [1-9][0-9]* free");
  return std::regex_search(message.cStr(), FIGURES);
}

class MemoryLimit : public DaemonTest {
protected:
  // Sets new registers until one is refused. Returns the newest state.
  RootHash setUntilRefused(client::LedgerClient& ledger, RootHash state) {
    for (uint64_t i = 0; i < 1000; ++i) {
      Registers some(8, 1 << 20, 1000 * i);  // 8 MiB.
      auto result = ledger.set(state, some.keys, some.values).wait(io.waitScope);
      KJ_IF_MAYBE (error, result.tryGet<Error>()) {
        EXPECT_EQ(error->code, Code::RESOURCE_EXHAUSTED) << error->message.cStr();
        EXPECT_EQ(error->reason, Reason::OUT_OF_MEMORY) << error->message.cStr();
        EXPECT_TRUE(hasFigures(error->message)) << error->message.cStr();
        return state;
      }
      state = result.get<RootHash>();
    }
    ADD_FAILURE() << "8,000 MiB went into " << LIMIT << " bytes";
    return state;
  }

  // Reads values and keeps them all until a read is refused. A reply that finds no room in the
  // arenas may go inline, where there is memory for that: here there is none, since the arenas may
  // take all that there is, and a reply inline takes more than one in an arena. Returns how many
  // bytes were held.
  uint64_t holdUntilRefused(client::LedgerClient& ledger, const RootHash& state) {
    Registers names(8, 0);
    kj::Vector<client::Values> held;
    while (held.size() * HELD <= LIMIT) {
      auto result = ledger.get(state, names.keys).wait(io.waitScope);
      KJ_IF_MAYBE (error, result.tryGet<Error>()) {
        EXPECT_EQ(error->code, Code::RESOURCE_EXHAUSTED) << error->message.cStr();
        EXPECT_TRUE(hasFigures(error->message)) << error->message.cStr();
        return held.size() * HELD;
      }
      auto& values = result.get<client::Values>();
      EXPECT_EQ(values.place(), client::Place::SHARED_MEMORY);
      held.add(kj::mv(values));
    }
    ADD_FAILURE() << "regions of more than " << LIMIT << " bytes are held";
    return held.size() * HELD;
  }

  void exhaust() {
    auto ledger = connect();
    const RootHash empty = answer(ledger->initialState());
    Registers first(8, 1 << 20);
    const RootHash state = answer(ledger->set(empty, first.keys, first.values));

    EXPECT_GT(holdUntilRefused(*ledger, state), LIMIT / 2);
    // What was held has been given back by now; what the stores then take stays.
    const RootHash newest = setUntilRefused(*ledger, state);
    holdUntilRefused(*ledger, newest);

    // It still serves, and knows the last state that it acknowledged.
    EXPECT_TRUE(answer(ledger->hasState(newest)));
    auto key = keyOf(0);
    EXPECT_EQ(answer(ledger->getSingleValue(newest, key)).size(), size_t(1) << 20);
    EXPECT_TRUE(daemon->running());
  }
};

// Would catch memory that is committed without asking the budget, and a default limit that does not
// know of cgroups.
TEST_F(MemoryLimit, InACgroupOf512MiBExhaustionIsAnAnswer) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "skipped, because the sanitizer's own memory does not fit into the cgroup";
#endif
  auto made = MemoryCgroup::create(LIMIT);
  KJ_SWITCH_ONEOF(made) {
    KJ_CASE_ONEOF(why, kj::String) {
      GTEST_SKIP() << "skipped, because no cgroup can be made here: " << why.cStr();
    }
    KJ_CASE_ONEOF(group, kj::Own<MemoryCgroup>) {
      // Before the cgroup goes, also where something throws: it can be removed once it is empty.
      KJ_DEFER(daemon = nullptr);
      auto how = options({"--shared-memory-limit", std::to_string(LIMIT)});
      how.inChild = &joinCgroup;
      how.inChildArgument = group->procsFile();
      startWith(kj::mv(how));
      exhaust();
      EXPECT_EQ(group->oomKills(), 0u);
      EXPECT_TRUE(daemon->stop().cleanly()) << daemon->log().cStr();
    }
  }
}

// The same with the limit as a flag: runs where no cgroup can be made.
TEST_F(MemoryLimit, WithTheFlagExhaustionIsAnAnswer) {
  const auto limit = std::to_string(LIMIT);
  startDaemon({"--memory-limit", limit, "--shared-memory-limit", limit});
  exhaust();
  EXPECT_TRUE(daemon->stop().cleanly()) << daemon->log().cStr();
}

}  // namespace
}  // namespace ledger::testing
