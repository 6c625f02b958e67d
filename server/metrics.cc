// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include "server/process-figures.h"
#include "server/version.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace ledger::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double seconds(kj::Duration time) { return double(time / kj::NANOSECONDS) / 1e9; }

constexpr struct {
  Operation::Kind kind;
  const char* name;
} OPERATIONS[] = {{Operation::Kind::INITIAL_STATE, "InitialState"},
                  {Operation::Kind::HAS_STATE, "HasState"},
                  {Operation::Kind::GET_SINGLE_VALUE, "GetSingleValue"},
                  {Operation::Kind::GET, "Get"},
                  {Operation::Kind::SET, "Set"},
                  {Operation::Kind::PROVE, "Prove"}};

constexpr struct {
  CallMeters::Face face;
  const char* name;
} TRANSPORTS[] = {{CallMeters::Face::CAPNP, "capnp"}, {CallMeters::Face::GRPC, "grpc"}};

// By gRPC's canonical names. Null: no operation is refused with this number.
const char* nameOfCode(uint32_t code) {
  switch (Code(code)) {
    case Code::CANCELLED:
      return "Canceled";
    case Code::INVALID_ARGUMENT:
      return "InvalidArgument";
    case Code::DEADLINE_EXCEEDED:
      return "DeadlineExceeded";
    case Code::NOT_FOUND:
      return "NotFound";
    case Code::PERMISSION_DENIED:
      return "PermissionDenied";
    case Code::RESOURCE_EXHAUSTED:
      return "ResourceExhausted";
    case Code::FAILED_PRECONDITION:
      return "FailedPrecondition";
    case Code::OUT_OF_RANGE:
      return "OutOfRange";
    case Code::UNIMPLEMENTED:
      return "Unimplemented";
    case Code::INTERNAL:
      return "Internal";
    case Code::UNAVAILABLE:
      return "Unavailable";
    case Code::DATA_LOSS:
      return "DataLoss";
  }
  return nullptr;
}

class Page {
public:
  void counter(const char* name, const char* help, double value) {
    counters(name, help);
    add(value);
  }
  void gauge(const char* name, const char* help, double value) {
    gauges(name, help);
    add(value);
  }
  void histogram(const char* name, const char* help, const TimeHistogram& times) {
    histograms(name, help);
    add(times);
  }

  // Families of more than one; add() follows.
  void counters(const char* name, const char* help) { begin(name, help, MetricType::Counter); }
  void gauges(const char* name, const char* help) { begin(name, help, MetricType::Gauge); }
  void histograms(const char* name, const char* help) { begin(name, help, MetricType::Histogram); }

  void add(double value, Labels labels = {}) {
    auto& metric = next(std::move(labels));
    metric.counter.value = value;
    metric.gauge.value = value;
  }
  void add(const TimeHistogram& times, Labels labels = {}) {
    auto& histogram = next(std::move(labels)).histogram;
    const auto bounds = times.upperBounds();
    for (size_t i = 0; i <= bounds.size(); ++i) {
      histogram.sample_count += times.count(i);
      // The serializer adds the last one, of all, by itself.
      if (i == bounds.size()) break;
      histogram.bucket.push_back({histogram.sample_count, seconds(bounds[i])});
    }
    histogram.sample_sum = seconds(times.total());
  }
  void summary(const char* name, const char* help, const RecentTimes::Summary& times) {
    begin(name, help, MetricType::Summary);
    auto& summary = next({}).summary;
    for (double share : {0.5, 0.9, 0.99}) {
      summary.quantile.push_back({share, seconds(times.quantile(share))});
    }
    summary.sample_count = times.count;
    summary.sample_sum = seconds(times.sum);
  }

  kj::String text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families);
    const auto text = out.str();
    return kj::heapString(text.data(), text.size());
  }

private:
  void begin(const char* name, const char* help, MetricType type) {
    families.push_back(MetricFamily{name, help, type, {}});
  }
  ClientMetric& next(Labels labels) {
    auto& metrics = families.back().metric;
    metrics.emplace_back();
    metrics.back().label = std::move(labels);
    return metrics.back();
  }

  std::vector<MetricFamily> families;
};

// --- flow-go's ------------------------------------------------------------------------------

// Known from the start on.
void addLedger(Page& page, const LedgerMeters& meters) {
  page.gauge("ledger_mtrie_latest_trie_reg_count", "Registers of the trie that was built last",
             meters.newestRegisters.get());
  page.gauge("ledger_mtrie_latest_trie_reg_count_diff", "Against the trie it was built from",
             meters.registersChange.get());
  page.gauge("ledger_mtrie_latest_trie_reg_size",
             "Bytes of the registers of the trie that was built last", meters.newestBytes.get());
  page.gauge("ledger_mtrie_latest_trie_reg_size_diff", "Against the trie it was built from",
             meters.bytesChange.get());
  page.gauge("ledger_mtrie_latest_trie_max_depth_touched",
             "The deepest that the last update reached", meters.newestDepth.get());
  page.counter("ledger_mtrie_updates_counted", "Sets", meters.updates.get());
  page.counter("ledger_mtrie_update_values_number", "Registers of all updates",
               meters.updatedValues.get());
  page.gauge("ledger_mtrie_update_values_size", "Bytes of the registers of the last update",
             meters.updateBytes.get());
  page.histogram("ledger_mtrie_update_duration", "Seconds of a Set", meters.updateTime);
  page.histogram("ledger_mtrie_update_duration_per_value", "Seconds of a Set, for each register",
                 meters.updateTimePerValue);
  page.counter("ledger_mtrie_read_values_number", "Registers that were read",
               meters.readValues.get());
  page.gauge("ledger_mtrie_read_values_size",
             "Bytes of the registers of the last Get of more than one", meters.readBytes.get());
  page.histogram("ledger_mtrie_read_duration", "Seconds of a read", meters.readTime);
  page.histogram("ledger_mtrie_read_duration_per_value", "Seconds of a read, for each register",
                 meters.readTimePerValue);
  page.gauge("ledger_mtrie_average_proof_size", "Bytes of the last proof, for each register",
             meters.proofBytesPerKey.get());

  const auto& wal = meters.wal;
  page.summary("prometheus_tsdb_wal_fsync_duration_seconds", "Seconds of a sync of the log",
               wal.syncs.summary());
  page.counter("prometheus_tsdb_wal_page_flushes_total", "Pages of the log that were written",
               wal.pages.get());
  page.counter("prometheus_tsdb_wal_completed_pages_total", "Pages of the log that are full",
               wal.completedPages.get());
  page.counter("prometheus_tsdb_wal_writes_failed_total", "Groups of records not written",
               wal.failedGroups.get());
}

// Known once it is open.
void addForest(Page& page, const LedgerStats& stats) {
  page.gauge("ledger_mtrie_forest_approx_memory_size", "Bytes that the tries have taken",
             stats.committedBytes + stats.privateBytes);
  page.gauge("ledger_mtrie_forest_number_of_trees", "States that can be read", stats.states);
  page.gauge("ledger_wal_checkpoint_size_bytes", "Bytes of the last checkpoint that was written",
             stats.checkpoints.newestBytes);
  page.gauge("prometheus_tsdb_wal_segment_current", "The log's segment that is being written",
             stats.activeSegment);
  page.counter("prometheus_tsdb_wal_truncations_total", "How often segments were removed",
               stats.checkpoints.truncations);
  page.counter("prometheus_tsdb_wal_truncations_failed_total", "How often that failed", 0);
}

void addProcess(Page& page) {
  const auto process = processFigures();
  page.counter("process_cpu_seconds_total", "Seconds of processors", process.cpuSeconds);
  page.gauge("process_open_fds", "Open descriptors", process.openDescriptors);
  page.gauge("process_max_fds", "Most descriptors", process.mostDescriptors);
  page.gauge("process_virtual_memory_bytes", "Virtual memory", process.virtualBytes);
  page.gauge("process_resident_memory_bytes", "Resident memory", process.residentBytes);
  page.gauge("process_start_time_seconds", "Start of the process since 1970",
             process.startSeconds);
}

// --- Ours -----------------------------------------------------------------------------------

void addState(Page& page, const ServiceState::Progress& progress) {
  using Phase = ServiceState::Phase;
  page.gauges("ledgerd_build_info", "1");
  page.add(1, {{"version", VERSION.cStr()}});
  page.gauges("ledgerd_phase", "1 for where the process is in its life, 0 for the others");
  for (auto phase : {Phase::OPENING, Phase::LOADING_CHECKPOINT, Phase::REPLAYING, Phase::SERVING,
                     Phase::ENDING}) {
    page.add(phase == progress.phase, {{"phase", nameOf(phase).cStr()}});
  }
  page.gauge("ledgerd_start_done_bytes", "Of the checkpoint or the log that is being read",
             progress.done);
  page.gauge("ledgerd_start_total_bytes", "All of it", progress.total);
}

void addCalls(Page& page, const CallMeters& calls) {
  auto forEach = [&](auto&& add) {
    for (auto& transport : TRANSPORTS) {
      for (auto& operation : OPERATIONS) {
        add(calls.of(transport.face, uint32_t(operation.kind)),
            Labels{{"transport", transport.name}, {"operation", operation.name}});
      }
    }
  };
  page.histograms("ledgerd_operation_duration_seconds",
                  "Of all operations, until their answer is known");
  forEach([&](const CallMeters::OfOperation& one, Labels labels) { page.add(one.times, labels); });
  page.counters("ledgerd_operation_errors_total", "Operations that were refused, by gRPC's codes");
  forEach([&](const CallMeters::OfOperation& one, const Labels& labels) {
    for (uint32_t code = 0; code < CallMeters::CODES; ++code) {
      const auto* name = nameOfCode(code);
      if (name == nullptr || one.errors[code].get() == 0) continue;
      auto withCode = labels;
      withCode.push_back({"code", name});
      page.add(one.errors[code].get(), withCode);
    }
  });
  page.gauges("ledgerd_calls_in_flight", "Calls that are not answered yet");
  for (auto& transport : TRANSPORTS) {
    page.add(calls.inFlight[uint32_t(transport.face)].get(), {{"transport", transport.name}});
  }

  const std::pair<const char*, const CallMeters::Payloads&> forms[] = {
      {"message", calls.inMessages}, {"arena", calls.inArenas}, {"store", calls.inStore}};
  page.counters("ledgerd_reply_payloads_total",
                "Replies over Cap'n Proto with a payload, by where that is");
  for (auto& [form, payloads] : forms) page.add(payloads.count.get(), {{"form", form}});
  page.counters("ledgerd_reply_payload_bytes_total", "Bytes of these payloads");
  for (auto& [form, payloads] : forms) page.add(payloads.bytes.get(), {{"form", form}});
}

void addHost(Page& page, const Host& host) {
  page.gauge("ledgerd_sessions", "Sessions over Cap'n Proto", host.sessions);
  page.gauge("ledgerd_worker_queue_length", "Operations that wait for a worker",
             host.workers.queued());
  const std::pair<const char*, const shm::MemoryBudget&> budgets[] = {
      {"memory", host.memory},
      {"shared_memory", host.sharedMemory},
      {"grpc_replies", host.grpcReplies}};
  page.gauges("ledgerd_memory_used_bytes", "Memory that is taken, of a limit");
  for (auto& [name, budget] : budgets) page.add(budget.used(), {{"limit", name}});
  page.gauges("ledgerd_memory_limit_bytes", "That limit");
  for (auto& [name, budget] : budgets) page.add(budget.limit(), {{"limit", name}});
}

void addStore(Page& page, const LedgerStats& stats) {
  page.gauge("ledgerd_trie_nodes", "Nodes of all tries, leaves included", stats.nodes);
  page.gauge("ledgerd_trie_leaves", "Leaves of all tries", stats.leaves);
  page.gauge("ledgerd_values", "Values in the store", stats.values);
  page.gauge("ledgerd_value_bytes", "Bytes of these values, with keys", stats.valueBytes);
  page.gauge("ledgerd_store_committed_bytes", "Shared memory of the store", stats.committedBytes);

  page.gauges("ledgerd_log_state", "1 for how the log is, 0 for the others");
  const std::pair<const char*, LogHealth::State> states[] = {
      {"good", LogHealth::State::GOOD},
      {"refused", LogHealth::State::REFUSED},
      {"failed", LogHealth::State::FAILED}};
  for (auto& [name, state] : states) page.add(state == stats.log.state, {{"state", name}});

  const auto& checkpoints = stats.checkpoints;
  page.gauge("ledgerd_checkpoint_newest", "Number of the newest checkpoint; -1: there is none",
             checkpoints.newest.map([](uint64_t number) { return double(number); }).orDefault(-1));
  page.gauge("ledgerd_checkpoint_running", "1 while one is being written",
             checkpoints.running != nullptr);
  page.gauge("ledgerd_checkpoint_done_bytes", "Of that one", checkpoints.doneBytes);
  page.gauge("ledgerd_checkpoint_total_bytes", "All of it, estimated", checkpoints.totalBytes);
  page.gauge("ledgerd_checkpoint_failed", "1 if the last attempt failed",
             checkpoints.failure.size() > 0);
}

}  // namespace

kj::String renderMetrics(const LedgerMeters& meters, const ServiceState& state) {
  Page page;
  addLedger(page, meters);
  addProcess(page);
  addState(page, state.progress());
  state.withHost([&](const Host& host) {
    const auto stats = host.ledger.stats();
    addForest(page, stats);
    addCalls(page, host.calls);
    addHost(page, host);
    addStore(page, stats);
  });
  return page.text();
}

}  // namespace ledger::server
