// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/grpc-calls.h"

#include "schema/proto-wire.h"
#include "server/grpc-requests.h"
#include "tests/golden/blob.h"
#include "tests/golden/daemon-ledger.h"
#include "tests/golden/duplicate-proofs.h"
#include "tests/testing/grpc-channel.h"
#include "tests/testing/ledgerd-process.h"
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>

#include <nlohmann/json.hpp>

#include <fstream>

namespace ledger::golden {

namespace {

using nlohmann::json;
using testing::GrpcAnswer;

std::vector<json> linesOf(const std::string& file) {
  std::ifstream in(file);
  KJ_REQUIRE(in.good(), "cannot read", file.c_str());
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

// What the calls were recorded with: a ledgerd in flow-go's place, on a copy of its directory.
class Service {
public:
  Service(const std::string& ledgerd, const std::string& folder) {
    std::ifstream in(folder + "/server.json");
    const auto server = json::parse(in);
    // "scenario-small/triedir (a copy: the server writes to it)"
    const auto triedir = server.at("triedir").get<std::string>();
    testing::copyFolder(folder + "/../" + triedir.substr(0, triedir.find(' ')),
                        scratch / "triedir");
    testing::LedgerdOptions options;
    options.binary = ledgerd;
    options.triedir = scratch / "triedir";
    options.socket = scratch / "socket";
    options.flags = {"--mtrie-cache-size", std::to_string(server.at("forest_capacity").get<int>()),
                     "--ledger-service-socket", scratch / "grpc"};
    process = kj::heap<testing::LedgerdProcess>(kj::mv(options));
    channel = kj::heap<testing::GrpcChannel>("unix:" + scratch / "grpc");
  }

  GrpcAnswer call(const json& line) const {
    return channel->call("/ledger.LedgerService/" + line.at("method").get<std::string>(),
                         fromHex(line.at("request")));
  }

  std::string socket() const { return scratch / "socket"; }

  void stop(Report& report) {
    channel = nullptr;
    auto ended = process->stop();
    report.check(ended.cleanly(), kj::str("ledgerd did not stop cleanly: ", ended.describe()));
  }

private:
  testing::ScratchFolder scratch;
  kj::Own<testing::LedgerdProcess> process;
  kj::Own<testing::GrpcChannel> channel;  // Goes before the process.
};

// Go's protobuf varies the blank after "proto:" from build to build.
std::string withPlainBlanks(std::string text) {
  constexpr char NO_BREAK[] = "\u00a0";
  for (size_t at; (at = text.find(NO_BREAK)) != std::string::npos; text[at] = ' ') {
    text.erase(at, 1);
  }
  return text;
}

kj::String describeAnswer(const GrpcAnswer& answer) {
  if (answer.code == 0) return kj::str("answered with ", describe(answer.response));
  return kj::str("refused with ", answer.code, ", \"", answer.message.c_str(), "\"");
}

void compare(const json& line, const GrpcAnswer& answer, kj::StringPtr which, Report& report) {
  bool same = answer.code == line.at("code").get<int>();
  if (same && answer.code == 0) {
    same = toHex(answer.response) == line.at("response").get<std::string>().c_str();
  } else if (same) {
    same = answer.message == withPlainBlanks(line.at("message"));
  }
  report.check(same, kj::str(which, ", ", line.at("method").get<std::string>().c_str(), " (",
                             line.at("note").get<std::string>().c_str(),
                             "): ", describeAnswer(answer)));
}

// flow-go's process died of this call: a register that is missing, asked for twice (known issue 2).
void checkFatalProve(kj::AsyncIoContext& io, const Service& service, const json& line,
                     Report& report) {
  const auto answer = service.call(line);
  if (answer.code != 0) return report.failed(kj::str("a register twice: ", describeAnswer(answer)));
  rpc::ProtoReader reader(answer.response);
  const auto proof = KJ_REQUIRE_NONNULL(reader.next(), "a reply without a proof").bytes;

  const auto message = fromHex(line.at("request"));
  const auto budget = shm::MemoryBudget::create("test", 1 << 20);
  auto parsed = server::parseGrpcRequest(server::GrpcMethod::PROVE, message, *budget);
  const auto& request = KJ_REQUIRE_NONNULL(parsed.tryGet<server::GrpcRequest>());
  auto ledger = attachToLedgerd(io, service.socket(), Way::INLINE);
  KJ_IF_MAYBE (fault, faultOfDuplicateProof(*ledger, request.state, request.keys, proof)) {
    report.failed(kj::str("the proof of a register twice: ", *fault));
  } else {
    report.passed();
  }
}

}  // namespace

void runGrpcCalls(kj::AsyncIoContext& io, const std::string& ledgerd, const std::string& folder,
                  Report& report) {
  report.section("grpc/calls.jsonl, ledgerd");
  {
    Service service(ledgerd, folder);
    size_t number = 0;
    for (auto& line : linesOf(folder + "/calls.jsonl")) {
      compare(line, service.call(line), kj::str("call ", ++number), report);
    }
    report.check(number > 0, "calls.jsonl holds no call");
    service.stop(report);
  }

  report.section("grpc/crash.jsonl, ledgerd");
  Service service(ledgerd, folder);
  uint32_t fatal = 0;
  for (auto& line : linesOf(folder + "/crash.jsonl")) {
    if (!line.contains("method")) continue;  // How flow-go's process ended.
    if (line.value("server", "") == "died") {
      checkFatalProve(io, service, line, report);
      ++fatal;
    } else {
      compare(line, service.call(line), "before the crash", report);
    }
  }
  report.check(fatal == 1, kj::str(fatal, " calls in crash.jsonl ended flow-go's process, not one"));
  service.stop(report);
}

}  // namespace ledger::golden
