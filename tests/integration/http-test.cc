// SPDX-License-Identifier: Apache-2.0
// A real ledgerd over HTTP: metrics as Prometheus reads them, admin commands, health.

#include "tests/integration/daemon-fixture.h"
#include "tests/testing/grpc-channel.h"
#include "tests/testing/proto-message.h"

#include <kj/compat/http.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace ledger::testing {
namespace {

// Of a page: a sample's value by its name and labels, as "name{label=value,...}".
struct Page {
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;  // By the sample's name.

  double operator[](const std::string& name) const {
    auto found = samples.find(name);
    KJ_REQUIRE(found != samples.end(), "there is no such figure", name.c_str());
    return found->second;
  }
};

class Http : public DaemonTest {
public:
  ~Http() noexcept override {}

protected:
  void startServing(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--admin-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"});
    startDaemon(kj::mv(flags));
    admin = addressIn("starting admin HTTP server", "admin_addr");
    metrics = addressIn("metrics server started", "address");
  }

  // The kernel chose the port: it is in the log, which is written by a thread of its own.
  std::string addressIn(const std::string& message, const char* field) {
    std::string found;
    EXPECT_TRUE(eventually([&]() {
      io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
      std::istringstream log(daemon->log().cStr());
      for (std::string line; std::getline(log, line);) {
        const auto object = nlohmann::json::parse(line, nullptr, false);
        if (object.is_object() && object.value("message", "") == message) found = object[field];
      }
      return !found.empty();
    })) << message;
    return found;
  }

  struct Reply {
    unsigned status;
    std::string type, body;
  };
  Reply ask(kj::HttpMethod method, const std::string& address, const char* path,
            const std::string& body = "") {
    auto parsed = io.provider->getNetwork().parseAddress(address.c_str()).wait(io.waitScope);
    auto client = kj::newHttpClient(io.provider->getTimer(), *table, *parsed);
    kj::HttpHeaders headers(*table);
    headers.set(kj::HttpHeaderId::HOST, "ledgerd");
    auto request = client->request(method, path, headers, uint64_t(body.size()));
    if (!body.empty()) request.body->write(body.data(), body.size()).wait(io.waitScope);
    request.body = nullptr;
    auto response = request.response.wait(io.waitScope);
    auto text = response.body->readAllText().wait(io.waitScope);
    auto type = response.headers->get(kj::HttpHeaderId::CONTENT_TYPE).orDefault(nullptr);
    return {response.statusCode, type.cStr(), text.cStr()};
  }
  std::string command(const std::string& body) {
    return ask(kj::HttpMethod::POST, admin, "/admin/run_command", body).body;
  }

  // As a Prometheus sees it.
  Page scrape() {
    auto reply = ask(kj::HttpMethod::GET, metrics, "/metrics");
    EXPECT_EQ(reply.status, 200u);
    EXPECT_EQ(reply.type, "text/plain; version=0.0.4; charset=utf-8");
    const std::string path = scratch / "page";
    std::ofstream(path) << reply.body;
    FILE* parser = popen(("tests/integration/parse-metrics.py < " + path).c_str(), "r");
    KJ_REQUIRE(parser != nullptr);
    std::string output;
    char buffer[4096];
    while (auto length = fread(buffer, 1, sizeof(buffer), parser)) output.append(buffer, length);
    EXPECT_EQ(pclose(parser), 0) << reply.body;

    Page page;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
      const auto sample = nlohmann::ordered_json::parse(line);  // Labels as they stand there.
      std::string name = sample["name"];
      page.types[name] = sample["type"];
      if (!sample["labels"].empty()) {
        std::string labels;
        for (auto& label : sample["labels"].items()) {
          labels += (labels.empty() ? "" : ",") + label.key() + "=" + std::string(label.value());
        }
        name += "{" + labels + "}";
      }
      EXPECT_TRUE(page.samples.emplace(name, sample["value"]).second) << name << " is there twice";
    }
    return page;
  }

  // One of a page, by its name there; 0 if it is not in it.
  double figure(const std::string& name) {
    const auto page = "\n" + ask(kj::HttpMethod::GET, metrics, "/metrics").body;
    const auto at = page.find("\n" + name + " ");
    return at == std::string::npos ? 0 : std::stod(page.substr(at + name.size() + 2));
  }

  kj::Own<kj::HttpHeaderTable> table = kj::HttpHeaderTable::Builder().build();
  std::string admin, metrics;
};

// Dashboards for flow-go's service look for these.
TEST_F(Http, HasEveryFigureOfFlowGo) {
  startServing();
  const auto page = scrape();
  const std::map<std::string, std::set<std::string>> expected = {
      {"gauge",
       {"ledger_mtrie_forest_approx_memory_size", "ledger_mtrie_forest_number_of_trees",
        "ledger_mtrie_latest_trie_reg_count", "ledger_mtrie_latest_trie_reg_count_diff",
        "ledger_mtrie_latest_trie_reg_size", "ledger_mtrie_latest_trie_reg_size_diff",
        "ledger_mtrie_latest_trie_max_depth_touched", "ledger_mtrie_update_values_size",
        "ledger_mtrie_read_values_size", "ledger_mtrie_average_proof_size",
        "ledger_wal_checkpoint_size_bytes", "prometheus_tsdb_wal_segment_current",
        "process_open_fds", "process_max_fds", "process_resident_memory_bytes",
        "process_virtual_memory_bytes", "process_start_time_seconds"}},
      {"counter",
       {"ledger_mtrie_updates_counted", "ledger_mtrie_update_values_number",
        "ledger_mtrie_read_values_number", "prometheus_tsdb_wal_page_flushes_total",
        "prometheus_tsdb_wal_completed_pages_total", "prometheus_tsdb_wal_writes_failed_total",
        "prometheus_tsdb_wal_truncations_total", "prometheus_tsdb_wal_truncations_failed_total",
        "process_cpu_seconds_total"}},
      {"histogram",
       {"ledger_mtrie_update_duration_count", "ledger_mtrie_update_duration_per_value_sum",
        "ledger_mtrie_read_duration_bucket", "ledger_mtrie_read_duration_per_value_bucket"}},
      {"summary",
       {"prometheus_tsdb_wal_fsync_duration_seconds",
        "prometheus_tsdb_wal_fsync_duration_seconds_count"}}};
  for (auto& [type, names] : expected) {
    for (auto& name : names) {
      auto found = page.types.find(name);
      ASSERT_NE(found, page.types.end()) << name;
      EXPECT_EQ(found->second, type) << name;
    }
  }
  for (auto le : {"0.05", "0.2", "0.5", "1", "2", "5", "+Inf"}) {
    const std::string labels = std::string("{le=") + le + "}";
    EXPECT_EQ(page.samples.count("ledger_mtrie_read_duration_bucket" + labels), 1u) << le;
    EXPECT_EQ(page.samples.count("ledger_mtrie_update_duration_bucket" + labels), 1u) << le;
  }
}

TEST_F(Http, CountsWhatHappens) {
  startServing({"--ledger-service-socket", scratch / "grpc"});
  auto ledger = connect();
  const auto empty = answer(ledger->initialState());
  Registers registers(5, 100);
  const auto state = answer(ledger->set(empty, registers.keys, registers.values));
  answer(ledger->getSingleValue(state, registers.keys[0]));
  answer(ledger->get(state, registers.keys));
  answer(ledger->prove(state, registers.keys));
  auto unknown = kj::heapArray(state.ptr());
  unknown[0] ^= 1;
  auto refused = ledger->get(RootHash::copyOf(unknown), registers.keys).wait(io.waitScope);
  EXPECT_TRUE(refused.is<Error>());
  GrpcChannel grpc("unix:" + scratch / "grpc");
  EXPECT_EQ(grpc.call("/ledger.LedgerService/InitialState", nullptr).code, 0);

  const auto page = scrape();
  EXPECT_EQ(page["ledger_mtrie_forest_number_of_trees"], 2);
  EXPECT_EQ(page["ledger_mtrie_updates_counted"], 1);
  EXPECT_EQ(page["ledger_mtrie_update_values_number"], 5);
  EXPECT_EQ(page["ledger_mtrie_update_duration_count"], 1);
  EXPECT_EQ(page["ledger_mtrie_read_values_number"], 6);
  EXPECT_EQ(page["ledger_mtrie_read_duration_count"], 2);
  EXPECT_EQ(page["ledger_mtrie_latest_trie_reg_count"], 5);
  EXPECT_EQ(page["ledger_mtrie_latest_trie_reg_count_diff"], 5);
  EXPECT_EQ(page["ledger_mtrie_latest_trie_reg_size"], page["ledger_mtrie_update_values_size"]);
  EXPECT_EQ(page["ledger_mtrie_read_values_size"], page["ledger_mtrie_update_values_size"]);
  EXPECT_GT(page["ledger_mtrie_latest_trie_max_depth_touched"], 0);
  EXPECT_GT(page["ledger_mtrie_average_proof_size"], 100);
  EXPECT_GE(page["prometheus_tsdb_wal_fsync_duration_seconds_count"], 1);
  EXPECT_GE(page["prometheus_tsdb_wal_page_flushes_total"], 1);

  auto calls = [&](const char* transport, const char* operation) {
    return page[std::string("ledgerd_operation_duration_seconds_count{transport=") + transport +
                ",operation=" + operation + "}"];
  };
  EXPECT_EQ(calls("capnp", "Set"), 1);
  EXPECT_EQ(calls("capnp", "Get"), 2);
  EXPECT_EQ(calls("capnp", "Prove"), 1);
  EXPECT_EQ(calls("grpc", "InitialState"), 1);
  EXPECT_EQ(page["ledgerd_operation_errors_total{transport=capnp,operation=Get,code=NotFound}"], 1);
  EXPECT_EQ(page["ledgerd_sessions"], 1);
  EXPECT_EQ(page["ledgerd_phase{phase=serving}"], 1);
  EXPECT_EQ(page["ledgerd_log_state{state=good}"], 1);
  EXPECT_EQ(page["ledgerd_checkpoint_newest"], -1);
  EXPECT_EQ(page["ledgerd_calls_in_flight{transport=capnp}"], 0);
  EXPECT_GT(page["ledgerd_reply_payload_bytes_total{form=message}"], 0);
  EXPECT_GT(page["process_resident_memory_bytes"], 1 << 20);
  EXPECT_GT(page["process_start_time_seconds"], 1.7e9);
}

// What flow-go's replay moves, ours does.
TEST_F(Http, CountsTheReplay) {
  startServing();
  {
    auto ledger = connect();
    Registers registers(5, 100);
    answer(ledger->set(answer(ledger->initialState()), registers.keys, registers.values));
  }
  EXPECT_TRUE(daemon->stop().cleanly());
  startServing();
  const auto page = scrape();
  EXPECT_EQ(page["ledger_mtrie_update_values_number"], 5);
  EXPECT_EQ(page["ledger_mtrie_latest_trie_reg_count"], 5);
  EXPECT_EQ(page["ledger_mtrie_updates_counted"], 0) << "no Set was asked for";
}

TEST_F(Http, TakesAdminCommands) {
  startServing();
  EXPECT_EQ(command("{\"commandName\":\"ping\"}"), "{\"output\":\"pong\"}\n");
  auto config = nlohmann::json::parse(command("{\"commandName\":\"get-config\"}"))["output"];
  EXPECT_EQ(config["triedir"], scratch / "triedir");
  EXPECT_EQ(config["checkpoint-distance"], "100");
  EXPECT_FALSE(std::string(config["memory-limit"]).empty());

  EXPECT_EQ(command("{\"commandName\":\"trigger-checkpoint\"}"), "{\"output\":\"ok\"}\n");
  EXPECT_TRUE(eventually([&]() { return scrape()["ledgerd_checkpoint_newest"] == 0; }));
  EXPECT_GT(scrape()["ledger_wal_checkpoint_size_bytes"], 0);
  EXPECT_TRUE(std::filesystem::exists(scratch / "triedir/checkpoint.00000000"));

  // What is logged changes with the level.
  EXPECT_EQ(command("{\"commandName\":\"set-log-level\",\"data\":\"error\"}"),
            "{\"output\":\"ok\"}\n");
  EXPECT_TRUE(daemon->stop().cleanly());
  EXPECT_EQ(strstr(daemon->log().cStr(), "ledger service stopped"), nullptr);
}

TEST_F(Http, SaysThatItServes) {
  startServing();
  for (auto& address : {admin, metrics}) {
    for (auto path : {"/live", "/ready"}) {
      auto reply = ask(kj::HttpMethod::GET, address, path);
      EXPECT_EQ(reply.status, 200u);
      EXPECT_EQ(reply.body, "{\"status\":\"serving\"}\n");
    }
    EXPECT_EQ(ask(kj::HttpMethod::GET, address, "/").status, 404u);
  }
  EXPECT_EQ(ask(kj::HttpMethod::GET, admin, "/metrics").status, 404u);
  EXPECT_EQ(ask(kj::HttpMethod::POST, metrics, "/admin/run_command", "{}").status, 404u);
}

// A call that its client gives up stops within, and gives back what it has. It may be over, or not
// begun, when the server hears of it: then another is made.
TEST_F(Http, SeesCallsStopThatAreGivenUp) {
  startServing({"--ledger-service-socket", scratch / "grpc"});
  auto ledger = connect();
  Registers registers(50'000, 8);
  const auto state =
      answer(ledger->set(answer(ledger->initialState()), registers.keys, registers.values));
  auto isIdle = [&]() {
    return figure("ledgerd_calls_in_flight{transport=\"capnp\"}") == 0 &&
           figure("ledgerd_calls_in_flight{transport=\"grpc\"}") == 0;
  };
  EXPECT_TRUE(eventually(isIdle));
  const auto memory = figure("ledgerd_memory_used_bytes{limit=\"memory\"}");

  EXPECT_TRUE(eventually([&]() {
    {
      auto call = ledger->prove(state, registers.keys);
      EXPECT_FALSE(call.poll(io.waitScope));
      figure("ledgerd_sessions");  // Time for the call to be begun.
    }
    return figure("ledgerd_operation_errors_total{transport=\"capnp\",operation=\"Prove\","
                  "code=\"Canceled\"}") > 0;
  }));

  ProtoMessage request;
  request.message(1, stateMessage(state));
  for (size_t i = 0; i < registers.keys.size(); ++i) request.message(2, keyMessage(kj::str(i)));
  GrpcChannel grpc("unix:" + scratch / "grpc");
  GrpcCallOptions soon;
  soon.deadline = 1 * kj::MILLISECONDS;
  EXPECT_TRUE(eventually([&]() {
    soon.deadline = KJ_ASSERT_NONNULL(soon.deadline) + 3 * kj::MILLISECONDS;
    grpc.call("/ledger.LedgerService/Prove", request.content(), soon);
    return figure("ledgerd_operation_errors_total{transport=\"grpc\",operation=\"Prove\","
                  "code=\"Canceled\"}") > 0;
  }));
  EXPECT_TRUE(eventually(isIdle));
  EXPECT_TRUE(eventually([&]() {
    return figure("ledgerd_memory_used_bytes{limit=\"memory\"}") <= memory + (1 << 20);
  }));
}

TEST_F(Http, RefusesAPortThatIsTaken) {
  startServing();
  for (auto flag : {"--admin-addr", "--metrics-addr"}) {
    auto second = options({flag, admin});
    second.triedir = scratch / "other";
    second.socket = scratch / "other-socket";
    auto run = runLedgerd(kj::mv(second));
    EXPECT_EQ(run.ended.number, 1);
    EXPECT_NE(strstr(run.log.cStr(), "cannot serve on this TCP address"), nullptr);
    EXPECT_FALSE(std::filesystem::exists(scratch / "other/00000000")) << "nothing was touched";
  }
}

}  // namespace
}  // namespace ledger::testing
