// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/vectors/vectors.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace ledger::golden {
namespace {

class ScratchFolder {
public:
  ScratchFolder() {
    char name[] = "/tmp/vectors-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    path = name;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path); }
  void write(const char* name, const char* text) { std::ofstream(path / name) << text; }
  std::filesystem::path path;
};

TEST(Vectors, OfFlowGoAllPass) {
  const char* golden = getenv("LEDGERD_GOLDEN");
  if (golden == nullptr) {
    GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
  }
  auto result = runVectors((std::string(golden) + "/vectors").c_str());
  for (auto& failure : result.failures) ADD_FAILURE() << failure.cStr();
  for (auto& file : result.skipped) ADD_FAILURE() << file.cStr();
  EXPECT_GT(result.passed, 0u);
  printf("%lu comparisons\n", result.passed);
}

// A runner that cannot fail proves nothing: one false line of each file.
TEST(Vectors, ThatAreFalseFail) {
  ScratchFolder folder;
  folder.write("hash.jsonl", R"({"op":"sha3_256","input":"","hash":"00"})");
  folder.write("keys.jsonl", R"({"key":[],"canonical":"2f","path":"00"})");
  folder.write("encodings.jsonl", R"({"kind":"value","version":1,"object":"2e","hex":"0001042f"})");
  folder.write("bad-encodings.jsonl", R"({"kind":"value","hex":"0001042e","error":"none"})");
  folder.write("odd-encodings.jsonl",
               R"({"kind":"key","hex":"000103000000","reencoded":"0001030001"})");
  folder.write(
      "verify.jsonl",
      R"({"state":"0000000000000000000000000000000000000000000000000000000000000000","proof":"","valid":true})");
  auto result = runVectors(folder.path.c_str());
  EXPECT_EQ(result.skipped.size(), 0u);
  for (auto name : {"hash.jsonl:1:", "keys.jsonl:1:", "encodings.jsonl:1:",
                    "bad-encodings.jsonl:1:", "odd-encodings.jsonl:1:", "verify.jsonl:1:"}) {
    bool found = false;
    for (auto& failure : result.failures) found = found || failure.startsWith(name);
    EXPECT_TRUE(found) << name;
  }
}

TEST(Vectors, OfOtherFormatsAreRefused) {
  ScratchFolder folder;
  EXPECT_EQ(runVectors(folder.path.c_str()).skipped.size(), 6u);
  folder.write("hash.jsonl", R"({"op":"md5"})");
  EXPECT_EQ(runVectors(folder.path.c_str()).failures.size(), 1u);
  folder.write("hash.jsonl", "not JSON\n");
  EXPECT_ANY_THROW(runVectors(folder.path.c_str()));
}

}  // namespace
}  // namespace ledger::golden
