// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/sha3.h"

#include "ledger/hash/default-table.h"
#include "ledger/hash/kernels.h"

#include <kj/debug.h>

// Jobs of one call are independent. Here they are checked and handed out; a lane kernel runs as
// many at a time as it has lanes, and a scalar kernel what is left.

namespace ledger::hash {
namespace {

// Fewer jobs than this are not worth a lane kernel (LEAST_BUSY_LANES, lane-kernel.h).
constexpr size_t LEAST_JOBS = 2;

MessageRun runOf(const Message& message, Hash& out) {
  return {.first = message.first.begin(),
          .firstSize = message.first.size(),
          .second = message.second.begin(),
          .secondSize = message.second.size(),
          .out = out.bytes.data()};
}

Hash hashMessage(const Message& message) {
  Hash result;
  MessageRun run = runOf(message, result);
  uint64_t state[STATE_WORDS] = {};
  kernels().scalar->finishMessage(run, state);
  return result;
}

// The messages of a call, as the kernels take them.
class Messages {
public:
  Messages(kj::ArrayPtr<const Message> messages, kj::ArrayPtr<Hash> out)
      : messages(messages), out(out) {}

  Source<MessageRun> source() {
    return {[](void* self, MessageRun& run) { return static_cast<Messages*>(self)->next(run); },
            this};
  }

  bool next(MessageRun& run) {
    if (taken == messages.size()) return false;
    run = runOf(messages[taken], out[taken]);
    ++taken;
    return true;
  }

private:
  kj::ArrayPtr<const Message> messages;
  kj::ArrayPtr<Hash> out;
  size_t taken = 0;
};

void requireAscending(const ChainJob& job) {
  unsigned height = job.from;
  for (unsigned target : job.heights) {
    KJ_REQUIRE(target >= height && target <= TRIE_HEIGHT, "a chain's heights must ascend", height,
               target);
    height = target;
  }
}

// The chains of a call, as the kernels take them: those that have a level to climb.
class Chains {
public:
  explicit Chains(kj::ArrayPtr<const ChainJob> jobs) : jobs(jobs) {}

  Source<ChainRun> source() {
    return {[](void* self, ChainRun& run) { return static_cast<Chains*>(self)->next(run); }, this};
  }

  bool next(ChainRun& run) {
    while (taken < jobs.size()) {
      const ChainJob& job = jobs[taken++];
      run = {.path = job.path->bytes.data(),
             .hash = job.start.bytes.data(),
             .height = job.from,
             .stops = job.heights.begin(),
             .stopsEnd = job.heights.end(),
             .out = reinterpret_cast<unsigned char*>(job.out)};
      if (settle(run, run.hash)) return true;
    }
    return false;
  }

private:
  kj::ArrayPtr<const ChainJob> jobs;
  size_t taken = 0;
};

static_assert(sizeof(Hash) == HASH_SIZE, "a list of hashes is their bytes");
static_assert(TRIE_HEIGHT == TOP_HEIGHT);

// At most as many jobs as lanes.
void hashSideBySide(const LaneKernel& kernel, kj::ArrayPtr<const InteriorJob> jobs) {
  const unsigned char* left[MAX_LANES];
  const unsigned char* right[MAX_LANES];
  unsigned char* out[MAX_LANES];
  Hash dropped;
  for (unsigned lane = 0; lane < kernel.lanes; ++lane) {
    // A lane too many does the first job again, for nothing.
    const bool idle = lane >= jobs.size();
    const InteriorJob& job = jobs[idle ? 0 : lane];
    left[lane] = job.left->bytes.data();
    right[lane] = job.right->bytes.data();
    out[lane] = idle ? dropped.bytes.data() : job.out->bytes.data();
  }
  kernel.hashPairs(left, right, out);
}

}  // namespace

void sha3(kj::ArrayPtr<const Message> messages, kj::ArrayPtr<Hash> out) {
  KJ_REQUIRE(messages.size() == out.size(), "as many hashes as messages", messages.size(),
             out.size());
  const Kernels& kernel = kernels();
  Messages runs(messages, out);
  if (kernel.lanes != nullptr && messages.size() >= LEAST_JOBS) {
    UnfinishedMessage unfinished[MAX_LANES];
    const size_t count = kernel.lanes->runMessages(runs.source(), unfinished);
    for (auto& rest : kj::arrayPtr(unfinished, count)) {
      kernel.scalar->finishMessage(rest.run, rest.state);
    }
  }
  MessageRun run;
  while (runs.next(run)) {
    uint64_t state[STATE_WORDS] = {};
    kernel.scalar->finishMessage(run, state);
  }
}

Hash sha3(kj::ArrayPtr<const kj::byte> message) {
  return hashMessage({message, nullptr});
}

Hash hashLeaf(const Path& path, Value value) {
  return hashMessage({path.ptr(), value});
}

Hash hashInterior(const Hash& left, const Hash& right) {
  Hash result;
  kernels().scalar->hashPair(left.bytes.data(), right.bytes.data(), result.bytes.data());
  return result;
}

void hashInteriors(kj::ArrayPtr<const InteriorJob> jobs) {
  const Kernels& kernel = kernels();
  if (kernel.lanes != nullptr) {
    while (jobs.size() >= LEAST_JOBS) {
      const size_t count = kj::min(jobs.size(), kernel.lanes->lanes);
      hashSideBySide(*kernel.lanes, jobs.slice(0, count));
      jobs = jobs.slice(count, jobs.size());
    }
  }
  for (const auto& job : jobs) {
    kernel.scalar->hashPair(job.left->bytes.data(), job.right->bytes.data(), job.out->bytes.data());
  }
}

void runChains(kj::ArrayPtr<const ChainJob> jobs) {
  for (const auto& job : jobs) requireAscending(job);
  const Kernels& kernel = kernels();
  const auto* defaults = reinterpret_cast<const unsigned char*>(defaultTable().data());
  Chains runs(jobs);
  if (kernel.lanes != nullptr && jobs.size() >= LEAST_JOBS) {
    UnfinishedChain unfinished[MAX_LANES];
    const size_t count = kernel.lanes->runChains(runs.source(), defaults, unfinished);
    for (auto& rest : kj::arrayPtr(unfinished, count)) {
      kernel.scalar->finishChain(rest.run, defaults);
    }
  }
  ChainRun run;
  while (runs.next(run)) kernel.scalar->finishChain(run, defaults);
}

}  // namespace ledger::hash
