// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <initializer_list>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace ledger::server {
namespace {

kj::OneOf<Options, Exit> parse(std::initializer_list<const char*> arguments) {
  return parseOptions(kj::arrayPtr(arguments.begin(), arguments.size()));
}

Options accepted(std::initializer_list<const char*> arguments) {
  auto result = parse(arguments);
  if (result.is<Exit>()) KJ_FAIL_ASSERT(result.get<Exit>().text);
  return kj::mv(result.get<Options>());
}

Exit refused(std::initializer_list<const char*> arguments) {
  auto result = parse(arguments);
  KJ_ASSERT(result.is<Exit>(), "was accepted");
  return kj::mv(result.get<Exit>());
}

TEST(Options, HaveTheDocumentedDefaults) {
  auto options = accepted({"--triedir", "/data/trie"});
  EXPECT_EQ(options.triedir, "/data/trie");
  EXPECT_EQ(options.socket.path, "/data/trie/ledgerd.sock");
  EXPECT_EQ(options.socket.mode, 0660u);
  EXPECT_EQ(options.forestCapacity, 500u);
  EXPECT_EQ(options.walSegmentSize, 32u << 20);
  EXPECT_EQ(options.walSync.mode, SyncPolicy::Mode::ALWAYS);
  EXPECT_EQ(options.damage, LedgerOptions::Damage::REFUSE);
  EXPECT_EQ(options.checkpointDistance, 100u);
  EXPECT_EQ(options.checkpointsToKeep, 3u);
  EXPECT_GE(options.checkpointThreads, 1u);
  EXPECT_EQ(options.superfluousSegments, CheckpointPolicy::Superfluous::KEEP);
  EXPECT_EQ(options.diskReserve, 1u << 30);
  EXPECT_EQ(options.maxRequestSize, 1u << 30);
  EXPECT_EQ(options.maxResponseSize, 1u << 30);
  EXPECT_EQ(options.arenaSize, 1u << 30);
  EXPECT_EQ(options.inlineThreshold, 32u << 10);
  EXPECT_TRUE(options.memoryLimit == nullptr);
  EXPECT_TRUE(options.sharedMemoryLimit == nullptr);
  EXPECT_EQ(options.ioThreads, 1u);
  EXPECT_GE(options.workers, 4u);
  EXPECT_EQ(options.logLevel, LogLevel::INFO);
  EXPECT_TRUE(options.readyFd == nullptr);
}

// Scripts written for flow-go's service pass one dash, and an equals sign.
TEST(Options, AreWrittenAsForFlowGo) {
  auto options = accepted({"-triedir=/t", "-mtrie-cache-size", "7", "--loglevel=DEBUG"});
  EXPECT_EQ(options.triedir, "/t");
  EXPECT_EQ(accepted({"-triedir=/t//"}).socket.path, "/t/ledgerd.sock");
  EXPECT_EQ(options.forestCapacity, 7u);
  EXPECT_EQ(options.logLevel, LogLevel::DEBUG);
}

// Operators' scripts match this text and status.
TEST(Options, WithoutATriedirTheTextIsFlowGos) {
  auto exit = refused({});
  EXPECT_EQ(exit.status, 1);
  EXPECT_EQ(exit.text, "error: --triedir is required\n");
}

TEST(Options, EveryFlagRefusesWhatIsOutOfItsRange) {
  struct {
    const char* flag;
    std::initializer_list<const char*> bad;
    std::initializer_list<const char*> good;
  } cases[] = {
      {"--mtrie-cache-size", {"0", "65536", "-1", "x", "", "1x", "1.5"}, {"1", "65535"}},
      {"--wal-segment-size", {"0", "16384", "65537", "100000", "2GiB"}, {"32768", "64KiB", "1GiB"}},
      {"--wal-sync",
       {"", "never", "interval", "interval:", "interval:0", "interval:60001", "interval:1s"},
       {"always", "none", "interval:1", "interval:60000"}},
      {"--checkpoint-distance", {"-1", "x", "1000000001"}, {"0", "1", "100"}},
      {"--checkpoints-to-keep", {"-1", "x"}, {"0", "3"}},
      {"--checkpoint-threads", {"0", "17"}, {"1", "16"}},
      {"--disk-reserve", {"-1", "x"}, {"0", "1GiB"}},
      {"--max-request-size", {"0", "1023", "65GiB", "1TB", "99999999999999999999"}, {"1KiB"}},
      {"--max-response-size", {"0", "1023", "65GiB"}, {"1073741824", "64G"}},
      {"--arena-size", {"0", "65535"}, {"65536", "2GiB"}},
      {"--inline-threshold", {"-1", "65MiB", "x"}, {"0", "64MiB"}},
      {"--memory-limit", {"0", "1MiB", "abc"}, {"16MiB"}},
      {"--shared-memory-limit", {"0", "abc"}, {"64KiB"}},
      {"--io-threads", {"0", "65"}, {"1", "64"}},
      {"--workers", {"0", "1025"}, {"1", "1024"}},
      {"--shutdown-timeout", {"3601", "soon"}, {"0", "3600"}},
      {"--socket-mode", {"0", "0400", "1777", "0888", "rw", "00000660"}, {"0600", "660", "0777"}},
      {"--map-store-uid", {"", "root", "1,", "-1", "4294967295"}, {"none", "0", "1000,4294967294"}},
      {"--writer-uid", {"", "root", ",1", "none"}, {"0,1"}},
      {"--writer-gid", {"4294967295"}, {"7"}},
      {"--reader-uid", {"1 2"}, {"1,2"}},
      {"--reader-gid", {"x"}, {"3"}},
      {"--admin-addr",
       {"localhost", "1.2.3.4", ":x", "::1:80"},
       {":0", "127.0.0.1:9003", "[::1]:1"}},
      {"--metrics-port", {"-1", "65536", "x"}, {"0", "65535"}},
      {"--metrics-addr", {"localhost", ":70000"}, {":0", "localhost:8080"}},
      {"--loglevel", {"nope", ""}, {"panic", "Warn", "trace"}},
      {"--ready-fd", {"0", "2", "99999", "x"}, {}},
  };
  for (auto& each : cases) {
    for (auto value : each.bad) {
      SCOPED_TRACE(std::string(each.flag) + "=" + value);
      auto text = std::string(each.flag) + "=" + value;
      if (*value == '\0') continue;  // CLI11 takes an empty value as none.
      auto exit = refused({"--triedir=/t", text.c_str()});
      EXPECT_EQ(exit.status, 1);
      EXPECT_NE(strstr(exit.text.cStr(), "error: "), nullptr);
    }
    for (auto value : each.good) {
      SCOPED_TRACE(std::string(each.flag) + "=" + value);
      auto text = std::string(each.flag) + "=" + value;
      accepted({"--triedir=/t", text.c_str()});
    }
  }
}

TEST(Options, OfDurability) {
  auto options = accepted({"--triedir", "/t", "--wal-sync", "interval:250", "--recover",
                           "--wal-retention", "--checkpoint-distance", "20",
                           "--verify-on-load"});
  EXPECT_EQ(options.trust, LedgerOptions::Trust::NOTHING);
  EXPECT_EQ(options.walSync.mode, SyncPolicy::Mode::INTERVAL);
  EXPECT_EQ(options.walSync.interval, 250 * kj::MILLISECONDS);
  EXPECT_EQ(options.damage, LedgerOptions::Damage::SET_ASIDE);
  EXPECT_EQ(options.superfluousSegments, CheckpointPolicy::Superfluous::REMOVE);
  EXPECT_EQ(options.checkpointDistance, 20u);
}

TEST(Options, AReadyDescriptorMustBeOpen) {
  const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(fd, 3);
  const std::string flag = "--ready-fd=" + std::to_string(fd);
  EXPECT_EQ(KJ_ASSERT_NONNULL(accepted({"--triedir=/t", flag.c_str()}).readyFd), fd);
  close(fd);
  refused({"--triedir=/t", flag.c_str()});
}

TEST(Options, AllProblemsAreNamedAtOnce) {
  auto exit = refused({"--triedir=/t", "--io-threads=0", "--workers=0"});
  EXPECT_NE(strstr(exit.text.cStr(), "--io-threads"), nullptr);
  EXPECT_NE(strstr(exit.text.cStr(), "--workers"), nullptr);
}

// Nobody shall think that a list of users guards what it does not.
TEST(Options, ListsOfUsersAndGrpcExcludeEachOther) {
  accepted({"--triedir=/t", "--writer-uid=1"});
  accepted({"--triedir=/t", "--ledger-service-socket=/t/g.sock", "--map-store-uid=1"});
  for (auto list : {"--writer-uid=1", "--writer-gid=1", "--reader-uid=1", "--reader-gid=1"}) {
    auto exit = refused({"--triedir=/t", "--ledger-service-socket=/t/g.sock", list});
    EXPECT_NE(strstr(exit.text.cStr(), "do not hold for gRPC"), nullptr) << exit.text.cStr();
  }
}

TEST(Options, SharedMemoryIsAPartOfAllMemory) {
  refused({"--triedir=/t", "--memory-limit=64MiB", "--shared-memory-limit=65MiB"});
  accepted({"--triedir=/t", "--memory-limit=64MiB", "--shared-memory-limit=64MiB"});
}

// A longer path would be cut by the kernel's structure: another file than the one that was named.
TEST(Options, ASocketPathThatDoesNotFitIsRefused) {
  const std::string longest = "--socket=/" + std::string(106, 's');
  EXPECT_EQ(accepted({"--triedir=/t", longest.c_str()}).socket.path.size(), 107u);
  refused({"--triedir=/t", (longest + "s").c_str()});
  const std::string deep = "--triedir=/" + std::string(100, 'd');
  auto exit = refused({deep.c_str()});
  EXPECT_NE(strstr(exit.text.cStr(), "--socket"), nullptr);
}

TEST(Options, TheHandOverSocketIsBesideTheOther) {
  EXPECT_EQ(KJ_ASSERT_NONNULL(accepted({"--triedir=/t"}).socket.handOverPath),
            "/t/ledgerd.sock.handover");
  auto chosen = accepted({"--triedir=/t", "--socket=/s", "--hand-over-socket=/h"});
  EXPECT_EQ(KJ_ASSERT_NONNULL(chosen.socket.handOverPath), "/h");
  EXPECT_TRUE(accepted({"--triedir=/t", "--hand-over-socket=none"}).socket.handOverPath == nullptr);
  const std::string fits = "--socket=/" + std::string(97, 's');
  EXPECT_TRUE(accepted({"--triedir=/t", fits.c_str()}).socket.handOverPath != nullptr);
  EXPECT_TRUE(accepted({"--triedir=/t", (fits + "s").c_str()}).socket.handOverPath == nullptr);
  refused({"--triedir=/t", ("--hand-over-socket=/" + std::string(107, 'h')).c_str()});
  refused({"--triedir=/t", "--socket=/s", "--hand-over-socket=/s"});
  refused({"--triedir=/t", "--hand-over-socket=/h", "--ledger-service-socket=/h"});
}

TEST(Options, AReaderSocketIsLikeTheOtherUnlessItIsSaid) {
  EXPECT_TRUE(accepted({"--triedir=/t"}).readerSocket == nullptr);
  auto same = accepted({"--triedir=/t", "--socket-mode=0600", "--socket-owner=7:8",
                        "--reader-socket=/r"});
  auto& reader = KJ_ASSERT_NONNULL(same.readerSocket);
  EXPECT_EQ(reader.path, "/r");
  EXPECT_EQ(KJ_ASSERT_NONNULL(reader.handOverPath), "/r.handover");
  EXPECT_EQ(reader.mode, 0600u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(reader.owner.user), 7u);

  auto own = accepted({"--triedir=/t", "--socket-owner=7:8", "--reader-socket=/r",
                       "--reader-socket-mode=0666", "--reader-socket-owner=:9",
                       "--hand-over-socket=none"});
  auto& other = KJ_ASSERT_NONNULL(own.readerSocket);
  EXPECT_TRUE(other.handOverPath == nullptr);
  EXPECT_EQ(other.mode, 0666u);
  EXPECT_TRUE(other.owner.user == nullptr);
  EXPECT_EQ(KJ_ASSERT_NONNULL(other.owner.group), 9u);
  EXPECT_EQ(own.socket.mode, 0660u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(own.socket.owner.user), 7u);

  refused({"--triedir=/t", "--reader-socket-mode=0666"});
  refused({"--triedir=/t", "--reader-socket-owner=1"});
  refused({"--triedir=/t", "--reader-socket=/r", "--reader-socket-mode=0444"});
  refused({"--triedir=/t", "--reader-socket=/t/ledgerd.sock"});
  refused({"--triedir=/t", "--reader-socket=/t/ledgerd.sock.handover"});
  refused({"--triedir=/t", ("--reader-socket=/" + std::string(107, 'r')).c_str()});
  auto exit = refused({"--triedir=/t", "--socket-owner=nobody-of-that-name"});
  EXPECT_NE(strstr(exit.text.cStr(), "there is no user \"nobody-of-that-name\""), nullptr);
}

// flow-go's flags for its gRPC service, written as its operators write them.
TEST(Options, NameWhereGrpcIsServed) {
  auto none = accepted({"--triedir=/t"});
  EXPECT_EQ(none.grpcSockets.size(), 0u);
  EXPECT_TRUE(none.grpcTcp == nullptr);

  auto options = accepted({"-triedir=/t", "-ledger-service-socket", " /a/b.sock, /c d.sock ,,\t",
                           "-ledger-service-tcp=0.0.0.0:9000"});
  ASSERT_EQ(options.grpcSockets.size(), 2u);
  EXPECT_EQ(options.grpcSockets[0], "/a/b.sock");
  EXPECT_EQ(options.grpcSockets[1], "/c d.sock");
  EXPECT_EQ(KJ_ASSERT_NONNULL(options.grpcTcp).host, "0.0.0.0");
  EXPECT_EQ(KJ_ASSERT_NONNULL(options.grpcTcp).port, 9000);
}

TEST(Options, GrpcSocketsThatCannotBeAreRefused) {
  refused({"--triedir=/t", "--ledger-service-tcp=localhost"});
  refused({"--triedir=/t", "--ledger-service-tcp=localhost:70000"});
  refused({"--triedir=/t", "--ledger-service-socket=/a,/b,/a"});
  refused({"--triedir=/t", "--ledger-service-socket=/t/ledgerd.sock"});
  refused({"--triedir=/t", "--socket=/a", "--ledger-service-socket=/a"});
  const std::string tooLong = "--ledger-service-socket=/a,/" + std::string(107, 's');
  refused({"--triedir=/t", tooLong.c_str()});
}

TEST(Options, NameWhereAdminAndMetricsAreServed) {
  auto none = accepted({"-triedir=/t"});
  EXPECT_TRUE(none.admin == nullptr);
  EXPECT_TRUE(none.metrics == nullptr);

  auto options = accepted({"-triedir=/t", "-admin-addr=localhost:9003", "-metrics-port=8080"});
  EXPECT_EQ(KJ_ASSERT_NONNULL(options.admin).host, "localhost");
  EXPECT_EQ(KJ_ASSERT_NONNULL(options.admin).port, 9003);
  EXPECT_EQ(KJ_ASSERT_NONNULL(options.metrics).host, "") << "all addresses, as flow-go";
  EXPECT_EQ(KJ_ASSERT_NONNULL(options.metrics).port, 8080);

  auto one = accepted({"-triedir=/t", "-metrics-port=0", "--metrics-addr=127.0.0.1:0"});
  EXPECT_EQ(KJ_ASSERT_NONNULL(one.metrics).host, "127.0.0.1");
  refused({"-triedir=/t", "-metrics-port=1", "--metrics-addr=127.0.0.1:0"});
}

// Every flag of flow-go's cmd/ledger, in one command.
TEST(Options, TakeEveryFlagOfFlowGo) {
  auto options = accepted({"-triedir", "/t", "-ledger-service-tcp", "0.0.0.0:9000",
                           "-ledger-service-socket", "/s/l.sock", "-admin-addr", "0.0.0.0:9003",
                           "-metrics-port", "8080", "-mtrie-cache-size", "500",
                           "-checkpoint-distance", "0", "-checkpoints-to-keep", "0", "-loglevel",
                           "info", "-max-request-size", "1073741824", "-max-response-size",
                           "1073741824"});
  EXPECT_EQ(options.checkpointDistance, 1u) << "as flow-go takes 0";
  EXPECT_EQ(options.checkpointsToKeep, 0u);
  // Those of a library that flow-go's command has without using it.
  accepted({"-triedir=/t", "-logtostderr", "-alsologtostderr=true", "-stderrthreshold=2", "-v=2",
            "-vmodule=a=1", "-log_dir=/tmp", "-log_link=/tmp", "-log_backtrace_at=a.go:1",
            "-logbuflevel=0"});
  accepted({"-triedir=/t", "-v", "2", "-log_dir", "/tmp"});
}

TEST(Options, AFlagOfAnotherProgramSaysWhatToUse) {
  EXPECT_EQ(accepted({"-triedir=/t", "-shmipc-buffer-size=64MiB"}).arenaSize, 64u << 20);
  struct {
    const char *flag, *advice;
  } cases[] = {{"--shmipc-queue-size=1", "--arena-size"},
               {"-ledger-service-addr=/s", "--ledger-service-socket"},
               {"-ledger-service-admin-addr=/s", "--admin-addr"},
               {"-ledger-max-request-size=1", "--max-request-size"},
               {"-ledger-transport=shmipc", "the client chooses"}};
  for (auto& each : cases) {
    auto exit = refused({"-triedir=/t", each.flag});
    EXPECT_EQ(exit.status, 2);
    EXPECT_NE(strstr(exit.text.cStr(), each.advice), nullptr) << exit.text.cStr();
    EXPECT_EQ(strchr(exit.text.cStr(), '='), nullptr) << "names the flag, without its value";
  }
}

TEST(Options, TellWhatTheyAre) {
  auto options = accepted({"-triedir=/t", "-loglevel", "WARN", "--recover"});
  auto valueOf = [&](kj::StringPtr name) -> std::string {
    for (auto& setting : options.settings) {
      if (setting.name == name) return setting.value.cStr();
    }
    return "(none)";
  };
  EXPECT_EQ(valueOf("triedir"), "/t");
  EXPECT_EQ(valueOf("socket"), "/t/ledgerd.sock");
  EXPECT_EQ(valueOf("loglevel"), "WARN");
  EXPECT_EQ(valueOf("checkpoint-distance"), "100");
  EXPECT_EQ(valueOf("arena-size"), "1GiB");
  EXPECT_EQ(valueOf("recover"), "true");
  EXPECT_EQ(valueOf("verify-on-load"), "false");
  EXPECT_EQ(valueOf("memory-limit"), "");
  EXPECT_EQ(valueOf("log_dir"), "(none)");
  EXPECT_EQ(valueOf("help"), "(none)");
}

TEST(Options, AnUnknownFlagIsAUsageError) {
  EXPECT_EQ(refused({"--triedir=/t", "--bogus"}).status, 2);
  EXPECT_EQ(refused({"--triedir=/t", "stray"}).status, 2);
}

TEST(Options, HelpAndVersionArePrinted) {
  auto help = refused({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(strstr(help.text.cStr(), "--mtrie-cache-size"), nullptr);
  auto version = refused({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_NE(strstr(version.text.cStr(), "ledgerd 0."), nullptr);
}

TEST(ParseSize, ReadsUnitsAndNothingElse) {
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseSize("0")), 0u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseSize("3K")), 3072u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseSize("2GiB")), uint64_t(2) << 30);
  for (auto bad : {"", "K", "1k", "1 K", "1KB", "-1", "+1", "1.5G", "0x10", "99999999999999999G"}) {
    EXPECT_TRUE(parseSize(bad) == nullptr) << bad;
  }
}

}  // namespace
}  // namespace ledger::server
