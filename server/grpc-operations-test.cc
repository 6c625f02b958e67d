// SPDX-License-Identifier: Apache-2.0
// What golden data cannot show: the limits, and what flow-go's service notices too late.

#include "server/grpc-operations.h"

#include "ledger/proof/verify.h"
#include "server/service-fixture.h"
#include "tests/testing/proto-message.h"

#include <gtest/gtest.h>

#include <string>

namespace ledger::server {
namespace {

using testing::fieldOf;
using testing::ProtoMessage;
using testing::requestMessage;
using testing::stateOf;
using testing::valueMessage;

ProtoMessage setMessage(const RootHash& state, kj::StringPtr key, kj::StringPtr value) {
  auto message = requestMessage(state, {key});
  message.message(3, valueMessage(value.asBytes()));
  return message;
}

struct GrpcOperations : public ::testing::Test {
  explicit GrpcOperations(FixtureOptions options = {}) : service(options) {}
  ~GrpcOperations() noexcept override {}

  Result<GrpcReply> call(GrpcMethod method, const ProtoMessage& message,
                         const Stop& stop = Stop::never()) {
    return answerGrpcCall(service.host, method, message.content(), stop);
  }

  RootHash set(const RootHash& state, kj::StringPtr key, kj::StringPtr value) {
    auto reply = call(GrpcMethod::SET, setMessage(state, key, value));
    return stateOf(reply.get<GrpcReply>().bytes);
  }

  static void expectRefusal(Result<GrpcReply> result, Code code, const std::string& text) {
    ASSERT_TRUE(result.is<Error>());
    EXPECT_EQ(result.get<Error>().code, code);
    EXPECT_EQ(result.get<Error>().message.cStr(), text);
  }

  Service service;
  const RootHash empty = service.ledger->initialState();
};

struct SmallReplies : public GrpcOperations {
  SmallReplies() : GrpcOperations(limited()) {}
  static FixtureOptions limited() {
    FixtureOptions options;
    options.limits.responseBytes = 300;
    return options;
  }
};

std::string tooLong(size_t length) {
  return kj::str("grpc: trying to send message larger than max (", length, " vs. 300)").cStr();
}

// flow-go applies such a Set, logs it, and then fails to answer (known issue 24). The figure is the
// length that the reply would have had.
TEST_F(SmallReplies, RefusesASetWhoseReplyIsTooLongBeforeItIsApplied) {
  const std::string some(100, 'v'), more(200, 'v');
  auto reply = call(GrpcMethod::SET, setMessage(empty, "a", some.c_str()));
  ASSERT_TRUE(reply.is<GrpcReply>());
  const size_t length = reply.get<GrpcReply>().bytes.size();
  const uint64_t states = service.ledger->stateCount();
  expectRefusal(call(GrpcMethod::SET, setMessage(empty, "a", more.c_str())),
                Code::RESOURCE_EXHAUSTED, tooLong(length + 100));
  EXPECT_EQ(service.ledger->stateCount(), states);
}

TEST_F(SmallReplies, RefusesWhatIsTooLongToSend) {
  const std::string value(100, 'v');
  const auto state = set(empty, "a", value.c_str());
  EXPECT_TRUE(call(GrpcMethod::GET_SINGLE_VALUE, requestMessage(state, {"a"})).is<GrpcReply>());
  // Three times a Value of 102 bytes, in 104.
  EXPECT_TRUE(call(GrpcMethod::GET, requestMessage(state, {"a", "a"})).is<GrpcReply>());
  expectRefusal(call(GrpcMethod::GET, requestMessage(state, {"a", "a", "a"})),
                Code::RESOURCE_EXHAUSTED, tooLong(312));

  // Proofs come after 3 bytes of protobuf and 7 of the batch's head.
  auto one = call(GrpcMethod::PROVE, requestMessage(state, {"a"}));
  ASSERT_TRUE(one.is<GrpcReply>());
  const size_t proof = one.get<GrpcReply>().bytes.size() - 10;
  expectRefusal(call(GrpcMethod::PROVE, requestMessage(state, {"a", "a"})),
                Code::RESOURCE_EXHAUSTED, tooLong(10 + 2 * proof));
  // So much too long that nobody looks how long it would be.
  const auto key = keyOf("large");
  const std::string large(1 << 20, 'v');
  const EncodedKey keys[] = {key};
  const Value values[] = {kj::StringPtr(large.c_str()).asBytes()};
  const auto next = service.ledger->set(state, keys, values, nullptr, Stop::never());
  auto request = requestMessage(next.get<RootHash>(), {});
  for (int i = 0; i < 64; ++i) request.message(2, testing::keyMessage("large"));
  expectRefusal(call(GrpcMethod::PROVE, request), Code::RESOURCE_EXHAUSTED,
                "grpc: trying to send message larger than max (over 67108864 vs. 300)");
}

TEST_F(GrpcOperations, TellsHowLongARequestMayBe) {
  const auto& limits = service.host.limits;
  EXPECT_TRUE(checkGrpcRequestSize(limits.requestBytes, limits) == nullptr);
  auto refused = checkGrpcRequestSize(limits.requestBytes + 1, limits);
  KJ_IF_MAYBE (error, refused) {
    EXPECT_EQ(error->code, Code::RESOURCE_EXHAUSTED);
    EXPECT_STREQ(error->message.cStr(),
                 "grpc: received message larger than max (8388609 vs. 8388608)");
  } else {
    ADD_FAILURE() << "a request over the limit is taken";
  }
}

class Cancelled final : public Stop {
public:
  bool requested() const override { return true; }
};

// Before the commit point nothing is done that nobody waits for (known issue 25).
TEST_F(GrpcOperations, DoesNotApplyASetThatIsCancelled) {
  auto result = call(GrpcMethod::SET, setMessage(empty, "a", "1"), Cancelled());
  ASSERT_TRUE(result.is<Error>());
  EXPECT_EQ(result.get<Error>().code, Code::CANCELLED);
  EXPECT_EQ(service.ledger->stateCount(), 1u);
}

// flow-go's process dies of this (known issue 2).
TEST_F(GrpcOperations, ProvesAMissingRegisterThatIsAskedForTwice) {
  const auto state = set(empty, "a", "1");
  auto reply = call(GrpcMethod::PROVE, requestMessage(state, {"b", "b"}));
  ASSERT_TRUE(reply.is<GrpcReply>());
  auto verified = verifyBatch(state, fieldOf(reply.get<GrpcReply>().bytes, 1), Strictness::STRICT);
  ASSERT_TRUE(verified.is<kj::Array<ProvenRegister>>());
  EXPECT_EQ(verified.get<kj::Array<ProvenRegister>>().size(), 2u);
}

struct LittleMemory : public GrpcOperations {
  LittleMemory() : GrpcOperations(limited()) {}
  static FixtureOptions limited() {
    FixtureOptions options;
    options.memoryBytes = 300 << 20;
    options.sharedMemoryBytes = 1 << 20;
    return options;
  }
};

// Memory for the reply is asked for first: a Set that cannot be answered is not applied either.
TEST_F(LittleMemory, RefusesASetThatCouldNotBeAnswered) {
  const std::string value(100 << 10, 'v');
  const auto message = setMessage(empty, "a", value.c_str());
  auto all = service.memory->reserve(service.memory->limit() - service.memory->used() - (50 << 10));
  ASSERT_TRUE(all.is<shm::Reservation>());
  auto refused = call(GrpcMethod::SET, message);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.get<Error>().reason, Reason::OUT_OF_MEMORY);
  EXPECT_EQ(service.ledger->stateCount(), 1u);

  all = shm::Reservation();
  EXPECT_TRUE(call(GrpcMethod::SET, message).is<GrpcReply>());
}

TEST_F(GrpcOperations, KnowsItsMethods) {
  EXPECT_EQ(findGrpcMethod("/ledger.LedgerService/Prove").get<GrpcMethod>(), GrpcMethod::PROVE);
  EXPECT_EQ(findGrpcMethod("/grpc.health.v1.Health/Check").get<GrpcMethod>(),
            GrpcMethod::HEALTH_CHECK);
  auto refusal = [](kj::StringPtr path) {
    auto found = findGrpcMethod(path);
    if (!found.is<Error>()) return std::string("found");
    EXPECT_EQ(found.get<Error>().code, Code::UNIMPLEMENTED);
    return std::string(found.get<Error>().message.cStr());
  };
  EXPECT_EQ(refusal("/ledger.LedgerService/prove"),
            "unknown method prove for service ledger.LedgerService");
  EXPECT_EQ(refusal("/ledger.LedgerService/"), "unknown method  for service ledger.LedgerService");
  EXPECT_EQ(refusal("/ledger.Other/Prove"), "unknown service ledger.Other");
  EXPECT_EQ(refusal("/a/ledger.LedgerService/Prove"), "unknown service a/ledger.LedgerService");
  EXPECT_EQ(refusal("/Prove"), "malformed method name: \"/Prove\"");
  EXPECT_EQ(refusal(""), "malformed method name: \"\"");
}

TEST_F(GrpcOperations, IsHealthy) {
  auto check = [&](kj::StringPtr name) {
    return call(GrpcMethod::HEALTH_CHECK, ProtoMessage().bytes(1, name.asBytes()));
  };
  const kj::byte serving[] = {0x08, 0x01};
  auto whole = call(GrpcMethod::HEALTH_CHECK, ProtoMessage());
  ASSERT_TRUE(whole.is<GrpcReply>());
  EXPECT_TRUE(whole.get<GrpcReply>().bytes.asPtr() == kj::arrayPtr(serving, 2));
  EXPECT_TRUE(check("ledger.LedgerService").is<GrpcReply>());
  expectRefusal(check("another.Service"), Code::NOT_FOUND, "unknown service");
}

}  // namespace
}  // namespace ledger::server
