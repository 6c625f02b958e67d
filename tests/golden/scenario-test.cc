// SPDX-License-Identifier: Apache-2.0
// A runner that misreads its data could pass anything.

#include "tests/golden/scenario.h"

#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace ledger::golden {
namespace {

std::string write(const testing::ScratchFolder& folder, const char* text) {
  const auto path = folder / "scenario.jsonl";
  std::ofstream(path) << text;
  return path;
}

constexpr char STATE[] = "568f4ec740fe3b5de88034cb7b1fbddb41548b068f31aebc8ae9189e429c5749";

// Would catch an encoding that disagrees with the ledger's: every answer would then be about other
// registers, and agree with itself.
TEST(GoldenKey, IsEncodedAsInFlowGosVector) {
  auto key = nlohmann::json::parse(
      R"([{"type":1,"value":"6b657920706172742031"},{"type":22,"value":"6b657920706172742032"}])");
  EXPECT_EQ(toHex(encodeGoldenKey(key)),
            "00020000000c00016b6579207061727420310000000c00166b657920706172742032");
  EXPECT_EQ(toHex(encodeGoldenKey(nlohmann::json::array())), "0000");
}

// Would catch a blob that equals everything of its length, or everything with its first bytes.
TEST(GoldenBlob, MatchesItsBytesAlone) {
  auto whole = Blob::parse(nlohmann::json("0102ff"));
  auto digest = Blob::parse(nlohmann::json::parse(
      R"({"len":3,"sha256":"0526d0e18ea19dfaad9d79166bec1e18d6221ef6b1830385fe9bf67022ed5f96"})"));
  const kj::byte right[] = {1, 2, 255}, wrong[] = {1, 2, 254}, more[] = {1, 2, 255, 0};
  EXPECT_TRUE(whole.matches(right));
  EXPECT_FALSE(whole.matches(wrong));
  EXPECT_FALSE(whole.matches(more));
  EXPECT_FALSE(whole.matches(kj::arrayPtr(right, 2)));
  EXPECT_TRUE(digest.matches(right));
  EXPECT_FALSE(digest.matches(wrong));
  EXPECT_TRUE(Blob::parse(nullptr).matches(kj::ArrayPtr<const kj::byte>()));
  EXPECT_TRUE(Blob::parse(nlohmann::json("")).matches(kj::ArrayPtr<const kj::byte>()));
}

// Would catch an error or a panic that is taken for an answer, and the other way round.
TEST(GoldenScenario, TellsAnswersErrorsAndPanicsApart) {
  testing::ScratchFolder folder;
  const auto state = std::string(STATE);
  const auto path = write(folder, (R"({"op":"open","forest_capacity":7,"wal_segment_size":32768})"
                                   "\n"
                                   R"({"op":"has","state":")" +
                                   state +
                                   R"(","result":true})"
                                   "\n"
                                   R"({"op":"get","state":")" +
                                   state +
                                   R"(","keys":[[]],"error":"no such"})"
                                   "\n"
                                   R"({"op":"prove","state":")" +
                                   state +
                                   R"(","keys":[[],[]],"panic":"index"})"
                                   "\n"
                                   R"({"op":"set","state":")" +
                                   state +
                                   R"(","keys":[[],[]],"values":[null,"aa"],)"
                                   R"("new_state":")" +
                                   state +
                                   R"(","trie_update":"00","trie_update_cbor":"01"})"
                                   "\n")
                                      .c_str());
  kj::Vector<Outcome> outcomes;
  readScenario(path, [&](const Step& step) {
    outcomes.add(step.outcome);
    EXPECT_EQ(step.line, outcomes.size());
    if (step.op == Op::OPEN) {
      EXPECT_EQ(step.forestCapacity, 7u);
      EXPECT_EQ(step.walSegmentSize, 32768u);
    }
    if (step.op == Op::HAS) {
      EXPECT_TRUE(step.has);
    }
    if (step.op == Op::SET) {
      ASSERT_EQ(step.values.size(), 2u);
      EXPECT_EQ(step.values[0].size(), 0u);
      EXPECT_EQ(step.values[1].size(), 1u);
    }
  });
  EXPECT_TRUE(outcomes.asPtr() ==
              kj::ArrayPtr<const Outcome>({Outcome::ANSWER, Outcome::ANSWER, Outcome::ERROR,
                                           Outcome::PANIC, Outcome::ANSWER}));
}

// Would catch a runner that passes over what it does not know: a damaged file must stop it.
TEST(GoldenScenario, RefusesWhatItDoesNotUnderstand) {
  for (auto text :
       {R"({"op":"fly"})", R"({"op":"has"})", R"({"op":"has","state":"00","result":true})",
        R"({"op":"initial","state":"zz"})", "not json"}) {
    testing::ScratchFolder folder;
    const auto path = write(folder, text);
    EXPECT_TRUE(kj::runCatchingExceptions([&]() { readScenario(path, [](const Step&) {}); }) !=
                nullptr)
        << text;
  }
}

}  // namespace
}  // namespace ledger::golden
