// SPDX-License-Identifier: Apache-2.0
// The program as scripts see it: arguments, files, output and exit codes, against a real ledgerd.
#include "tests/testing/ledgerd-process.h"
#include "tools/ledgerctl/run-ledgerctl.h"

#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <unistd.h>

namespace ledgerctl {
namespace {

using Json = nlohmann::json;

class LedgerctlTest : public testing::Test {
protected:
  Outcome run(const std::vector<std::string>& arguments, const std::string& input = "") {
    return runLedgerctl(scratch, arguments, input);
  }

  // With the server's socket.
  Outcome ask(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), {"--socket", scratch / "socket"});
    return run(arguments, input);
  }

  Json askJson(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "--json");
    auto outcome = ask(arguments, input);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }

  std::string read(const std::string& name) const { return readWhole(scratch / name); }

  void start() {
    server.emplace(ledger::testing::LedgerdOptions{
        .binary = ledger::testing::ledgerdBinary(),
        .triedir = scratch / "triedir",
        .socket = scratch / "socket",
        .flags = {},
        .wrapper = {},
        .inChildArgument = {},
    });
  }

  Scratch scratch;
  kj::Maybe<ledger::testing::LedgerdProcess> server;
};

constexpr const char* EMPTY = "568f4ec740fe3b5de88034cb7b1fbddb41548b068f31aebc8ae9189e429c5749";

// Any link of the chain from the command line to the ledger and back.
TEST_F(LedgerctlTest, WritesReadsProvesAndVerifies) {
  start();
  EXPECT_EQ(askJson({"states"})["states"], Json::array({EMPTY}));

  auto blob = scratch.file("blob", std::string(300000, '\x01') + "end");
  auto set = askJson({"set", "initial", "0:0xf2/2:a%2fb=hello", "0:/2:blob=@" + blob});
  EXPECT_EQ(set["parent"], EMPTY);
  EXPECT_EQ(set["registers"], 2);
  std::string state = set["state"];
  EXPECT_EQ(ask({"has", state}).code, 0);
  EXPECT_EQ(ask({"has", std::string(64, '0')}).code, 1);

  for (auto transport : {"auto", "shm", "inline"}) {
    SCOPED_TRACE(transport);
    auto get = askJson({"--transport", transport, "get", "latest", "--keys", "-", "2:absent"},
                       R"([{"type":0,"value":"f2"},{"type":2,"value":"612f62"}])");
    ASSERT_EQ(get["registers"].size(), 2u);
    EXPECT_EQ(get["registers"][0]["value"], "");
    EXPECT_EQ(get["registers"][1]["value"], "68656c6c6f");
    auto raw = ask({"--transport", transport, "get", state, "0:/2:blob", "--raw"});
    EXPECT_EQ(raw.code, 0);
    EXPECT_EQ(raw.out, std::string(300000, '\x01') + "end");

    auto proof = scratch / "proof";
    EXPECT_EQ(
        ask({"--transport", transport, "prove", state, "0:/2:blob", "2:absent", "-o", proof}).code,
        0);
    EXPECT_EQ(run({"verify", proof, state}).code, 0);
    EXPECT_EQ(ask({"--transport", transport, "prove", state, "0:/2:blob", "2:absent"}).out,
              read("proof"));
  }
}

// A verdict that accepts what it should not, or an exit code that says yes to it.
TEST_F(LedgerctlTest, VerifyTellsGoodProofsFromBad) {
  start();
  std::string state = askJson({"set", "latest", "0:a/2:x=1", "0:b/2:y=2"})["state"];
  auto proof = scratch / "proof";
  ASSERT_EQ(ask({"prove", state, "0:a/2:x", "0:c/2:z", "--output", proof}).code, 0);
  server = nullptr;  // Everything from here on is offline.

  EXPECT_EQ(run({"verify", proof, state}).code, 0);
  EXPECT_EQ(run({"verify", "-", state}, read("proof")).code, 0);
  EXPECT_EQ(run({"verify", proof, state, "--flow-go"}).code, 0);
  EXPECT_EQ(run({"verify", proof, state, "0:c/2:z", "0:a/2:x"}).code, 0);
  auto json = Json::parse(run({"--json", "verify", proof, state, "0:c/2:z", "0:a/2:x"}).out);
  EXPECT_EQ(json["holds"], true);
  EXPECT_EQ(json["covers_exactly_the_keys"], true);

  EXPECT_EQ(run({"verify", proof, state, "0:a/2:x"}).code, 4);
  EXPECT_EQ(run({"verify", proof, state, "0:a/2:x", "0:c/2:z", "0:b/2:y"}).code, 4);
  EXPECT_EQ(run({"verify", proof, state, "0:a/2:x", "0:c/2:w"}).code, 4);
  EXPECT_EQ(run({"verify", proof, EMPTY}).code, 4);
  EXPECT_EQ(run({"verify", proof, "latest"}).code, 2);
  EXPECT_EQ(run({"verify", scratch / "none", state}).code, 2);

  auto bytes = read("proof");
  EXPECT_EQ(run({"verify", scratch.file("longer", bytes + "x"), state}).code, 4);
  EXPECT_EQ(run({"verify", scratch.file("longer", bytes + "x"), state, "--flow-go"}).code, 0);
  EXPECT_EQ(run({"verify", scratch.file("empty", ""), state}).code, 4);
  auto flipped = bytes;
  flipped.back() ^= 1;
  EXPECT_EQ(run({"verify", scratch.file("flipped", flipped), state}).code, 4);
  EXPECT_EQ(run({"verify", scratch.file("flipped", flipped), state, "--flow-go"}).code, 4);
}

// A script that cannot tell a refusal from a server that is not there.
TEST_F(LedgerctlTest, ExitCodesTellWhatWentWrong) {
  start();
  auto refused = ask({"--json", "get", std::string(64, '0'), "2:a"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_EQ(Json::parse(refused.err)["error"]["reason"], "UNKNOWN_STATE");
  EXPECT_EQ(ask({"get", "latest", "oops"}).code, 2);
  EXPECT_EQ(ask({"get", "newest", "2:a"}).code, 2);
  EXPECT_EQ(ask({"dance"}).code, 2);
  EXPECT_EQ(ask({"prove", "latest", "2:a", "-o", scratch / "no/such/folder"}).code, 5);
  EXPECT_EQ(run({"--socket", scratch / "nothing-here", "states"}).code, 3);
  server = nullptr;
  EXPECT_EQ(ask({"states"}).code, 3);
  // Input is read before a server is looked for.
  EXPECT_EQ(ask({"get", "latest", "oops"}).code, 2);
  EXPECT_EQ(ask({"get", "latest", "--keys", "-"}, "oops").code, 2);
  EXPECT_EQ(ask({"prove", "latest", "--keys", scratch / "none"}).code, 2);
  EXPECT_EQ(ask({"set", "latest", "--updates", "-"}, "oops").code, 2);
  EXPECT_EQ(run({"--help"}).code, 0);
}

TEST_F(LedgerctlTest, ACheckpointIsWrittenOnDemand) {
  start();
  ASSERT_EQ(ask({"set", "latest", "0:0x01/2:greeting=hello"}).code, 0);
  EXPECT_EQ(askJson({"info"})["checkpoints"]["newest"], nullptr);
  EXPECT_EQ(askJson({"checkpoint"})["checkpoint"], 0);
  EXPECT_EQ(ask({"checkpoint"}).out, "checkpoint 0 is on disk and reads back\n");
  auto info = askJson({"info"});
  EXPECT_EQ(info["checkpoints"]["newest"], 0);
  EXPECT_EQ(info["checkpoints"]["failure"], "");
  EXPECT_EQ(info["log"]["state"], "good");
  EXPECT_EQ(run({"checkpoint", "verify", scratch / "triedir/checkpoint.00000000"}).code, 0);
}

TEST_F(LedgerctlTest, SessionsTellsWhoIsConnected) {
  start();
  auto sessions = askJson({"sessions"})["sessions"];
  ASSERT_EQ(sessions.size(), 1u);
  auto& session = sessions[0];
  EXPECT_EQ(session["this"], true);
  EXPECT_EQ(session["user"], getuid());
  EXPECT_GT(session["process"], 0);
  EXPECT_EQ(session["client"], "ledgerctl");
  EXPECT_EQ(session["may_write"], true);
  EXPECT_EQ(session["transport"], "shm");
  EXPECT_EQ(session["calls_in_flight"], 1);
  EXPECT_EQ(session["pinned_states"], 0);
  const uint64_t first = session["id"];
  auto text = ask({"--transport", "inline", "sessions"}).out;
  EXPECT_NE(text.find("*" + std::to_string(first + 1)), std::string::npos) << text;
  EXPECT_NE(text.find("inline"), std::string::npos) << text;
}

TEST_F(LedgerctlTest, InfoSaysWhatTheServerIs) {
  start();
  auto info = askJson({"info"});
  EXPECT_EQ(info["transport"], "shm");
  EXPECT_EQ(info["ledger"]["states"], 1);
  EXPECT_EQ(info["sessions"], 1);
  EXPECT_EQ(askJson({"--transport", "inline", "info"})["transport"], "inline");
  EXPECT_NE(ask({"info"}).out.find("shared memory"), std::string::npos);
}

}  // namespace
}  // namespace ledgerctl
