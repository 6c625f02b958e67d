// SPDX-License-Identifier: Apache-2.0
#include "server/admin.h"

#include "server/metrics.h"
#include "server/service-fixture.h"
#include "tests/testing/await.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <string>

namespace ledger::server {
namespace {

struct AdminTest : public ::testing::Test {
  AdminTest() : admin(state, settings()) {}
  ~AdminTest() noexcept override {}

  static kj::Array<Setting> settings() {
    auto result = kj::heapArrayBuilder<Setting>(2);
    result.add(Setting{kj::str("triedir"), kj::str("/t")});
    result.add(Setting{kj::str("memory-limit"), kj::str()});
    return result.finish();
  }

  void serve() { serving.emplace(state, service.host); }

  HttpReply ask(kj::HttpMethod method, kj::StringPtr path, kj::StringPtr body) {
    return admin.answer({method, path, body});
  }

  // A command's answer, without its line break.
  std::string run(kj::StringPtr body, unsigned status = 200) {
    auto reply = ask(kj::HttpMethod::POST, "/admin/run_command", body);
    EXPECT_EQ(reply.status, status);
    EXPECT_EQ(reply.contentType, "application/json");
    EXPECT_TRUE(reply.body.endsWith("\n"));
    return std::string(reply.body.begin(), reply.body.size() - 1);
  }

  std::string health(kj::StringPtr path, unsigned status) {
    auto reply = answerHealth({kj::HttpMethod::GET, path, ""_kj}, state);
    auto& found = KJ_ASSERT_NONNULL(reply);
    EXPECT_EQ(found.status, status) << path.cStr();
    return nlohmann::json::parse(found.body.cStr())["status"];
  }

  ServiceState state;
  Admin admin;
  Service service;
  kj::Maybe<ServiceState::Serving> serving;
};

// Scripts that were written for flow-go compare bytes.
TEST_F(AdminTest, AnswersFlowGosCommandsInItsWords) {
  serve();
  EXPECT_EQ(run("{\"commandName\":\"ping\"}"), "{\"output\":\"pong\"}");
  EXPECT_EQ(run("{\"commandName\": \"ping\", \"data\": {\"x\": [1]}}"), "{\"output\":\"pong\"}");
  EXPECT_EQ(run("{\"commandName\":\"bogus\"}", 400), "{\"error\":\"unknown command: bogus\"}");
  EXPECT_EQ(run("{}", 400), "{\"error\":\"unknown command: \"}");
  EXPECT_EQ(run("", 400), "{\"error\":\"invalid JSON: EOF\"}");
  for (auto bad : {"{bad", "[]", "1", "\"ping\"", "{\"commandName\":1}",
                   "{\"commandName\":\"ping\"} x"}) {
    EXPECT_EQ(run(bad, 400).substr(0, 24), "{\"error\":\"invalid JSON: ") << bad;
  }
  const std::string names = run("{\"commandName\":\"list-commands\"}");
  EXPECT_EQ(names.substr(0, 55), "{\"output\":[\"ping\",\"list-commands\",\"trigger-checkpoint\",");

  auto get = ask(kj::HttpMethod::GET, "/admin/run_command", "");
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(get.body, "{\"error\":\"method not allowed, use POST\"}\n");
  auto elsewhere = ask(kj::HttpMethod::POST, "/admin", "{}");
  EXPECT_EQ(elsewhere.status, 404);
  EXPECT_EQ(elsewhere.body, "404 page not found\n");
}

TEST_F(AdminTest, TriggersOneCheckpointAtATime) {
  serve();
  // The only worker for checkpoints waits, so that the first is not over.
  std::atomic<bool> release = false;
  KJ_ASSERT(service.host.checkpointCalls.post([&]() { release.wait(false); }));
  EXPECT_EQ(run("{\"commandName\":\"trigger-checkpoint\"}"), "{\"output\":\"ok\"}");
  EXPECT_EQ(run("{\"commandName\":\"trigger-checkpoint\"}"),
            "{\"output\":\"checkpoint already triggered\"}");
  // It fails, which is as good as its end. (One that succeeds is in tests/integration/http-test.)
  service.ledger->giveUpCheckpoint();
  release = true;
  release.notify_all();
  ledger::testing::await("another one may be asked for", [&]() {
    return run("{\"commandName\":\"trigger-checkpoint\"}") == "{\"output\":\"ok\"}";
  });
}

TEST_F(AdminTest, AnswersWhileTheLedgerIsLoaded) {
  EXPECT_EQ(health("/live", 200), "opening");
  EXPECT_EQ(health("/ready", 503), "opening");
  state.noteProgress({ledger::Progress::Phase::REPLAY, 3, 10});
  EXPECT_EQ(health("/ready", 503), "replaying log");
  EXPECT_EQ(run("{\"commandName\":\"ping\"}"), "{\"output\":\"pong\"}");
  EXPECT_EQ(run("{\"commandName\":\"trigger-checkpoint\"}", 503),
            "{\"error\":\"the ledger is not there: replaying log\"}");
  serve();
  EXPECT_EQ(health("/ready", 200), "serving");
  service.host.shuttingDown = true;
  EXPECT_EQ(health("/ready", 503), "ending");
  EXPECT_EQ(health("/live", 200), "ending");
  service.host.shuttingDown = false;
  serving = nullptr;
  EXPECT_EQ(health("/ready", 503), "ending");
  EXPECT_TRUE(answerHealth({kj::HttpMethod::GET, "/other"_kj, ""_kj}, state) == nullptr);
}

TEST_F(AdminTest, ChangesTheLogsLevel) {
  const auto before = spdlog::default_logger()->level();
  EXPECT_EQ(run("{\"commandName\":\"set-log-level\",\"data\":\"Debug\"}"), "{\"output\":\"ok\"}");
  EXPECT_EQ(spdlog::default_logger()->level(), spdlog::level::debug);
  run("{\"commandName\":\"set-log-level\",\"data\":\"loud\"}", 400);
  run("{\"commandName\":\"set-log-level\"}", 400);
  EXPECT_EQ(spdlog::default_logger()->level(), spdlog::level::debug);
  spdlog::default_logger()->set_level(before);
}

TEST_F(AdminTest, ShowsTheConfiguration) {
  EXPECT_EQ(run("{\"commandName\":\"get-config\"}"),
            "{\"output\":{\"triedir\":\"/t\",\"memory-limit\":\"\"}}");
  serve();
  auto config = nlohmann::json::parse(run("{\"commandName\":\"get-config\"}"))["output"];
  EXPECT_EQ(config["memory-limit"], std::to_string(service.memory->limit()));
}

TEST_F(AdminTest, ShowsWhoHoldsWhat) {
  EXPECT_EQ(run("{\"commandName\":\"sessions\"}", 503),
            "{\"error\":\"the ledger is not there: opening\"}");
  serve();
  EXPECT_EQ(run("{\"commandName\":\"sessions\"}"), "{\"output\":[]}");
  auto outputOf = [&](kj::StringPtr command) {
    return nlohmann::json::parse(run(command))["output"];
  };
  {
    Peer peer(service);
    auto sessions = outputOf("{\"commandName\":\"sessions\"}");
    ASSERT_EQ(sessions.size(), 1u);
    EXPECT_EQ(sessions[0]["user"], geteuid());
    EXPECT_EQ(sessions[0]["process"], getpid());
    EXPECT_EQ(sessions[0]["may_write"], true);
    EXPECT_EQ(sessions[0]["calls_in_flight"], 0);
    EXPECT_TRUE(sessions[0].contains("age_ms"));

    const auto state = peer.mustSet(peer.initialState(), {"big"}, {std::string(100'000, 'x')});
    auto read = peer.getSingleValue(state, keyOf("big"));
    auto arena = outputOf("{\"commandName\":\"arena\"}");
    EXPECT_EQ(arena["limit_bytes"], service.sharedMemory->limit());
    ASSERT_EQ(arena["sessions"].size(), 1u);
    EXPECT_EQ(arena["sessions"][0]["session"], sessions[0]["id"]);
    EXPECT_GE(arena["sessions"][0]["arenas"][0]["lent_bytes"], 100'000);
    EXPECT_GE(arena["used_bytes"], arena["sessions"][0]["committed_bytes"]);
  }
}

}  // namespace
}  // namespace ledger::server
