// SPDX-License-Identifier: Apache-2.0
#include "client/joined-reads.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>
#include <vector>

namespace ledger::client {
namespace {

RootHash stateOf(kj::byte fill) {
  RootHash state;
  memset(state.bytes.data(), fill, state.bytes.size());
  return state;
}

// Keys a, b, c ...
const std::string NAMES = "abcdefghijklmnopqrstuvwxyz";
Operation read(size_t key, kj::byte state = 1) {
  auto name = kj::StringPtr(NAMES.c_str(), NAMES.size()).asBytes();
  return {Operation::GetSingleValue{stateOf(state), name.slice(key, key + 1)}};
}
Operation has() {
  return {Operation::HasState{stateOf(1)}};
}

kj::ArrayPtr<const Operation> all(const std::vector<Operation>& operations) {
  return kj::arrayPtr(operations.data(), operations.size());
}

// The values of a Get: each is the key, twice.
OperationResult valuesOf(const Operation& operation) {
  auto& get = operation.what.get<Operation::Get>();
  auto bytes = kj::heapArrayBuilder<kj::byte>(2 * get.keys.size());
  for (auto& key : get.keys) {
    bytes.add(key[0]);
    bytes.add(key[0]);
  }
  auto received = onHeap(bytes.finish());
  auto items = kj::heapArrayBuilder<kj::ArrayPtr<const kj::byte>>(get.keys.size());
  for (size_t i = 0; i < get.keys.size(); ++i) {
    items.add(received.pieces[0].slice(2 * i, 2 * i + 2));
  }
  return Values(items.finish(), kj::mv(received.lease), Place::HEAP);
}

std::string stringOf(const OperationResult& result) {
  if (result.is<bool>()) return result.get<bool>() ? "true" : "false";
  if (result.is<Error>()) return result.get<Error>().message.cStr();
  auto bytes = result.get<View>().bytes();
  return std::string(bytes.begin(), bytes.end());
}

std::vector<std::string> stringsOf(JoinedReads& reads) {
  std::vector<std::string> result;
  for (auto& each : reads.results()) result.push_back(stringOf(each));
  return result;
}

OperationResult error(Reason reason, const char* message) {
  return makeError(Code::INVALID_ARGUMENT, reason, message);
}

TEST(JoinedReads, RunsOfReadsBecomeOneGet) {
  const std::vector<Operation> operations = {read(0), read(1), read(2), read(3), read(4),
                                             has(),   read(5), read(6), read(7)};
  JoinedReads reads(all(operations));
  auto joined = reads.joined();
  ASSERT_EQ(joined.size(), 5u);
  ASSERT_TRUE(joined[0].what.is<Operation::Get>());
  EXPECT_EQ(joined[0].what.get<Operation::Get>().keys.size(), 5u);
  EXPECT_EQ(joined[0].what.get<Operation::Get>().state, stateOf(1));
  EXPECT_TRUE(joined[1].what.is<Operation::HasState>());
  EXPECT_TRUE(joined[4].what.is<Operation::GetSingleValue>()) << "three are too few";

  kj::Vector<OperationResult> results;
  results.add(valuesOf(joined[0]));
  results.add(true);
  for (auto text : {"v"_kj, "w"_kj, "x"_kj}) {
    results.add(View(onHeap(kj::heapArray(text.asBytes()))));
  }
  reads.answer(results.releaseAsArray());
  EXPECT_EQ(reads.refused().size(), 0u);
  EXPECT_EQ(stringsOf(reads), (std::vector<std::string>{"aa", "bb", "cc", "dd", "ee", "true", "v",
                                                        "w", "x"}));
}

TEST(JoinedReads, OnlyThoseOfOneState) {
  const std::vector<Operation> operations = {read(0, 1), read(1, 1), read(2, 1), read(3, 1),
                                             read(4, 2), read(5, 2), read(6, 2), read(7, 2)};
  JoinedReads reads(all(operations));
  ASSERT_EQ(reads.joined().size(), 2u);
  EXPECT_EQ(reads.joined()[1].what.get<Operation::Get>().state, stateOf(2));
  EXPECT_EQ(JoinedReads(nullptr).joined().size(), 0u);
}

// And a server that has too much to do is not asked for more.
TEST(JoinedReads, WhatIsNoReadsFaultIsEveryReadsAnswer) {
  for (auto reason : {Reason::UNKNOWN_STATE, Reason::QUOTA, Reason::OUT_OF_MEMORY}) {
    const std::vector<Operation> operations = {read(0), read(1), read(2), read(3)};
    JoinedReads reads(all(operations));
    kj::Vector<OperationResult> results;
    results.add(error(reason, "refused"));
    reads.answer(results.releaseAsArray());
    EXPECT_EQ(reads.refused().size(), 0u);
    EXPECT_EQ(stringsOf(reads), (std::vector<std::string>(4, "refused")));
  }
}

TEST(JoinedReads, WhatARefusedGetHeldIsAskedForOneByOne) {
  const std::vector<Operation> operations = {has(), read(0), read(1), read(2), read(3)};
  JoinedReads reads(all(operations));
  kj::Vector<OperationResult> results;
  results.add(false);
  results.add(error(Reason::BAD_KEY, "key 2 is bad"));
  reads.answer(results.releaseAsArray());
  ASSERT_EQ(reads.refused().size(), 4u);
  kj::Vector<OperationResult> each;
  for (auto& operation : reads.refused()) {
    auto key = operation.what.get<Operation::GetSingleValue>().key;
    if (key[0] == 'c') {
      each.add(error(Reason::BAD_KEY, "bad"));
    } else {
      each.add(View(onHeap(kj::heapArray(key))));
    }
  }
  reads.answerRefused(each.releaseAsArray());
  EXPECT_EQ(stringsOf(reads), (std::vector<std::string>{"false", "a", "b", "bad", "d"}));
}

// One value may be kept when the others are gone.
TEST(JoinedReads, AValueOutlivesTheOthers) {
  const std::vector<Operation> operations = {read(0), read(1), read(2), read(3)};
  kj::Maybe<View> kept;
  {
    JoinedReads reads(all(operations));
    kj::Vector<OperationResult> results;
    results.add(valuesOf(reads.joined()[0]));
    reads.answer(results.releaseAsArray());
    auto each = reads.results();
    kept = kj::mv(each[3].get<View>());
  }
  EXPECT_EQ(KJ_ASSERT_NONNULL(kept).bytes(), "dd"_kj.asBytes());
}

}  // namespace
}  // namespace ledger::client
