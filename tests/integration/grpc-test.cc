// SPDX-License-Identifier: Apache-2.0
// flow-go's gRPC service, in a real process, over real sockets: every operation, the limits, many
// clients at a time, and how it ends.

#include "ledger/proof/verify.h"
#include "ledger/trie-update-cbor.h"
#include "tests/integration/daemon-fixture.h"
#include "tests/testing/grpc-channel.h"
#include "tests/testing/proto-message.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace ledger::testing {
namespace {

constexpr char SERVICE[] = "/ledger.LedgerService/";
constexpr int OK = 0, CANCELLED = 1, INVALID_ARGUMENT = 3, DEADLINE_EXCEEDED = 4,
              RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, INTERNAL = 13;

class Grpc : public DaemonTest {
protected:
  std::string unixTarget() const { return "unix:" + scratch / "grpc"; }

  void startServing(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--ledger-service-socket", scratch / "grpc"});
    startDaemon(kj::mv(flags));
  }

  // The port that the kernel chose is in the log, which is written by a thread of its own.
  std::string tcpTarget() {
    const std::string before = "gRPC server listening on TCP\",\"address\":\"";
    std::string found;
    EXPECT_TRUE(eventually([&]() {
      io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
      const std::string log = daemon->log().cStr();
      const auto at = log.find(before);
      if (at == std::string::npos) return false;
      const auto begin = at + before.size();
      const auto end = log.find('"', begin);
      if (end == std::string::npos) return false;
      found = log.substr(begin, end - begin);
      return true;
    }));
    return found;
  }
};

GrpcAnswer call(const GrpcChannel& channel, const char* method, const ProtoMessage& request = {},
                const GrpcCallOptions& options = {}) {
  return channel.call(std::string(SERVICE) + method, request.content(), options);
}

// The response, which there must be.
kj::Array<kj::byte> answered(GrpcAnswer answer) {
  KJ_REQUIRE(answer.code == OK, answer.code, answer.message.c_str());
  return kj::mv(answer.response);
}

void expectRefusal(const GrpcAnswer& answer, int code, const std::string& message) {
  EXPECT_EQ(answer.code, code);
  EXPECT_EQ(answer.message, message);
}

RootHash set(const GrpcChannel& channel, const RootHash& state, kj::StringPtr key,
             kj::ArrayPtr<const kj::byte> value) {
  auto request = requestMessage(state, {key});
  request.message(3, valueMessage(value));
  return stateOf(answered(call(channel, "Set", request)));
}

// All of them, from the empty ledger on.
void useEveryOperation(const GrpcChannel& channel) {
  const auto empty = stateOf(answered(call(channel, "InitialState")));
  const kj::byte yes[] = {0x08, 0x01};
  ProtoMessage known;
  known.message(1, stateMessage(empty));
  EXPECT_TRUE(answered(call(channel, "HasState", known)).asPtr() == kj::arrayPtr(yes, 2));

  auto update = requestMessage(empty, {"a", "b"});
  update.message(3, valueMessage("one"_kj.asBytes())).message(3, ProtoMessage());
  const auto updated = answered(call(channel, "Set", update));
  const auto state = stateOf(updated);
  auto decoded = decodeCbor(fieldOf(updated, 2));
  ASSERT_TRUE(decoded.is<CborTrieUpdate>());
  EXPECT_EQ(decoded.get<CborTrieUpdate>().update.root, empty);
  EXPECT_EQ(decoded.get<CborTrieUpdate>().update.paths.size(), 2u);

  const auto value = answered(call(channel, "GetSingleValue", requestMessage(state, {"a"})));
  EXPECT_TRUE(fieldOf(fieldOf(value, 1), 1) == "one"_kj.asBytes());
  const kj::byte values[] = {0x0a, 0, 0x0a, 5, 0x0a, 3, 'o', 'n', 'e'};
  EXPECT_TRUE(answered(call(channel, "Get", requestMessage(state, {"b", "a"}))).asPtr() ==
              kj::arrayPtr(values, sizeof(values)));

  const auto proof = answered(call(channel, "Prove", requestMessage(state, {"a", "b", "c"})));
  auto verified = verifyBatch(state, fieldOf(proof, 1), Strictness::STRICT);
  ASSERT_TRUE(verified.is<kj::Array<ProvenRegister>>());
  EXPECT_EQ(verified.get<kj::Array<ProvenRegister>>().size(), 3u);
}

TEST_F(Grpc, DoesEveryOperationOverAUnixSocket) {
  startServing();
  GrpcChannel channel(unixTarget());
  useEveryOperation(channel);
}

TEST_F(Grpc, DoesEveryOperationOverTcp) {
  startDaemon({"--ledger-service-tcp", "127.0.0.1:0"});
  GrpcChannel channel(tcpTarget());
  useEveryOperation(channel);
}

// Both services are faces of one ledger.
TEST_F(Grpc, SharesTheLedgerWithCapnp) {
  startServing();
  GrpcChannel channel(unixTarget());
  const auto empty = stateOf(answered(call(channel, "InitialState")));
  const auto state = set(channel, empty, "a", "one"_kj.asBytes());
  auto ledger = connect();
  EXPECT_TRUE(answer(ledger->hasState(state)));

  Registers registers(3, 10);
  const auto next = answer(ledger->set(state, registers.keys, registers.values));
  const auto value = answered(call(channel, "GetSingleValue", requestMessage(next, {"a"})));
  EXPECT_TRUE(fieldOf(fieldOf(value, 1), 1) == "one"_kj.asBytes());
}

// What the kernel sees: who may connect, in a directory that was not there, and that nothing stays.
TEST_F(Grpc, MakesItsSocketsAsFlowGoDoes) {
  const std::string first = scratch / "new/deep/grpc", second = scratch / "second";
  startDaemon({"--ledger-service-socket", first + ", " + second + ","});
  for (auto& path : {first, second}) {
    struct stat file;
    ASSERT_EQ(stat(path.c_str(), &file), 0) << path;
    EXPECT_TRUE(S_ISSOCK(file.st_mode));
    EXPECT_EQ(file.st_mode & 07777, 0660u);
    GrpcChannel channel("unix:" + path);
    EXPECT_EQ(call(channel, "InitialState").code, OK);
  }
  EXPECT_TRUE(daemon->stop().cleanly());
  struct stat file;
  EXPECT_NE(stat(first.c_str(), &file), 0);
  EXPECT_NE(stat(second.c_str(), &file), 0);
}

// flow-go removes whatever is in its socket's place (known issue 21).
TEST_F(Grpc, DoesNotTakeAFilesPlace) {
  std::ofstream(scratch / "grpc") << "precious";
  auto how = options({"--ledger-service-socket", scratch / "grpc"});
  auto run = runLedgerd(kj::mv(how));
  EXPECT_EQ(run.ended.number, 1);
  EXPECT_NE(strstr(run.log.cStr(), "the path exists and is not a socket"), nullptr);
  EXPECT_EQ(std::filesystem::file_size(scratch / "grpc"), 8u);
}

TEST_F(Grpc, RefusesAPortThatIsTaken) {
  startDaemon({"--ledger-service-tcp", "127.0.0.1:0"});
  auto second = options({"--ledger-service-tcp", tcpTarget()});
  second.triedir = scratch / "other";
  second.socket = scratch / "other-socket";
  auto run = runLedgerd(kj::mv(second));
  EXPECT_EQ(run.ended.number, 1);
  EXPECT_NE(strstr(run.log.cStr(), "cannot serve on this TCP address"), nullptr) << run.log.cStr();
}

// A length is told by the bytes that came, so the limit holds to the byte.
TEST_F(Grpc, HoldsToItsLimits) {
  startServing({"--max-request-size", "1024", "--max-response-size", "1024"});
  GrpcChannel channel(unixTarget());
  auto padded = [](size_t length) {
    ProtoMessage message;
    message.bytes(15, valueOf(1, length - 3));
    KJ_ASSERT(message.content().size() == length);
    return message;
  };
  EXPECT_EQ(call(channel, "InitialState", padded(1024)).code, OK);
  expectRefusal(call(channel, "InitialState", padded(1025)), RESOURCE_EXHAUSTED,
                "grpc: received message larger than max (1025 vs. 1024)");

  const auto empty = stateOf(answered(call(channel, "InitialState")));
  auto request = requestMessage(empty, {"a"});
  request.message(3, valueMessage(valueOf(1, 900)));
  const auto refused = call(channel, "Set", request);
  EXPECT_EQ(refused.code, RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.message.substr(0, 45), "grpc: trying to send message larger than max ");
  auto ledger = connect();
  EXPECT_EQ(answer(ledger->stateCount()), 1u) << "what cannot be answered is not applied";
}

TEST_F(Grpc, AnswersOtherNamesAsFlowGoDoes) {
  startServing();
  GrpcChannel channel(unixTarget());
  expectRefusal(call(channel, "Nope"), UNIMPLEMENTED,
                "unknown method Nope for service ledger.LedgerService");
  expectRefusal(channel.call("/other.Service/Get", nullptr), UNIMPLEMENTED,
                "unknown service other.Service");
  const kj::byte serving[] = {0x08, 0x01};
  EXPECT_TRUE(answered(channel.call("/grpc.health.v1.Health/Check", nullptr)).asPtr() ==
              kj::arrayPtr(serving, 2));
}

// Load balancers watch: they are told at once, and when the server goes.
TEST_F(Grpc, TellsWhoWatchesItsHealth) {
  startServing();
  GrpcChannel channel(unixTarget());
  auto whole = channel.open("/grpc.health.v1.Health/Watch");
  whole->write(nullptr);
  const kj::byte serving[] = {0x08, 0x01}, notServing[] = {0x08, 0x02}, unknown[] = {0x08, 0x03};
  EXPECT_TRUE(KJ_ASSERT_NONNULL(whole->read()).asPtr() == kj::arrayPtr(serving, 2));

  auto other = channel.open("/grpc.health.v1.Health/Watch");
  ProtoMessage name;
  name.bytes(1, "other.Service"_kj.asBytes());
  other->write(name.content());
  EXPECT_TRUE(KJ_ASSERT_NONNULL(other->read()).asPtr() == kj::arrayPtr(unknown, 2));
  other->cancel();
  EXPECT_EQ(other->finish().code, CANCELLED);

  kj::byte last[2] = {};
  int code = -1;
  std::thread watcher([&]() {
    KJ_IF_MAYBE (message, whole->read()) {
      memcpy(last, message->begin(), kj::min(message->size(), sizeof(last)));
    }
    code = whole->finish().code;
  });
  EXPECT_TRUE(daemon->stop().cleanly());
  watcher.join();
  EXPECT_TRUE(kj::arrayPtr(last, 2) == kj::arrayPtr(notServing, 2));
  EXPECT_EQ(code, OK);
}

// What is far over the limit is not even taken in.
TEST_F(Grpc, RefusesAnOverlongMessageEarly) {
  startServing({"--max-request-size", "1024"});
  GrpcChannel channel(unixTarget());
  const auto answer = channel.call("/ledger.LedgerService/InitialState",
                                   kj::heapArray<kj::byte>(65 << 20));
  EXPECT_EQ(answer.code, RESOURCE_EXHAUSTED) << answer.message;
  EXPECT_EQ(call(channel, "InitialState").code, OK);
}

// As flow-go's service does; and as there, the limit holds for what comes out.
TEST_F(Grpc, TakesCompressedRequests) {
  startServing({"--max-request-size", "1000000"});
  GrpcChannel channel(unixTarget());
  const auto empty = stateOf(answered(call(channel, "InitialState")));
  auto request = requestMessage(empty, {"a"});
  auto value = kj::heapArray<kj::byte>(100'000);
  memset(value.begin(), 'z', value.size());
  request.message(3, valueMessage(value));
  GrpcCallOptions gzip;
  gzip.compression = GrpcCallOptions::Compression::GZIP;
  const auto state = stateOf(answered(call(channel, "Set", request, gzip)));
  const auto read = answered(call(channel, "GetSingleValue", requestMessage(state, {"a"}), gzip));
  EXPECT_TRUE(fieldOf(fieldOf(read, 1), 1) == value.asPtr());

  auto zeros = kj::heapArray<kj::byte>(1 << 20);
  memset(zeros.begin(), 0, zeros.size());
  ProtoMessage bomb;
  bomb.bytes(15, zeros);
  expectRefusal(call(channel, "InitialState", bomb, gzip), RESOURCE_EXHAUSTED,
                "grpc: received message after decompression larger than max 1000000");
}

// Messages that come in many pieces, and go out as one.
TEST_F(Grpc, CarriesLargeValues) {
  startServing();
  GrpcChannel channel(unixTarget());
  auto state = stateOf(answered(call(channel, "InitialState")));
  for (size_t length : {10'000, 1 << 20, 12 << 20}) {
    SCOPED_TRACE(length);
    const auto value = valueOf(length, length);
    state = set(channel, state, "large", value);
    const auto request = requestMessage(state, {"large"});
    EXPECT_TRUE(fieldOf(fieldOf(answered(call(channel, "GetSingleValue", request)), 1), 1) ==
                value.asPtr());
    const auto proof = answered(call(channel, "Prove", request));
    auto verified = verifyBatch(state, fieldOf(proof, 1), Strictness::STRICT);
    EXPECT_TRUE(verified.is<kj::Array<ProvenRegister>>());
  }
}

// Would catch an answer that goes to another call, and calls that wait for each other.
TEST_F(Grpc, ServesManyClientsAtATime) {
  startServing();
  GrpcChannel first(unixTarget());
  const auto empty = stateOf(answered(call(first, "InitialState")));
  constexpr int CLIENTS = 8, SETS = 20;
  std::vector<std::thread> clients;
  for (int client = 0; client < CLIENTS; ++client) {
    clients.emplace_back([&, client]() {
      GrpcChannel channel(unixTarget());
      const auto key = kj::str("client ", client);
      auto state = empty;
      for (int i = 0; i < SETS; ++i) {
        const auto value = valueOf(client * SETS + i, 1 + i * 1000);
        state = set(channel, state, key, value);
        const auto read =
            answered(call(channel, "GetSingleValue", requestMessage(state, {key})));
        EXPECT_TRUE(fieldOf(fieldOf(read, 1), 1) == value.asPtr());
        const auto proof = answered(call(channel, "Prove", requestMessage(state, {key, "none"})));
        EXPECT_TRUE(verifyBatch(state, fieldOf(proof, 1), Strictness::STRICT)
                        .is<kj::Array<ProvenRegister>>());
      }
    });
  }
  for (auto& client : clients) client.join();
}

// A client that does not wait any longer: its call ends, and the server serves on.
TEST_F(Grpc, LetsClientsGiveUp) {
  startServing();
  GrpcChannel channel(unixTarget());
  const auto empty = stateOf(answered(call(channel, "InitialState")));
  auto request = requestMessage(empty, {});
  for (int i = 0; i < 50'000; ++i) {
    request.message(2, keyMessage(kj::str("register ", i)));
    request.message(3, valueMessage("value"_kj.asBytes()));
  }
  GrpcCallOptions soon;
  soon.deadline = 1 * kj::MILLISECONDS;
  EXPECT_EQ(call(channel, "Set", request, soon).code, DEADLINE_EXCEEDED);
  EXPECT_EQ(call(channel, "InitialState").code, OK);
  EXPECT_TRUE(daemon->stop().cleanly());
}

// A shutdown waits for what is in flight: a Set that is being worked on is answered.
TEST_F(Grpc, FinishesWhatIsInFlight) {
  startServing({"--shutdown-timeout", "600"});
  GrpcChannel channel(unixTarget());
  const auto empty = stateOf(answered(call(channel, "InitialState")));
  auto request = requestMessage(empty, {});
  for (int i = 0; i < 5'000; ++i) {
    request.message(2, keyMessage(kj::str("register ", i)));
    request.message(3, valueMessage("value"_kj.asBytes()));
  }
  GrpcAnswer answer;
  std::thread client([&]() { answer = call(channel, "Set", request); });
  // Something of it has been taken in once memory is in use for it.
  auto ledger = connect();
  const auto before = this->answer(ledger->info()).ledger.memoryUsed;
  const bool begun = eventually(
      [&]() { return this->answer(ledger->info()).ledger.memoryUsed > before + (256 << 10); });
  ledger = nullptr;
  const auto ended = daemon->stop();
  client.join();
  EXPECT_TRUE(begun);
  EXPECT_TRUE(ended.cleanly()) << ended.describe().cStr() << daemon->log().cStr();
  const auto state = stateOf(answered(kj::mv(answer)));

  startServing();
  GrpcChannel again(unixTarget());
  ProtoMessage known;
  known.message(1, stateMessage(state));
  EXPECT_EQ(answered(call(again, "HasState", known)).size(), 2u);
}

// Bytes that are no HTTP/2: the connection ends, and only that one.
TEST_F(Grpc, SurvivesOtherProtocols) {
  startServing();
  GrpcChannel channel(unixTarget());
  EXPECT_EQ(call(channel, "InitialState").code, OK);
  kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, (scratch / "grpc").c_str());
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const char text[] = "GET / HTTP/1.1\r\nHost: ledger\r\n\r\n";
  ASSERT_EQ(write(fd, text, sizeof(text) - 1), ssize_t(sizeof(text) - 1));
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof(buffer))) > 0) {}
  EXPECT_EQ(call(channel, "InitialState").code, OK);
}

}  // namespace
}  // namespace ledger::testing
