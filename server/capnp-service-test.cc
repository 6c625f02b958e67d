// SPDX-License-Identifier: Apache-2.0
// The contract over a real socket: what each method answers, and what it refuses.

#include "server/service-fixture.h"
#include "tests/testing/await.h"

#include <gtest/gtest.h>

#include <unistd.h>

namespace ledger::server {
namespace {

using Strings = std::vector<std::string>;

template <typename Reply>
rpc::Reason reasonOf(Reply&& reply) {
  KJ_REQUIRE(reply.isError(), "was not refused");
  return reply.getError().getReason();
}

TEST(CapnpService, HandshakeAgreesOnVersionFeaturesAndLimits) {
  Service service;
  Peer peer(service);
  auto request = peer.ledgerd.connectRequest();
  auto hello = request.initHello();
  hello.setMinVersion(1);
  hello.setMaxVersion(9);
  hello.setFeatures(UINT64_MAX);
  auto reply = peer.send(request);
  ASSERT_TRUE(reply.isWelcome());
  auto welcome = reply.getWelcome();
  EXPECT_EQ(welcome.getVersion(), 1);
  EXPECT_EQ(welcome.getFeatures(), rpc::FEATURE_SHARED_MEMORY | rpc::FEATURE_HAND_OVER)
      << "bits it does not know";
  EXPECT_EQ(welcome.getLimits().getRequestBytes(), service.host.limits.requestBytes);
  EXPECT_EQ(welcome.getLimits().getMessageWords(), service.host.limits.messageWords);
  EXPECT_EQ(service.host.sessions, 2u);
}

// A client must learn from the message alone which side is too old.
TEST(CapnpService, HandshakeWithoutACommonVersionNamesBothRanges) {
  Service service;
  Peer peer(service);
  struct {
    uint16_t least, most;
  } ranges[] = {{2, 5}, {0, 0}, {3, 1}};
  for (auto& range : ranges) {
    auto request = peer.ledgerd.connectRequest();
    request.initHello().setMinVersion(range.least);
    request.getHello().setMaxVersion(range.most);
    auto reply = peer.send(request);
    ASSERT_EQ(reasonOf(reply), rpc::Reason::VERSION_MISMATCH);
    const std::string message = reply.getError().getMessage().cStr();
    const auto theirs = std::to_string(range.least) + " to " + std::to_string(range.most);
    EXPECT_NE(message.find(theirs), std::string::npos) << message;
    EXPECT_NE(message.find("1 to 1"), std::string::npos) << message;
  }
}

TEST(CapnpService, SessionsAreBounded) {
  FixtureOptions options;
  options.limits.sessions = 2;
  Service service(options);
  Peer first(service), second(service);
  auto request = first.ledgerd.connectRequest();
  request.initHello().setMinVersion(1);
  request.getHello().setMaxVersion(1);
  EXPECT_EQ(reasonOf(first.send(request)), rpc::Reason::QUOTA);
  { auto gone = kj::mv(second.session); }
  // The release travels with the next message.
  auto ping = second.ledgerd.connectRequest();
  ping.initHello();
  second.send(ping);
  auto again = first.ledgerd.connectRequest();
  again.initHello().setMinVersion(1);
  again.getHello().setMaxVersion(1);
  EXPECT_TRUE(first.send(again).isWelcome());
}

// One client must not take the places of all, or a multiple of a session's quotas.
TEST(CapnpService, SessionsOfAConnectionAreBounded) {
  FixtureOptions options;
  options.limits.sessionsPerConnection = 2;
  Service service(options);
  Peer peer(service), other(service);
  auto connect = [&]() {
    auto request = peer.ledgerd.connectRequest();
    request.initHello().setMinVersion(1);
    request.getHello().setMaxVersion(1);
    return peer.send(request);
  };
  {
    auto second = connect();
    ASSERT_TRUE(second.isWelcome());
    auto session = second.getWelcome().getSession();
    auto third = connect();
    EXPECT_EQ(reasonOf(third), rpc::Reason::QUOTA);
    const std::string message = third.getError().getMessage().cStr();
    EXPECT_NE(message.find("2 sessions are open on this connection"), std::string::npos) << message;
  }
  EXPECT_TRUE(connect().isWelcome()) << "a place is given back";
}

// Every operation once, against what the ledger itself says.
TEST(CapnpService, SixOperationsAnswerAsTheLedgerDoes) {
  for (uint64_t features : {uint64_t(0), rpc::FEATURE_SHARED_MEMORY}) {
    Service service;
    Peer peer(service, features);
    const auto initial = peer.initialState();
    EXPECT_EQ(initial, stringOf(service.ledger->initialState().ptr()));

    const std::string big(100000, 'x');
    const auto state = peer.mustSet(initial, {"a", "b"}, {"one", big});
    EXPECT_EQ(state, stringOf(service.ledger->states().back().ptr()));

    EXPECT_TRUE(peer.hasState(state).getFound());
    EXPECT_FALSE(peer.hasState(std::string(32, 'n')).getFound());

    for (auto& [name, value] :
         {std::pair<std::string, std::string>{"a", "one"}, {"b", big}, {"missing", ""}}) {
      auto reply = peer.getSingleValue(state, keyOf(name.c_str()));
      ASSERT_TRUE(reply.isValue());
      EXPECT_EQ(peer.bytesOf(reply.getValue()), value);
    }

    auto values = peer.get(state, packedKeys({"b", "missing", "a", "b"}));
    ASSERT_TRUE(values.isValues());
    EXPECT_EQ(unpacked(Peer::dataOf(peer.bytesOf(values.getValues()))),
              (Strings{big, "", "one", big}));

    auto proof = peer.prove(state, packedKeys({"a", "missing"}));
    ASSERT_TRUE(proof.isProof());
    auto keyA = keyOf("a"), keyMissing = keyOf("missing");
    const EncodedKey keys[] = {keyA, keyMissing};
    auto expected = service.ledger->prove(RootHash::copyOf(Peer::dataOf(state)),
                                          kj::arrayPtr(keys, 2), Stop::never());
    auto& batch = expected.get<BatchProof>();
    auto encoded = kj::heapArray<kj::byte>(batch.encodedSize());
    batch.encode(encoded);
    EXPECT_EQ(peer.bytesOf(proof.getProof()), stringOf(encoded));
  }
}

// flow-go's remote client refuses these; here the answer to nothing is nothing, whatever the state.
TEST(CapnpService, EmptyQueriesHaveEmptyAnswers) {
  Service service;
  Peer peer(service);
  const std::string unknown(32, 'u');
  auto values = peer.get(unknown, packed({}));
  ASSERT_TRUE(values.isValues());
  EXPECT_TRUE(unpacked(Peer::dataOf(peer.bytesOf(values.getValues()))).empty());
  EXPECT_EQ(peer.mustSet(unknown, {}, {}), unknown);
}

TEST(CapnpService, StatesAreCountedIndexedAndListed) {
  Service service;
  Peer peer(service);
  const auto initial = peer.initialState();
  const auto next = peer.mustSet(initial, {"a"}, {"1"});

  auto count = peer.session.stateCountRequest();
  EXPECT_EQ(peer.send(count).getCount(), 2u);
  auto states = peer.session.statesRequest();
  auto list = peer.send(states);
  ASSERT_EQ(list.getStates().size(), 2u);
  EXPECT_EQ(stringOf(list.getStates()[0]), initial);
  EXPECT_EQ(stringOf(list.getStates()[1]), next);
  EXPECT_EQ(stringOf(peer.stateByIndex(-1).getState()), next);
  EXPECT_EQ(reasonOf(peer.stateByIndex(2)), rpc::Reason::INDEX_OUT_OF_RANGE);
}

TEST(CapnpService, RefusalsAreData) {
  Service service;
  Peer peer(service);
  const auto state = peer.initialState();

  for (size_t length : {0, 31, 33}) {
    EXPECT_EQ(reasonOf(peer.hasState(std::string(length, 's'))), rpc::Reason::BAD_STATE);
  }

  auto unknown = peer.getSingleValue(std::string(32, 'u'), keyOf("a"));
  EXPECT_EQ(reasonOf(unknown), rpc::Reason::UNKNOWN_STATE);
  EXPECT_EQ(unknown.getError().getCode(), rpc::Code::NOT_FOUND);
  EXPECT_EQ(reasonOf(peer.getSingleValue(state, "?"_kj.asBytes())), rpc::Reason::BAD_KEY);

  auto unset = peer.session.getRequest();
  unset.setState(Peer::dataOf(state));
  EXPECT_EQ(reasonOf(peer.send(unset)), rpc::Reason::BAD_REQUEST);
  EXPECT_EQ(reasonOf(peer.get(state, "not a list"_kj.asBytes())), rpc::Reason::BAD_REQUEST);

  auto keys = packedKeys({"a", "b"});
  EXPECT_EQ(reasonOf(peer.set(state, keys, packed({"1"}))), rpc::Reason::BAD_REQUEST)
      << "two keys, one value";
  EXPECT_EQ(reasonOf(peer.set(state, keys, packed({"1", "2"}), "short"_kj.asBytes())),
            rpc::Reason::BAD_REQUEST);
}

// One body is taken and its copy is pending when another makes the request an error: the copy must
// not go to memory that is gone.
TEST(CapnpService, ARefusedRequestLeavesNoCopyBehind) {
  Service service;
  Peer peer(service);
  for (int round = 0; round < 20; ++round) {
    auto set = peer.session.setRequest();
    set.setState(Peer::dataOf(std::string(31, 's')));
    rpc::setInline(set.initKeys(), packed({std::string(1 << 20, 'k')}));
    EXPECT_EQ(reasonOf(peer.send(set)), rpc::Reason::BAD_STATE);
  }
}

// A retry after a lost reply must not be executed twice.
TEST(CapnpService, ASetIsKnownByItsId) {
  Service service;
  Peer peer(service);
  auto send = [&](kj::StringPtr value) {
    return peer.set(peer.initialState(), packedKeys({"a"}), packed({value.cStr()}),
                    "0123456789abcdef"_kj.asBytes());
  };
  auto first = send("1");
  auto second = send("1");
  ASSERT_TRUE(first.isState() && second.isState());
  EXPECT_EQ(stringOf(first.getState()), stringOf(second.getState()));
  EXPECT_EQ(reasonOf(send("2")), rpc::Reason::SET_ID_REUSED);
}

TEST(CapnpService, RequestsAndRepliesAreHeldToTheirLimits) {
  FixtureOptions options;
  options.limits.requestBytes = 1000;
  options.limits.responseBytes = 500;
  Service service(options);
  Peer peer(service);
  const auto state = peer.mustSet(peer.initialState(), {"a", "b"}, {std::string(400, 'x'), "y"});

  EXPECT_EQ(reasonOf(peer.set(state, packedKeys({"a"}), packed({std::string(1000, 'z')}))),
            rpc::Reason::TOO_LARGE);
  EXPECT_TRUE(peer.get(state, packedKeys({"a"})).isValues());
  EXPECT_EQ(reasonOf(peer.get(state, packedKeys({"a", "a"}))), rpc::Reason::TOO_LARGE);
}

// --- Batches ---

TEST(CapnpService, ABatchAnswersEachOperationInOrder) {
  Service service;
  Peer peer(service);
  const auto initial = peer.initialState();
  const auto state = peer.mustSet(initial, {"a"}, {std::string(5000, 'v')});

  auto request = peer.session.batchRequest();
  auto operations = request.initOperations(8);
  operations[0].setInitialState();
  operations[1].initHasState().setState(Peer::dataOf(state));
  auto single = operations[2].initGetSingleValue();
  single.setState(Peer::dataOf(state));
  single.setKey(keyOf("a"));
  auto get = operations[3].initGet();
  get.setState(Peer::dataOf(std::string(32, 'u')));
  rpc::setInline(get.initKeys(), packedKeys({"a"}));
  auto set = operations[4].initSet();
  set.setState(Peer::dataOf(initial));
  rpc::setInline(set.initKeys(), packedKeys({"b"}));
  rpc::setInline(set.initValues(), packed({"2"}));
  auto prove = operations[5].initProve();
  prove.setState(Peer::dataOf(state));
  rpc::setInline(prove.initKeys(), packedKeys({"a"}));
  // 6 is left unset.
  auto second = operations[7].initGet();
  second.setState(Peer::dataOf(state));
  rpc::setInline(second.initKeys(), packedKeys({"a", "b"}));

  auto reply = peer.send(request);
  ASSERT_TRUE(reply.isResults());
  auto results = reply.getResults();
  ASSERT_EQ(results.size(), 8u);
  EXPECT_EQ(stringOf(results[0].getInitialState().getState()), initial);
  EXPECT_TRUE(results[1].getHasState().getFound());
  EXPECT_EQ(peer.bytesOf(results[2].getGetSingleValue().getValue()), std::string(5000, 'v'));
  EXPECT_EQ(reasonOf(results[3].getGet()), rpc::Reason::UNKNOWN_STATE);
  EXPECT_TRUE(results[4].getSet().isState());
  EXPECT_TRUE(results[5].getProve().isProof());
  EXPECT_EQ(reasonOf(results[6]), rpc::Reason::BAD_REQUEST);
  EXPECT_EQ(unpacked(Peer::dataOf(peer.bytesOf(results[7].getGet().getValues()))),
            (Strings{std::string(5000, 'v'), ""}));

  // One lease for the whole batch.
  kj::Maybe<capnp::Response<rpc::InfoReply>> holder;
  EXPECT_EQ(peer.info(holder).getArenas().getRegions(), 1u);
}

TEST(CapnpService, ABatchIsBounded) {
  FixtureOptions options;
  options.limits.batchOperations = 2;
  options.limits.responseBytes = 1000;
  Service service(options);
  Peer peer(service);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {std::string(600, 'v')});
  auto tooMany = peer.session.batchRequest();
  tooMany.initOperations(3);
  EXPECT_EQ(reasonOf(peer.send(tooMany)), rpc::Reason::TOO_LARGE);

  auto request = peer.session.batchRequest();
  auto operations = request.initOperations(2);
  for (auto operation : operations) {
    operation.initGetSingleValue().setState(Peer::dataOf(state));
    operation.getGetSingleValue().setKey(keyOf("a"));
  }
  auto reply = peer.send(request);
  EXPECT_TRUE(reply.getResults()[0].getGetSingleValue().isValue());
  EXPECT_EQ(reasonOf(reply.getResults()[1].getGetSingleValue()), rpc::Reason::TOO_LARGE)
      << "together they are over the limit";
}

// Error replies to unset operations are work for a worker too, if there are many; and the longest
// envelope must not break a client that takes short messages only.
TEST(CapnpService, ABatchIsHeldToTheClientsMessages) {
  Service service;
  Peer peer(service, 0, 50000);
  auto state = peer.mustSet(peer.initialState(), {"a"}, {std::string(300, 'v')});
  auto send = [&](uint32_t count) {
    auto request = peer.session.batchRequest();
    for (auto operation : request.initOperations(count)) {
      operation.initGetSingleValue().setState(Peer::dataOf(state));
      operation.getGetSingleValue().setKey(keyOf("a"));
    }
    return peer.send(request);
  };
  const uint32_t most = 50000 / 2 / rpc::ANSWER_WORDS;
  auto whole = send(most);
  ASSERT_TRUE(whole.isResults());
  ASSERT_EQ(whole.getResults().size(), most);
  EXPECT_TRUE(whole.getResults()[most - 1].getGetSingleValue().isValue());
  EXPECT_EQ(reasonOf(send(most + 1)), rpc::Reason::TOO_LARGE);

  auto unset = peer.session.batchRequest();
  unset.initOperations(most);
  auto refused = peer.send(unset);
  for (auto result : refused.getResults()) {
    EXPECT_EQ(reasonOf(result), rpc::Reason::BAD_REQUEST);
  }
}

// A list that is longer than the client's messages would end its connection.
TEST(CapnpService, StatesAreHeldToTheClientsMessages) {
  Service service;
  Peer peer(service, 0, 1000);
  auto state = peer.initialState();
  for (int round = 0; round < 200; ++round) {
    state = peer.mustSet(state, {"a"}, {std::to_string(round)});
  }
  auto request = peer.session.statesRequest();
  EXPECT_EQ(reasonOf(peer.send(request)), rpc::Reason::TOO_LARGE);
  EXPECT_TRUE(peer.hasState(state).getFound()) << "the connection lives";
}

// --- Quotas and the end ---

// Keeps the only worker busy until it is opened.
class Gate {
public:
  void open() const { *opened.lockExclusive() = true; }
  void pass() const {
    ledger::testing::await("the gate", opened, [](bool value) { return value; });
  }

private:
  kj::MutexGuarded<bool> opened{false};
};

struct BusyService {
  static FixtureOptions options(uint32_t callsInFlight, uint32_t queueLength) {
    FixtureOptions options;
    options.workers = 1;
    options.queueLength = queueLength;
    options.limits.callsInFlight = callsInFlight;
    return options;
  }
  BusyService(uint32_t callsInFlight, uint32_t queueLength)
      : service(options(callsInFlight, queueLength)),
        peer(service),
        blocked(KJ_ASSERT_NONNULL(service.host.workers.run([this](const Stop&) {
          gate.pass();
          return 0;
        }))) {
    // The worker has taken its task.
    ledger::testing::await("the worker", [&]() { return service.host.workers.queued() == 0; });
  }
  ~BusyService() noexcept(false) { gate.open(); }

  auto prove() {
    auto request = peer.session.proveRequest();
    request.setState(service.ledger->initialState().ptr());
    rpc::setInline(request.initKeys(), packedKeys({"a"}));
    return request.send();
  }

  Gate gate;
  Service service;
  Peer peer;
  kj::Promise<int> blocked;
};

TEST(CapnpService, CallsInFlightAreBounded) {
  BusyService busy(2, 100);
  auto& waitScope = busy.service.io.waitScope;
  auto first = busy.prove();
  auto second = busy.prove();
  EXPECT_EQ(reasonOf(busy.prove().wait(waitScope)), rpc::Reason::QUOTA);
  busy.gate.open();
  EXPECT_TRUE(first.wait(waitScope).isProof());
  EXPECT_TRUE(second.wait(waitScope).isProof());
  EXPECT_TRUE(busy.prove().wait(waitScope).isProof()) << "places are given back";
}

TEST(CapnpService, AFullQueueIsAnAnswer) {
  BusyService busy(100, 1);
  auto& waitScope = busy.service.io.waitScope;
  auto first = busy.prove();
  EXPECT_EQ(reasonOf(busy.prove().wait(waitScope)), rpc::Reason::QUOTA);
  busy.gate.open();
  EXPECT_TRUE(first.wait(waitScope).isProof());
}

// What a dropped call held must come back, though its worker never got to it.
TEST(CapnpService, ADroppedCallGivesItsPlaceBack) {
  BusyService busy(1, 100);
  auto& waitScope = busy.service.io.waitScope;
  {
    auto dropped = busy.prove();
    EXPECT_FALSE(dropped.poll(waitScope));
  }
  EXPECT_TRUE(busy.service.calls.whenNone().poll(waitScope));
  auto next = busy.prove();
  busy.gate.open();
  EXPECT_TRUE(next.wait(waitScope).isProof());
}

TEST(CapnpService, ShuttingDownRefusesNewCallsAndFinishesOthers) {
  BusyService busy(100, 100);
  auto& waitScope = busy.service.io.waitScope;
  auto begun = busy.prove();
  EXPECT_FALSE(begun.poll(waitScope));
  busy.service.host.shuttingDown = true;
  auto late = busy.prove().wait(waitScope);
  EXPECT_EQ(reasonOf(late), rpc::Reason::SHUTTING_DOWN);
  EXPECT_EQ(late.getError().getCode(), rpc::Code::UNAVAILABLE);

  auto idle = busy.service.calls.whenNone();
  EXPECT_FALSE(idle.poll(waitScope));
  busy.gate.open();
  idle.wait(waitScope);
  busy.service.connections->whenWritten().wait(waitScope);
  EXPECT_TRUE(begun.wait(waitScope).isProof());
}

// --- Clients that do not read ---

// Replies are in no budget while they wait to be sent.
TEST(SlowReaders, RepliesThatWaitAreBounded) {
  BusyService busy(4096, 100);
  auto& waitScope = busy.service.io.waitScope;
  Peer peer(busy.service, 0);
  auto key = keyOf("big");
  const std::string big(4 << 20, 'v');
  EncodedKey encoded = key;
  Value value = Peer::dataOf(big);
  auto set =
      busy.service.ledger->set(busy.service.ledger->initialState(), kj::arrayPtr(&encoded, 1),
                               kj::arrayPtr(&value, 1), nullptr, Stop::never());
  const auto state = set.get<RootHash>();

  peer.stream->pause();
  kj::Vector<kj::Promise<capnp::Response<rpc::ValueReply>>> replies;
  const uint32_t calls = 40;
  for (uint32_t call = 0; call < calls; ++call) {
    auto request = peer.session.getSingleValueRequest();
    request.setState(state.ptr());
    request.setKey(key);
    replies.add(request.send());
  }
  ledger::testing::await("the calls", [&]() {
    waitScope.poll();
    return busy.service.host.workers.queued() >= calls;
  });
  busy.gate.open();
  busy.service.calls.whenNone().wait(waitScope);
  peer.stream->resume();

  uint32_t values = 0;
  for (auto& promise : replies) {
    auto reply = promise.wait(waitScope);
    if (reply.isValue()) {
      ++values;
    } else {
      EXPECT_EQ(reasonOf(reply), rpc::Reason::QUOTA);
    }
  }
  EXPECT_GE(values, 16u);
  EXPECT_LE(values, 20u) << "64 MiB, and what the socket and the workers hold";
  EXPECT_TRUE(peer.hasState(stringOf(state.ptr())).getFound()) << "the connection lives";
}

// Nor may short replies pile up: nothing more is read, until the client reads again.
TEST(SlowReaders, AreNotReadFrom) {
  Service service;
  Peer peer(service);
  auto& waitScope = service.io.waitScope;
  peer.stream->pause();
  kj::Vector<kj::Promise<capnp::Response<rpc::StateReply>>> replies;
  for (uint32_t call = 0; call < 3 * ConnectionLoad::UNSENT_REPLIES; ++call) {
    replies.add(peer.session.initialStateRequest().send());
  }
  size_t waiting = 0;
  ledger::testing::await("the service to stop reading", [&]() {
    const size_t before = waiting;
    for (int turn = 0; turn < 100; ++turn) waitScope.poll();
    waiting = peer.network->getCurrentQueueCount();
    return waiting == before;
  });
  EXPECT_GT(waiting, ConnectionLoad::UNSENT_REPLIES) << "the service reads on";
  peer.stream->resume();
  for (auto& promise : replies) EXPECT_EQ(promise.wait(waitScope).getState().size(), 32u);
}

// --- Who may do what ---

TEST(CapnpService, AReaderReadsAndDoesNotWrite) {
  FixtureOptions options;
  options.writers = {geteuid() + 1};
  Service service(options);
  Peer peer(service);
  const auto empty = peer.initialState();
  EXPECT_TRUE(peer.hasState(empty).getFound());
  EXPECT_TRUE(peer.get(empty, packedKeys({"a"})).isValues());

  auto refused = peer.set(empty, packedKeys({"a"}), packed({"1"}));
  EXPECT_EQ(refused.getError().getCode(), rpc::Code::PERMISSION_DENIED);
  EXPECT_EQ(refused.getError().getReason(), rpc::Reason::READ_ONLY_SESSION);
  EXPECT_EQ(service.ledger->stateCount(), 1u);

  auto batch = peer.session.batchRequest();
  auto operations = batch.initOperations(2);
  auto set = operations[0].initSet();
  set.setState(Peer::dataOf(empty));
  rpc::setInline(set.initKeys(), packedKeys({"a"}));
  rpc::setInline(set.initValues(), packed({"1"}));
  operations[1].initHasState().setState(Peer::dataOf(empty));
  auto answers = peer.send(batch);
  EXPECT_EQ(answers.getResults()[0].getSet().getError().getReason(),
            rpc::Reason::READ_ONLY_SESSION);
  EXPECT_TRUE(answers.getResults()[1].getHasState().getFound());
  EXPECT_EQ(service.ledger->stateCount(), 1u);

  auto checkpoint = peer.session.checkpointRequest();
  EXPECT_EQ(peer.send(checkpoint).getError().getReason(), rpc::Reason::READ_ONLY_SESSION);
}

TEST(CapnpService, AStrangerIsToldThatItIsOne) {
  FixtureOptions options;
  options.readers = {geteuid() + 1};
  Service service(options);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { Peer peer(service); })) {
    const std::string text = exception->getDescription().cStr();
    EXPECT_NE(text.find("may not use this ledger"), std::string::npos) << text;
    EXPECT_NE(text.find(std::to_string(geteuid())), std::string::npos) << text;
  } else {
    ADD_FAILURE() << "was welcome";
  }
}

}  // namespace
}  // namespace ledger::server
