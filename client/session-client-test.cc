// SPDX-License-Identifier: Apache-2.0
// One session against a server that keeps the contract; hostile-server-test.cc has those that do
// not.
#include "client/session-client.h"

#include "client/session-fixture.h"

#include <kj/thread.h>

#include <gtest/gtest.h>

#include <string>

namespace ledger::client {
namespace {

// --- Payloads

class Forms : public SessionTest, public testing::WithParamInterface<Script::Form> {};

// A form that a reader mistakes for another, loses a piece of, or gives in the wrong order.
TEST_P(Forms, AllBringTheSameBytes) {
  script.form = GetParam();
  open();
  bool shared = script.form == Script::Form::SPAN || script.form == Script::Form::TABLE;
  auto place = shared ? Place::SHARED_MEMORY : Place::HEAP;

  auto value = good(client->getSingleValue(state, keys[2]));
  EXPECT_EQ(text(value.bytes()), "threethree");
  EXPECT_EQ(text(value.copy()), "threethree");
  // A value in two pieces is copied together.
  EXPECT_EQ(value.place(), script.form == Script::Form::SPAN ? place : Place::HEAP);
  EXPECT_EQ(good(client->getSingleValue(state, key("absent"))).size(), 0u);

  auto values = good(client->get(state, keys));
  ASSERT_EQ(values.size(), 4u);
  EXPECT_EQ(values.place(), place);
  auto copies = values.copy();
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(text(values[i]), text(valueOf(keys[i])));
    EXPECT_EQ(text(copies[i]), text(valueOf(keys[i])));
  }
  EXPECT_EQ(good(client->get(state, nullptr)).size(), 0u);

  EXPECT_EQ(text(good(client->prove(state, keys)).bytes()), "oneabsentthreefour");
  EXPECT_EQ(good(client->prove(state, nullptr)).size(), 0u);
}

// A region that is never given back, or given back while its bytes are still looked at.
TEST_P(Forms, RegionsAreHeldAsLongAsTheirViews) {
  script.form = GetParam();
  open();
  {
    auto values = good(client->get(state, keys));
    bool shared = values.place() == Place::SHARED_MEMORY;
    EXPECT_EQ(regionsHeld(), shared ? 1u : 0u);
    auto moved = kj::mv(values);
    EXPECT_EQ(regionsHeld(), shared ? 1u : 0u);
    EXPECT_EQ(text(moved[0]), "oneone");
  }
  EXPECT_EQ(regionsHeld(), 0u);
}

std::string nameOf(const testing::TestParamInfo<Script::Form>& info) {
  constexpr const char* NAMES[] = {"Inline", "Chunks", "Span", "Table"};
  return NAMES[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Payload, Forms,
                         testing::Values(Script::Form::INLINE, Script::Form::CHUNKS,
                                         Script::Form::SPAN, Script::Form::TABLE),
                         nameOf);

// Another value may lie there now.
TEST_F(SessionTest, AViewTellsThatItsMemoryWasTakenBack) {
  script.form = Script::Form::TABLE;
  open();
  auto values = good(client->get(state, keys));
  ASSERT_EQ(values.place(), Place::SHARED_MEMORY);
  auto one = values.view(0);
  EXPECT_EQ(text(values.copy()[0]), "oneone");
  EXPECT_TRUE(values.isIntact());
  EXPECT_TRUE(one.isIntact());
  script.endLease();
  EXPECT_FALSE(values.isIntact());
  EXPECT_FALSE(one.isIntact());
  for (auto& failure : {kj::runCatchingExceptions([&]() { values.copy(); }),
                        kj::runCatchingExceptions([&]() { one.copy(); })}) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(failure).getType(), kj::Exception::Type::DISCONNECTED);
  }
  // What is copied together is looked at as well.
  EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(client->getSingleValue(state, keys[2]))).getType(),
            kj::Exception::Type::DISCONNECTED);
}

// A capability touched by the wrong thread, or a region that waits for the next reply to go back.
TEST_F(SessionTest, ViewsMayBeDroppedOnAnotherThread) {
  open();
  for (int round = 0; round < 20; ++round) {
    auto first = good(client->get(state, keys)), second = good(client->get(state, keys));
    EXPECT_EQ(regionsHeld(), 2u);
    auto done = kj::newPromiseAndCrossThreadFulfiller<void>();
    kj::Thread thread([&]() {
      EXPECT_EQ(text(first[0]), "oneone");
      { auto gone = kj::mv(first); }
      { auto gone = kj::mv(second); }
      done.fulfiller->fulfill();
    });
    done.promise.wait(io.waitScope);
    EXPECT_EQ(regionsHeld(), 0u);
  }
}

// A mapping that goes with its connection: the view would then be a segmentation fault.
TEST_F(SessionTest, ViewsOutliveTheClient) {
  open();
  auto values = good(client->get(state, keys));
  auto proof = good(client->prove(state, keys));
  client = nullptr;
  serving = nullptr;
  EXPECT_EQ(text(values[2]), "threethree");
  EXPECT_EQ(text(proof.bytes()), "oneabsentthreefour");
}

// A round trip and a mapping for every reply; or two for two replies at a time.
TEST_F(SessionTest, AnArenaIsOpenedOnce) {
  open();
  auto first = client->get(state, keys), second = client->get(state, keys);
  good(kj::mv(first));
  good(kj::mv(second));
  good(client->prove(state, keys));
  EXPECT_EQ(script.seen.arenasOpened, 1u);
}

// An arena that stays mapped for ever: the server could never give its memory back.
TEST_F(SessionTest, AnUnusedArenaIsUnmapped) {
  auto pipe = io.provider->newCapabilityPipe();
  serving = serve(kj::mv(pipe.ends[1]), script).eagerlyEvaluate(nullptr);
  auto opened = Connection::open(kj::mv(pipe.ends[0]), timer, {.mappingIdle = 5 * kj::SECONDS})
                    .wait(io.waitScope);
  client = kj::refcounted<SessionClient>(kj::mv(opened.get<kj::Own<Connection>>()));
  auto pass = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) {
      timer.advanceTo(timer.now() + 1 * kj::SECONDS);
      io.waitScope.poll();
    }
  };

  auto held = good(client->get(state, keys));
  pass(60);
  good(client->prove(state, keys));
  EXPECT_EQ(script.seen.arenasOpened, 1u);  // A view held it.
  { auto gone = kj::mv(held); }
  pass(4);
  good(client->prove(state, keys));
  EXPECT_EQ(script.seen.arenasOpened, 1u);  // Not yet.
  pass(11);
  EXPECT_EQ(text(good(client->prove(state, keys)).bytes()), "oneabsentthreefour");
  EXPECT_EQ(script.seen.arenasOpened, 2u);
}

// A sweep without a pause, which would keep the loop busy for ever.
TEST_F(SessionTest, WithoutIdleTimeTheSweepStillPauses) {
  auto pipe = io.provider->newCapabilityPipe();
  serving = serve(kj::mv(pipe.ends[1]), script).eagerlyEvaluate(nullptr);
  auto opened = Connection::open(kj::mv(pipe.ends[0]), timer, {.mappingIdle = 0 * kj::SECONDS})
                    .wait(io.waitScope);
  client = kj::refcounted<SessionClient>(kj::mv(opened.get<kj::Own<Connection>>()));
  good(client->prove(state, keys));
  EXPECT_GT(KJ_ASSERT_NONNULL(timer.nextEvent()), timer.now());
  timer.advanceTo(timer.now() + 1 * kj::SECONDS);
  io.waitScope.poll();
  EXPECT_TRUE(timer.nextEvent() == nullptr);
  EXPECT_EQ(text(good(client->prove(state, keys)).bytes()), "oneabsentthreefour");
  EXPECT_EQ(script.seen.arenasOpened, 2u);
}

// --- Requests

// A large request that goes inline, is torn, or lands beside the arena's memory.
TEST_F(SessionTest, LargeRequestsGoThroughAnArenaOfOurs) {
  open();
  auto large = kj::heapArray<kj::byte>(100000);
  for (size_t i = 0; i < large.size(); ++i) large[i] = i * 7;
  const Value values[] = {large, nullptr, large.slice(0, 50000), large.slice(1, 2)};

  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(good(client->set(state, keys, values, nullptr)), stateAfter(state, 4));
    ASSERT_EQ(script.seen.keys.size(), 4u);
    ASSERT_EQ(script.seen.values.size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(text(script.seen.keys[i]), text(keys[i]));
      EXPECT_EQ(text(script.seen.values[i]), text(values[i]));
    }
    regionsHeld();  // The region of the request has come back.
  }
  EXPECT_EQ(script.seen.requestsInArenas, 6u);  // Keys and values of each.
  EXPECT_EQ(script.seen.arenasRegistered, 1u);

  EXPECT_EQ(text(good(client->prove(state, keys)).bytes()), "oneabsentthreefour");
  EXPECT_EQ(script.seen.requestsInArenas, 6u);  // A small one rides in the message.
}

// Two requests that write over each other in one arena.
TEST_F(SessionTest, RequestsInFlightDoNotShareAnArena) {
  open();
  auto first = kj::heapArray<kj::byte>(5000), second = kj::heapArray<kj::byte>(5000);
  memset(first.begin(), 'a', first.size());
  memset(second.begin(), 'b', second.size());
  const EncodedKey one[] = {first}, two[] = {second};
  auto proving = client->prove(state, one);
  auto alsoProving = client->prove(state, two);
  EXPECT_EQ(text(good(kj::mv(proving)).bytes()), std::string(5000, 'a'));
  EXPECT_EQ(text(good(kj::mv(alsoProving)).bytes()), std::string(5000, 'b'));
  EXPECT_EQ(script.seen.arenasRegistered, 2u);
}

// More memory, or more registrations, than was agreed; or a request that fails for the lack of
// them.
TEST_F(SessionTest, RequestsGoInlineWhereThereIsNoArena) {
  auto large = kj::heapArray<kj::byte>(5000);
  memset(large.begin(), 'x', large.size());
  const EncodedKey one[] = {large};
  for (int way = 0; way < 3; ++way) {
    SCOPED_TRACE(way);
    script.seen = {};
    script.takesArenas = way != 0;
    script.registeredArenas = way == 1 ? 0 : 4;
    open({.requestArenaBytes = way == 2 ? 4096u : 1u << 30});
    EXPECT_EQ(good(client->prove(state, one)).size(), large.size());
    EXPECT_EQ(script.seen.requestsInArenas, 0u);
  }
}

// Memory that is kept after a large request, against the limit; or none kept, against the purpose.
TEST_F(SessionTest, IdleArenasAreKeptUpToTheLimit) {
  open({.idleRequestArenaBytes = 3 << 20});
  auto prove = [&](size_t size) {
    auto large = kj::heapArray<kj::byte>(size);
    memset(large.begin(), 'x', size);
    const EncodedKey one[] = {large};
    EXPECT_EQ(good(client->prove(state, one)).size(), size);
    regionsHeld();  // The region comes back here,
    regionsHeld();  // and the registration goes there.
    return script.seen.registrationsHeld;
  };
  EXPECT_EQ(prove(10000), 1u);
  EXPECT_EQ(prove(10000), 1u);
  EXPECT_EQ(script.seen.arenasRegistered, 1u);
  EXPECT_EQ(prove(3 << 20), 0u);
  EXPECT_EQ(script.seen.arenasRegistered, 2u);
}

// A request that would end the connection for everybody on it.
TEST_F(SessionTest, RequestsOverALimitAreRefusedHere) {
  script.requestBytes = 10000;
  script.messageWords = 4096;
  open({.transport = TransportChoice::INLINE});
  auto large = kj::heapArray<kj::byte>(10000);
  const EncodedKey one[] = {large};
  const Value value[] = {large};
  EXPECT_EQ(refused(client->prove(state, one)).reason, Reason::TOO_LARGE);
  EXPECT_EQ(refused(client->set(state, one, value, nullptr)).reason, Reason::TOO_LARGE);
  EXPECT_EQ(refused(client->getSingleValue(state, large)).reason, Reason::TOO_LARGE);

  // Within the payload limit, but not within a message.
  script.requestBytes = 1 << 20;
  open({.transport = TransportChoice::INLINE});
  auto larger = kj::heapArray<kj::byte>(40000);
  const EncodedKey two[] = {larger};
  EXPECT_EQ(refused(client->prove(state, two)).reason, Reason::TOO_LARGE);
  EXPECT_EQ(refused(client->getSingleValue(state, larger)).reason, Reason::TOO_LARGE);

  auto many = kj::heapArray<Operation>(17);
  for (auto& operation : many) operation.what = Operation::InitialState{};
  EXPECT_EQ(refused(client->batch(many)).reason, Reason::TOO_LARGE);

  EXPECT_EQ(script.seen.calls, 0u);
  EXPECT_EQ(good(client->stateCount()), 3u);
}

// --- Small answers

TEST_F(SessionTest, SmallAnswersComeThrough) {
  open();
  EXPECT_EQ(good(client->initialState()), state);
  EXPECT_TRUE(good(client->hasState(state)));
  EXPECT_FALSE(good(client->hasState(stateAfter(state, 1))));
  EXPECT_EQ(good(client->stateCount()), 3u);
  EXPECT_EQ(good(client->stateByIndex(-1)), stateAfter(state, -1));
  auto states = good(client->states());
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(states[2], stateAfter(state, 2));
  auto info = good(client->info());
  EXPECT_EQ(info.transport, TransportKind::SHARED_MEMORY);
  EXPECT_EQ(info.build, "scripted 1"_kj);
  EXPECT_EQ(info.uptime / kj::MILLISECONDS, 1500);
  EXPECT_EQ(info.ledger.states, 3u);
  auto sessions = good(client->sessions());
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[0].client, "somebody"_kj);
  EXPECT_EQ(KJ_ASSERT_NONNULL(sessions[0].user), 1000u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(sessions[0].process), 77u);
  EXPECT_EQ(sessions[0].transport, SessionInfo::Transport::HAND_OVER);
  EXPECT_EQ(sessions[0].lentBytes, 4096u);
  EXPECT_TRUE(sessions[1].user == nullptr && sessions[1].process == nullptr);
  EXPECT_EQ(sessions[1].transport, SessionInfo::Transport::UNKNOWN);
}

// A Set whose id is lost, cut or changed on the way: its retry would be executed twice.
TEST_F(SessionTest, ASetsIdArrivesAsItIs) {
  open();
  SetId id;
  for (size_t i = 0; i < id.size(); ++i) id[i] = i * 17;
  const Value values[] = {keys[0], keys[0], keys[0], keys[0]};
  good(client->set(state, keys, values, id));
  ASSERT_EQ(script.seen.setIds.size(), 1u);
  EXPECT_EQ(text(script.seen.setIds[0]), text(kj::arrayPtr(id.data(), id.size())));
}

// A refusal that is reported as another, or as an exception.
TEST_F(SessionTest, RefusalsAreValues) {
  open();
  for (uint16_t number = 0; number <= 20; ++number) {
    SCOPED_TRACE(number);
    script.error = static_cast<rpc::Reason>(number);
    auto expected = number <= 18 ? static_cast<Reason>(number) : Reason::UNSPECIFIED;
    auto expect = [&](Error error) {
      EXPECT_EQ(error.code, Code::FAILED_PRECONDITION);
      EXPECT_EQ(error.reason, expected);
      EXPECT_EQ(error.message, "scripted"_kj);
    };
    const Value values[] = {nullptr, nullptr, nullptr, nullptr};
    const Operation operations[] = {{Operation::InitialState{}}};
    expect(refused(client->initialState()));
    expect(refused(client->hasState(state)));
    expect(refused(client->getSingleValue(state, keys[0])));
    expect(refused(client->get(state, keys)));
    expect(refused(client->set(state, keys, values, nullptr)));
    expect(refused(client->prove(state, keys)));
    expect(refused(client->stateCount()));
    expect(refused(client->stateByIndex(0)));
    expect(refused(client->states()));
    expect(refused(client->info()));
    expect(refused(client->batch(operations)));
  }
}

// --- Batches

// Results that are swapped, or that share what they should not.
TEST_F(SessionTest, ABatchAnswersEachOperationInOrder) {
  for (auto form : {Script::Form::INLINE, Script::Form::SPAN, Script::Form::TABLE}) {
    script.form = form;
    open();
    auto large = kj::heapArray<kj::byte>(3000);
    const EncodedKey largeKeys[] = {large, key("x")};
    const Value values[] = {large, nullptr};
    const Operation operations[] = {
        {Operation::Get{state, keys}},
        {Operation::InitialState{}},
        {Operation::Prove{state, keys}},
        {Operation::HasState{state}},
        {Operation::GetSingleValue{state, keys[2]}},
        {Operation::Set{state, largeKeys, values}},
        {Operation::Get{state, nullptr}},
    };
    auto results = good(client->batch(operations));
    ASSERT_EQ(results.size(), 7u);
    EXPECT_EQ(text(results[0].get<Values>()[2]), "threethree");
    EXPECT_EQ(results[1].get<RootHash>(), state);
    EXPECT_EQ(text(results[2].get<View>().bytes()), "oneabsentthreefour");
    EXPECT_TRUE(results[3].get<bool>());
    EXPECT_EQ(text(results[4].get<View>().bytes()), "threethree");
    EXPECT_EQ(results[5].get<RootHash>(), stateAfter(state, 2));
    EXPECT_EQ(results[6].get<Values>().size(), 0u);
  }
  EXPECT_EQ(good(client->batch(nullptr)).size(), 0u);
}

// --- The handshake

TEST_F(SessionTest, TheHandshakeAgreesOnATransport) {
  open({.name = "a test", .transport = TransportChoice::AUTO});
  EXPECT_EQ(script.seen.clientName, "a test"_kj);
  EXPECT_EQ(good(client->info()).transport, TransportKind::SHARED_MEMORY);
  open({.transport = TransportChoice::INLINE});
  EXPECT_EQ(script.seen.clientFeatures, 0u);
  EXPECT_EQ(good(client->info()).transport, TransportKind::INLINE);
  script.features = 0;
  open({.transport = TransportChoice::AUTO});
  EXPECT_EQ(good(client->info()).transport, TransportKind::INLINE);
  open({.transport = TransportChoice::SHM});
  EXPECT_EQ(KJ_ASSERT_NONNULL(refusal).code, Code::FAILED_PRECONDITION);
}

// A session in a version that this client does not speak.
TEST_F(SessionTest, AVersionThatWasNotOfferedIsAnError) {
  script.version = 2;
  EXPECT_TRUE(kj::runCatchingExceptions([&]() { open(); }) != nullptr);
}

// --- The end of the connection

// Calls that hang when the server goes, or that end otherwise than DISCONNECTED.
TEST_F(SessionTest, ALostServerEndsCallsAtOnce) {
  open();
  script.answers = false;
  auto first = client->get(state, keys);
  auto second = client->stateCount();
  EXPECT_FALSE(first.poll(io.waitScope));
  serving = nullptr;
  for (auto& exception : {thrown(kj::mv(first)), thrown(kj::mv(second))}) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(exception).getType(), kj::Exception::Type::DISCONNECTED);
  }
  EXPECT_TRUE(client->isLost());
}

// A call that goes on, and keeps its memory, after nobody wants it.
TEST_F(SessionTest, DroppedCallsLeaveNothingBehind) {
  open();
  auto large = kj::heapArray<kj::byte>(5000);
  const EncodedKey one[] = {large};
  for (int i = 0; i < 3; ++i) {
    script.answers = false;
    {
      auto dropped = client->prove(state, one);
      EXPECT_FALSE(dropped.poll(io.waitScope));
    }
    script.answers = true;
    regionsHeld();
  }
  EXPECT_EQ(good(client->prove(state, one)).size(), large.size());
  EXPECT_EQ(regionsHeld(), 0u);
  EXPECT_EQ(script.seen.arenasRegistered, 1u);
}

}  // namespace
}  // namespace ledger::client
