// SPDX-License-Identifier: Apache-2.0
#include "server/grpc-requests.h"

#include "ledger/encoding.h"
#include "ledger/trie-update-cbor.h"
#include "tests/testing/proto-message.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

namespace ledger::server {
namespace {

using testing::keyMessage;
using testing::partMessage;
using testing::ProtoMessage;
using testing::requestMessage;
using testing::stateMessage;
using testing::valueMessage;

constexpr char MALFORMED[] =
    "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data";

RootHash someState() {
  RootHash state;
  state.bytes.fill(7);
  return state;
}

struct GrpcRequests : public ::testing::Test {
  ~GrpcRequests() noexcept override {}

  Result<GrpcRequest> parse(GrpcMethod method, const ProtoMessage& message) {
    return parseGrpcRequest(method, message.content(), *budget);
  }

  std::string refusal(GrpcMethod method, const ProtoMessage& message) {
    auto parsed = parse(method, message);
    KJ_IF_MAYBE (error, parsed.tryGet<Error>()) return error->message.cStr();
    return "";
  }

  kj::Own<const shm::MemoryBudget> budget = shm::MemoryBudget::create("--memory-limit", 1 << 20);
};

kj::Array<kj::byte> encoded(std::initializer_list<KeyPart> parts) {
  auto key = encodeKey(kj::arrayPtr(parts.begin(), parts.size()));
  return kj::mv(key.get<kj::Array<kj::byte>>());
}

// Would catch keys that are encoded otherwise than the ledger has them, or mixed up.
TEST_F(GrpcRequests, EncodesKeysAnewAndLeavesValuesWhereTheyAre) {
  ProtoMessage twoParts;
  twoParts.message(1, partMessage(0, "owner")).message(1, partMessage(65535, ""));
  ProtoMessage message;
  message.message(1, stateMessage(someState()))
      .message(2, twoParts)
      .message(2, ProtoMessage())
      .message(3, valueMessage("one"_kj.asBytes()))
      .message(2, keyMessage("k"))
      .message(3, ProtoMessage())
      .message(3, valueMessage("three"_kj.asBytes()).varint(2, 1));
  auto parsed = parse(GrpcMethod::SET, message);
  ASSERT_TRUE(parsed.is<GrpcRequest>());
  auto& request = parsed.get<GrpcRequest>();
  EXPECT_EQ(request.state, someState());
  ASSERT_EQ(request.keys.size(), 3u);
  EXPECT_TRUE(request.keys[0] ==
              encoded({{0, "owner"_kj.asBytes()}, {65535, ""_kj.asBytes()}}).asPtr());
  EXPECT_TRUE(request.keys[1] == encoded({}).asPtr());
  EXPECT_TRUE(request.keys[2] == encoded({{2, "k"_kj.asBytes()}}).asPtr());
  ASSERT_EQ(request.values.size(), 3u);
  EXPECT_TRUE(request.values[0] == "one"_kj.asBytes());
  EXPECT_EQ(request.values[1].size(), 0u);
  EXPECT_TRUE(request.values[2] == "three"_kj.asBytes());
  EXPECT_GE(request.values[0].begin(), message.content().begin());
  EXPECT_LT(request.values[0].begin(), message.content().end());
}

// Protobuf merges a message that comes again: later fields win, lists go on.
TEST_F(GrpcRequests, MergesWhatComesAgain) {
  RootHash other;
  ProtoMessage message;
  message.message(1, stateMessage(other))
      .message(2, keyMessage("a"))
      .message(1, stateMessage(someState()))
      .message(2, keyMessage("b"))
      .message(1, ProtoMessage());
  auto single = parse(GrpcMethod::GET_SINGLE_VALUE, message);
  ASSERT_TRUE(single.is<GrpcRequest>());
  EXPECT_EQ(single.get<GrpcRequest>().state, someState());
  ASSERT_EQ(single.get<GrpcRequest>().keys.size(), 1u);
  EXPECT_TRUE(single.get<GrpcRequest>().keys[0] ==
              encoded({{2, "a"_kj.asBytes()}, {2, "b"_kj.asBytes()}}).asPtr());

  auto list = parse(GrpcMethod::GET, message);
  ASSERT_TRUE(list.is<GrpcRequest>());
  EXPECT_EQ(list.get<GrpcRequest>().keys.size(), 2u);

  ProtoMessage part;
  part.varint(1, 70000).bytes(2, "x"_kj.asBytes()).varint(1, 3).bytes(2, "y"_kj.asBytes());
  ProtoMessage repeated;
  repeated.message(1, stateMessage(someState())).message(2, ProtoMessage().message(1, part));
  auto last = parse(GrpcMethod::GET, repeated);
  ASSERT_TRUE(last.is<GrpcRequest>());
  EXPECT_TRUE(last.get<GrpcRequest>().keys[0] == encoded({{3, "y"_kj.asBytes()}}).asPtr());
}

// A newer client's fields, and known numbers with another type, are passed over wherever they are.
TEST_F(GrpcRequests, PassesOverWhatItDoesNotKnow) {
  auto addUnknown = [](ProtoMessage& message) {
    message.varint(9, 1).bytes(10, "new"_kj.asBytes()).raw({0x0b, 0x08, 0x01, 0x0c});
  };
  auto state = stateMessage(someState());
  addUnknown(state.varint(1, 5));
  auto part = partMessage(2, "k");
  addUnknown(part);
  ProtoMessage key;
  addUnknown(key.message(1, part));
  ProtoMessage message;
  addUnknown(message.message(1, state).varint(1, 3).varint(2, 4).message(2, key));
  auto parsed = parse(GrpcMethod::GET, message);
  ASSERT_TRUE(parsed.is<GrpcRequest>());
  ASSERT_EQ(parsed.get<GrpcRequest>().keys.size(), 1u);
  EXPECT_TRUE(parsed.get<GrpcRequest>().keys[0] == encoded({{2, "k"_kj.asBytes()}}).asPtr());
}

// As Go's decoder has it, which tells a missing key from one of another type.
TEST_F(GrpcRequests, TakesAnyFieldInItsPlaceForASingleKey) {
  ProtoMessage message;
  message.message(1, stateMessage(someState())).varint(2, 5);
  auto single = parse(GrpcMethod::GET_SINGLE_VALUE, message);
  ASSERT_TRUE(single.is<GrpcRequest>());
  EXPECT_TRUE(single.get<GrpcRequest>().keys[0] == encoded({}).asPtr());
  EXPECT_EQ(refusal(GrpcMethod::GET, message), "keys cannot be empty");
}

// Each place where a message is nested in another: all are looked at before anything else is.
TEST_F(GrpcRequests, FindsWhatIsMalformedAtAnyDepth) {
  ProtoMessage bad, badKey, badPart;
  bad.raw({0x0a, 0x05});
  badPart.message(1, bad);
  badKey.message(1, partMessage(70000, "too wide a type")).raw({0x0f});
  for (auto* one : {&bad, &badPart, &badKey}) {
    ProtoMessage message;
    message.message(2, *one);  // Without a state, which is looked for later.
    EXPECT_EQ(refusal(GrpcMethod::GET_SINGLE_VALUE, message), MALFORMED);
    EXPECT_EQ(refusal(GrpcMethod::GET, message), MALFORMED);
    EXPECT_EQ(refusal(GrpcMethod::PROVE, message), MALFORMED);
    EXPECT_EQ(refusal(GrpcMethod::SET, message), MALFORMED);
    // A StateRequest has no field 2.
    EXPECT_EQ(refusal(GrpcMethod::HAS_STATE, message), "invalid state");
  }
  ProtoMessage badState, badValue;
  badState.message(1, bad);
  EXPECT_EQ(refusal(GrpcMethod::HAS_STATE, badState), MALFORMED);
  badValue.message(3, bad);
  EXPECT_EQ(refusal(GrpcMethod::SET, badValue), MALFORMED);
  EXPECT_EQ(refusal(GrpcMethod::GET, badValue), "invalid state") << "it has no field 3";
}

// Would catch any read past the end, too: each prefix is memory of its own.
TEST_F(GrpcRequests, TakesNoCutMessageForAWholeOne) {
  auto whole = requestMessage(someState(), {"a", "bc"});
  whole.message(3, valueMessage("one"_kj.asBytes())).message(3, valueMessage("two"_kj.asBytes()));
  ASSERT_TRUE(parse(GrpcMethod::SET, whole).is<GrpcRequest>());
  for (size_t cut = 0; cut < whole.content().size(); ++cut) {
    SCOPED_TRACE(cut);
    auto part = kj::heapArray(whole.content().slice(0, cut));
    EXPECT_TRUE(parseGrpcRequest(GrpcMethod::SET, part, *budget).is<Error>());
  }
}

// What flow-go would crash on, or only notice once it is too late.
TEST_F(GrpcRequests, RefusesWhatCannotBeStoredOrAnswered) {
  ProtoMessage key;
  for (int part = 0; part < 65536; ++part) key.message(1, ProtoMessage());
  ProtoMessage message;
  message.message(1, stateMessage(someState())).message(2, key);
  EXPECT_EQ(refusal(GrpcMethod::GET, message), "a key of 65536 parts: the most is 65535");

  ProtoMessage large;
  large.message(1, stateMessage(someState()));
  for (uint64_t i = 0; i <= MAX_CBOR_ELEMENTS; ++i) {
    large.message(2, ProtoMessage()).message(3, ProtoMessage());
  }
  auto refused = parse(GrpcMethod::SET, large);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::INVALID_ARGUMENT);
  EXPECT_EQ(refused.get<Error>().reason, Reason::TOO_LARGE);
}

// Keys of nothing take two bytes of a message and more than that here.
TEST_F(GrpcRequests, AsksForMemoryBeforeItTakesAny) {
  ProtoMessage message;
  message.message(1, stateMessage(someState()));
  for (int i = 0; i < 100'000; ++i) message.message(2, ProtoMessage());
  auto refused = parse(GrpcMethod::GET, message);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.get<Error>().reason, Reason::OUT_OF_MEMORY);
  EXPECT_EQ(budget->used(), 0u);
  {
    auto taken = parse(GrpcMethod::GET, requestMessage(someState(), {"a"}));
    EXPECT_TRUE(taken.is<GrpcRequest>());
    EXPECT_GT(budget->used(), 0u);
  }
  EXPECT_EQ(budget->used(), 0u);
}

}  // namespace
}  // namespace ledger::server
