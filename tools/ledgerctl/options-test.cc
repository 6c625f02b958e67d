// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/options.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <string>
#include <vector>

#include <stdlib.h>

namespace ledgerctl {
namespace {

using ledger::client::TransportChoice;

kj::OneOf<Options, Exit> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "ledgerctl");
  return parseOptions(arguments.size(), arguments.data());
}

Options good(std::vector<const char*> arguments) {
  auto parsed = parse(arguments);
  if (parsed.is<Exit>()) {
    ADD_FAILURE() << parsed.get<Exit>().text;
    return {};
  }
  return parsed.get<Options>();
}

using Strings = std::vector<std::string>;

class OptionsTest : public testing::Test {
protected:
  OptionsTest() { unsetenv("LEDGERD_SOCKET"); }
};

// An argument that lands in another's place.
TEST_F(OptionsTest, ReadsEachCommand) {
  EXPECT_EQ(good({"--socket", "s", "states"}).command, Command::STATES);
  EXPECT_EQ(good({"--socket", "s", "info"}).command, Command::INFO);
  EXPECT_EQ(good({"--socket", "s", "sessions"}).command, Command::SESSIONS);
  auto has = good({"--socket", "s", "has", "latest"});
  EXPECT_EQ(has.command, Command::HAS);
  EXPECT_EQ(has.state, "latest");
  auto get = good({"--socket", "s", "get", "latest", "0:a", "0:b", "--keys", "f"});
  EXPECT_EQ(get.command, Command::GET);
  EXPECT_EQ(get.items, (Strings{"0:a", "0:b"}));
  EXPECT_EQ(get.file, "f");
  EXPECT_TRUE(good({"--socket", "s", "get", "latest", "0:a", "--raw"}).raw);
  auto set = good({"--socket", "s", "set", "ab", "0:a=b", "--updates", "-"});
  EXPECT_EQ(set.command, Command::SET);
  EXPECT_EQ(set.items, (Strings{"0:a=b"}));
  EXPECT_EQ(set.file, "-");
  // Standard input once, and texts that only look like it.
  good({"--socket", "s", "set", "ab", "0:a=@-", "0:b=-", "0:c=x=@-"});
  good({"verify", "-", "ab", "--keys", "f"});
  auto prove = good({"--socket", "s", "prove", "ab", "0:a", "-o", "p"});
  EXPECT_EQ(prove.command, Command::PROVE);
  EXPECT_EQ(prove.output, "p");
  auto verify = good({"verify", "p", "ab", "0:a", "--flow-go"});
  EXPECT_EQ(verify.command, Command::VERIFY);
  EXPECT_EQ(verify.proof, "p");
  EXPECT_EQ(verify.state, "ab");
  EXPECT_EQ(verify.items, (Strings{"0:a"}));
  EXPECT_TRUE(verify.flowGo);
}

// Commands on files ask for no server.
TEST_F(OptionsTest, ReadsTheCommandsOnFiles) {
  auto dump = good({"wal", "dump", "d", "--from", "3", "--to", "00000010",
                    "--registers", "--json"});
  EXPECT_EQ(dump.command, Command::WAL_DUMP);
  EXPECT_EQ(dump.path, "d");
  EXPECT_EQ(KJ_ASSERT_NONNULL(dump.fromSegment), 3u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(dump.toSegment), 10u);
  EXPECT_TRUE(dump.registers);
  EXPECT_TRUE(dump.json);
  auto walVerify = good({"--json", "wal", "verify", "d"});
  EXPECT_EQ(walVerify.command, Command::WAL_VERIFY);
  EXPECT_TRUE(walVerify.json);
  EXPECT_TRUE(walVerify.fromSegment == nullptr);

  EXPECT_EQ(good({"checkpoint", "info", "f"}).command, Command::CHECKPOINT_INFO);
  EXPECT_EQ(good({"checkpoint", "roots", "f"}).command, Command::CHECKPOINT_ROOTS);
  auto verify = good({"checkpoint", "verify", "f", "--hashes"});
  EXPECT_EQ(verify.command, Command::CHECKPOINT_VERIFY);
  EXPECT_EQ(verify.path, "f");
  EXPECT_TRUE(verify.hashes);
  auto write = good({"checkpoint", "export", "f", "--state", "latest", "-o", "d/n",
                     "--memory-limit", "2GiB"});
  EXPECT_EQ(write.command, Command::CHECKPOINT_EXPORT);
  EXPECT_EQ(write.path, "f");
  EXPECT_EQ(write.state, "latest");
  EXPECT_EQ(write.output, "d/n");
  EXPECT_EQ(KJ_ASSERT_NONNULL(write.memoryLimit), uint64_t(2) << 30);
}

TEST_F(OptionsTest, GeneralOptionsStandBeforeOrAfterTheCommand) {
  for (auto& options : {good({"--socket", "s", "--json", "--transport", "shm", "--timeout", "1.5",
                              "--connect-timeout", "2", "states"}),
                        good({"states", "--socket", "s", "--json", "--transport", "shm",
                              "--timeout", "1.5", "--connect-timeout", "2"})}) {
    EXPECT_EQ(options.socket, "s");
    EXPECT_TRUE(options.json);
    EXPECT_EQ(options.transport, TransportChoice::SHM);
    EXPECT_EQ(options.timeoutSeconds, 1.5);
    EXPECT_EQ(options.connectTimeoutSeconds, 2);
  }
  EXPECT_EQ(good({"--socket", "s", "--transport", "inline", "states"}).transport,
            TransportChoice::INLINE);
  EXPECT_EQ(good({"--socket", "s", "states"}).transport, TransportChoice::AUTO);
}

TEST_F(OptionsTest, TheEnvironmentNamesTheSocket) {
  setenv("LEDGERD_SOCKET", "from-environment", 1);
  EXPECT_EQ(good({"states"}).socket, "from-environment");
  EXPECT_EQ(good({"--socket", "s", "states"}).socket, "s");
  unsetenv("LEDGERD_SOCKET");
  EXPECT_TRUE(parse({"states"}).is<Exit>());
}

// A slip of the fingers that is taken for something else.
TEST_F(OptionsTest, WrongUsageIsRefused) {
  const std::vector<std::vector<const char*>> WRONG = {
      {},
      {"--socket", "s"},
      {"--socket", "s", "dance"},
      {"--socket", "s", "states", "extra"},
      {"--socket", "s", "states", "info"},
      {"--socket", "s", "has"},
      {"--socket", "s", "get", "latest"},
      {"--socket", "s", "set", "latest"},
      {"--socket", "s", "prove", "latest"},
      {"--socket", "s", "get", "latest", "0:a", "0:b", "--raw"},
      {"--socket", "s", "--json", "get", "latest", "0:a", "--raw"},
      {"--socket", "s", "--transport", "pigeon", "states"},
      {"--socket", "s", "--timeout", "0", "states"},
      {"--socket", "s", "--timeout", "soon", "states"},
      {"--socket", "s", "--connect-timeout", "-1", "states"},
      {"--socket", "s", "--jsno", "states"},
      {"verify", "p"},
      {"wal"},
      {"wal", "dump"},
      {"wal", "dump", "d", "--from", "-1"},
      {"wal", "dump", "d", "--from", "x"},
      {"wal", "dump", "d", "--to", "18446744073709551616"},
      {"wal", "verify", "d", "--registers"},
      {"checkpoint"},
      {"checkpoint", "verify"},
      {"checkpoint", "export", "f", "--state", "latest"},
      {"checkpoint", "export", "f", "-o", "d/n"},
      {"checkpoint", "export", "f", "--state", "latest", "-o", "d/n", "--memory-limit", "1KiB"},
      {"verify", "-", "ab", "--keys", "-"},  // The keys would be none.
      {"--socket", "s", "set", "ab", "0:a=@-", "--updates", "-"},
      {"--socket", "s", "set", "ab", "0:a=@-", "0:b=@-"},  // The second would be unallocated.
  };
  for (auto& arguments : WRONG) {
    auto parsed = parse(arguments);
    ASSERT_TRUE(parsed.is<Exit>()) << arguments.size() << " arguments";
    EXPECT_EQ(parsed.get<Exit>().code, ExitCode::USAGE);
    EXPECT_FALSE(parsed.get<Exit>().text.empty());
  }
}

TEST_F(OptionsTest, HelpNamesEveryCommandAndExitCode) {
  auto help = parse({"--help"}).get<Exit>();
  EXPECT_EQ(help.code, ExitCode::OK);
  for (auto word : {"states", "has", "get", "set", "prove", "verify", "info", "sessions", "wal", "checkpoint",
                    "LEDGERD_SOCKET",
                    "Exit codes", "Examples", "%2f"}) {
    EXPECT_NE(help.text.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(parse({"prove", "--help"}).get<Exit>().code, ExitCode::OK);
}

}  // namespace
}  // namespace ledgerctl
