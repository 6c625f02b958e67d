// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer.h"

#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/writer-file.h"
#include "ledger/checkpoint/writer-nodes.h"
#include "ledger/checkpoint/writer-temporaries.h"

#include <kj/debug.h>
#include <kj/mutex.h>
#include <kj/thread.h>
#include <kj/vector.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace ledger {
namespace {

constexpr unsigned HEADER = CHECKPOINT_PARTS;  // Index of the header among the files.
constexpr unsigned FILES = CHECKPOINT_PARTS + 1;

// What rename(2) does. That nothing is overwritten is seen to before; a rename that refuses to
// overwrite is not known to every file system.
constexpr kj::WriteMode OVERWRITE = kj::WriteMode::CREATE | kj::WriteMode::MODIFY;

enum class Outcome { WRITTEN, STOPPED };

// With its context, which says which file it was.
kj::String describe(const kj::Exception& exception) {
  auto text = kj::str(exception.getDescription());
  auto context = exception.getContext();
  for (;;) {
    KJ_IF_MAYBE (it, context) {
      text = kj::str(it->description, ": ", text);
      context = it->next.map(
          [](const kj::Own<kj::Exception::Context>& next) -> const kj::Exception::Context& {
            return *next;
          });
    } else {
      return text;
    }
  }
}

class CheckpointWriting {
public:
  CheckpointWriting(const kj::Directory& directory, kj::StringPtr name,
                    kj::ArrayPtr<const kj::Own<const Trie>> tries, CheckpointWriteOptions options)
      : directory(directory),
        tries(tries),
        store(tries[0]->store()),
        options(kj::mv(options)),
        halt(*this),
        estimate(estimateCheckpointSize(store)) {
    for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
      outputs[i].finalName = checkpointPartName(name, i);
    }
    outputs[HEADER].finalName = kj::str(name);
  }

  // The first file of this checkpoint that is there already, a link that leads nowhere included.
  kj::Maybe<kj::StringPtr> findExisting() const {
    for (auto& output : outputs) {
      if (directory.tryLstat(kj::Path(output.finalName)) != nullptr) {
        return output.finalName.asPtr();
      }
    }
    return nullptr;
  }

  Outcome run() {
    writeSubtriesSideBySide();
    if (halt.requested()) return Outcome::STOPPED;
    if (writeTop() == Outcome::STOPPED) return Outcome::STOPPED;
    writeHeader();
    directory.sync();
    if (options.stop.requested()) return Outcome::STOPPED;
    KJ_IF_MAYBE (existing, findExisting()) {
      KJ_FAIL_REQUIRE("a checkpoint file appeared while the checkpoint was being written",
                      *existing);
    }
    for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) giveFinalName(outputs[i]);
    directory.sync();
    giveFinalName(outputs[HEADER]);
    directory.sync();
    const uint64_t bytes = *done.lockExclusive();
    options.progress(bytes, bytes);
    return Outcome::WRITTEN;
  }

  // Removes all that was made. Returns what could not be removed, and why. If it ends half-way, by
  // a crash or a fault, it leaves what removeInterruptedCheckpoints() knows: the header has its
  // temporary name again before the first part goes, and that name goes after the last one.
  kj::String undo() {
    kj::Vector<kj::String> left;
    auto attempt = [&](kj::StringPtr what, auto&& step) {
      auto failure = kj::runCatchingExceptions(step);
      KJ_IF_MAYBE (exception, failure) {
        left.add(kj::str("; left behind: ", what, ": ", exception->getDescription()));
      }
      return failure == nullptr;
    };
    auto remove = [&](kj::StringPtr name) {
      attempt(name, [&]() { directory.tryRemove(kj::Path(name)); });
    };
    auto& header = outputs[HEADER];
    if (header.finalNameUsed && !attempt(header.finalName, [&]() {
          if (directory.tryTransfer(kj::Path(header.temporaryName), OVERWRITE, directory,
                                    kj::Path(header.finalName), kj::TransferMode::MOVE)) {
            header.temporaryNameUsed = true;
          }
          directory.sync();
        })) {
      return kj::str(left[0], " (complete, with all its parts)");
    }
    for (auto& output : kj::arrayPtr(outputs.data(), CHECKPOINT_PARTS)) {
      if (output.finalNameUsed) remove(output.finalName);
      if (output.temporaryNameUsed) remove(output.temporaryName);
    }
    if (header.temporaryNameUsed && attempt(header.temporaryName, [&]() { directory.sync(); })) {
      remove(header.temporaryName);
    }
    return kj::strArray(left, "");
  }

  WrittenCheckpoint written() const { return {*done.lockShared(), subtrieNodes + topNodes}; }

private:
  struct Output {
    kj::String finalName;
    kj::String temporaryName;
    bool temporaryNameUsed = false;
    bool finalNameUsed = false;  // There may be a file of this attempt.
    uint32_t crc = 0;
  };

  // A subtrie part, as the top part refers to it.
  struct Subtries {
    kj::Maybe<NodeNumbers> roots;  // Nodes at CHECKPOINT_SUBTRIE_HEIGHT.
    uint64_t nodes = 0;
    uint64_t nodesBefore = 0;  // In the parts before.
  };

  class Halt final : public Stop {
  public:
    explicit Halt(const CheckpointWriting& writing) : writing(writing) {}
    bool requested() const override {
      return writing.failed.load(std::memory_order_relaxed) || writing.options.stop.requested();
    }

  private:
    const CheckpointWriting& writing;
  };

  // Opens the temporary file, lets `fill` add all between prefix and checksum, and completes it. If
  // `fill` returns STOPPED the file stays incomplete.
  template <typename Fill>
  Outcome writeFile(Output& output, uint16_t magic, Fill&& fill) {
    auto temporary = createTemporary(directory, output.finalName);
    output.temporaryName = kj::mv(temporary.name);
    output.temporaryNameUsed = true;
    GiveWay giveWay(options.sets);
    CheckpointFile file(*temporary.file, output.temporaryName, [&](uint64_t bytes) {
      {
        auto lock = done.lockExclusive();
        *lock += bytes;
        options.progress(*lock, std::max(*lock, estimate));
      }
      giveWay.afterPiece();
      return giveWay.isQuiet() ? CheckpointFile::Queue::LONG : CheckpointFile::Queue::SHORT;
    });
    file.number(magic);
    file.number(CHECKPOINT_VERSION);
    if (fill(file) == Outcome::STOPPED) return Outcome::STOPPED;
    output.crc = file.finish();
    return Outcome::WRITTEN;
  }

  Outcome writeSubtries(unsigned part) {
    return writeFile(outputs[part], CHECKPOINT_SUBTRIE_MAGIC, [&](CheckpointFile& file) {
      NodeWriter nodes(store, file, halt, 1);
      auto& own = subtries[part];
      NodeNumbers roots(*store.budget);
      for (const auto& trie : tries) {
        auto top = subtrieOf(*trie, part);
        auto number = nodes.write(top, CHECKPOINT_SUBTRIE_HEIGHT);
        if (nodes.stopped() || halt.requested()) return Outcome::STOPPED;
        if (number != 0 && roots.find(top) == 0) roots.add(top, number);
      }
      own.nodes = nodes.count();
      own.roots = kj::mv(roots);
      file.number(own.nodes);
      return Outcome::WRITTEN;
    });
  }

  // The node at CHECKPOINT_SUBTRIE_HEIGHT below the path prefix `part`, or null.
  NodeRef subtrieOf(const Trie& trie, unsigned part) const {
    auto node = trie.root();
    for (unsigned height = TRIE_HEIGHT; height > CHECKPOINT_SUBTRIE_HEIGHT; --height) {
      if (node.isNull() || node.isLeaf()) return {};
      const auto& interior = store.nodes.interior(node);
      node = part >> (height - CHECKPOINT_SUBTRIE_HEIGHT - 1) & 1 ? interior.right : interior.left;
    }
    return node;
  }

  void writeSubtriesSideBySide() {
    std::atomic<unsigned> next = 0;
    auto work = [&]() {
      for (unsigned part; (part = next.fetch_add(1)) < CHECKPOINT_SUBTRIES;) {
        auto outcome = Outcome::STOPPED;
        KJ_IF_MAYBE (exception,
                     kj::runCatchingExceptions([&]() { outcome = writeSubtries(part); })) {
          auto lock = failure.lockExclusive();
          if (*lock == nullptr) *lock = kj::mv(*exception);
          failed = true;
        }
        if (outcome == Outcome::STOPPED) return;
      }
    };
    {
      kj::Vector<kj::Own<kj::Thread>> threads;  // Joined at the end of the block.
      KJ_ON_SCOPE_FAILURE(failed = true);
      for (unsigned i = 1; i < options.threads; ++i) {
        threads.add(kj::heap<kj::Thread>(work));
      }
      work();
    }
    KJ_IF_MAYBE (exception, *failure.lockExclusive()) {
      kj::throwFatalException(kj::mv(*exception));
    }
    for (auto& part : subtries) {
      part.nodesBefore = subtrieNodes;
      subtrieNodes += part.nodes;
    }
  }

  Outcome writeTop() {
    auto& output = outputs[CHECKPOINT_TOP_PART];
    return writeFile(output, CHECKPOINT_TOP_MAGIC, [&](CheckpointFile& file) {
      file.number(subtrieNodes);
      NodeWriter nodes(store, file, halt, subtrieNodes + 1, CHECKPOINT_SUBTRIE_HEIGHT + 1,
                       [this](NodeRef node, unsigned prefix) {
                         const auto& part = subtries[prefix];
                         auto number = KJ_ASSERT_NONNULL(part.roots).find(node);
                         KJ_ASSERT(number != 0, "a subtrie that is in no part", prefix);
                         return part.nodesBefore + number;
                       });
      auto roots = kj::heapArray<uint64_t>(tries.size());
      for (size_t i = 0; i < tries.size(); ++i) {
        roots[i] = nodes.write(tries[i]->root(), TRIE_HEIGHT);
        if (nodes.stopped() || halt.requested()) return Outcome::STOPPED;
      }
      for (size_t i = 0; i < tries.size(); ++i) {
        file.number(roots[i]);
        file.number(tries[i]->size().registers);
        file.number(tries[i]->size().bytes);
        file.bytes(tries[i]->rootHash().ptr());
      }
      topNodes = nodes.count();
      file.number(topNodes);
      file.number(static_cast<uint16_t>(tries.size()));
      return Outcome::WRITTEN;
    });
  }

  void writeHeader() {
    writeFile(outputs[HEADER], CHECKPOINT_HEADER_MAGIC,
              [&](CheckpointFile& file) {
                file.number(static_cast<uint16_t>(CHECKPOINT_SUBTRIES));
                for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) file.number(outputs[i].crc);
                return Outcome::WRITTEN;
              });
  }

  void giveFinalName(Output& output) {
    output.finalNameUsed = true;  // Even if an error is reported.
    directory.transfer(kj::Path(output.finalName), OVERWRITE, kj::Path(output.temporaryName),
                       kj::TransferMode::MOVE);
    output.temporaryNameUsed = false;
  }

  const kj::Directory& directory;
  const kj::ArrayPtr<const kj::Own<const Trie>> tries;
  const Store& store;
  CheckpointWriteOptions options;  // progress: under the lock of `done`.
  const Halt halt;
  const uint64_t estimate;  // Bytes.

  // Each entry is one thread's while subtries are written; the rest does not change then.
  std::array<Output, FILES> outputs;
  std::array<Subtries, CHECKPOINT_SUBTRIES> subtries;
  uint64_t subtrieNodes = 0;
  uint64_t topNodes = 0;

  kj::MutexGuarded<uint64_t> done{0};  // Bytes.
  std::atomic<bool> failed = false;  // Others need not go on. Only a hint: relaxed.
  kj::MutexGuarded<kj::Maybe<kj::Exception>> failure;
};

}  // namespace

Result<WrittenCheckpoint> writeCheckpoint(const kj::Directory& directory, kj::StringPtr name,
                                          kj::ArrayPtr<const kj::Own<const Trie>> tries,
                                          CheckpointWriteOptions options) {
  KJ_REQUIRE(options.threads >= 1 && options.threads <= CHECKPOINT_SUBTRIES, options.threads);
  if (tries.size() < 1 || tries.size() > CHECKPOINT_MAX_TRIES) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, "a checkpoint holds 1 to ",
                     CHECKPOINT_MAX_TRIES, " tries, not ", tries.size());
  }
  for (const auto& trie : tries) {
    KJ_REQUIRE(&trie->store() == &tries[0]->store(), "tries of several stores");
  }

  CheckpointWriting writing(directory, name, tries, kj::mv(options));
  KJ_IF_MAYBE (existing, writing.findExisting()) {
    return makeError(Code::FAILED_PRECONDITION, Reason::BAD_REQUEST, "checkpoint file ", *existing,
                     " already exists");
  }
  auto outcome = Outcome::STOPPED;
  auto failure = kj::runCatchingExceptions([&]() { outcome = writing.run(); });
  if (failure == nullptr && outcome == Outcome::WRITTEN) return writing.written();

  auto left = writing.undo();
  KJ_IF_MAYBE (exception, failure) {
    kj::throwFatalException(kj::Exception(exception->getType(), __FILE__, __LINE__,
                                          kj::str(describe(*exception), left)));
  }
  KJ_REQUIRE(left.size() == 0, "a stopped checkpoint could not be removed", left);
  return makeError(Code::CANCELLED, Reason::CANCELLED, "checkpoint ", name, " was stopped");
}

uint64_t estimateCheckpointSize(const Store& store) {
  constexpr uint64_t PAYLOAD_LENGTHS = 8;  // Of key and value.
  // Nodes may come and go between these.
  auto nodes = store.nodes.live();
  auto leaves = std::min(store.liveLeaves(), nodes);
  auto payloads = std::max<uint64_t>(store.payloads.live(), 1);
  auto headers = payloads * sizeof(PayloadHeader);
  auto payloadBytes = store.payloads.liveBytes();
  auto meanPayload = payloadBytes > headers ? (payloadBytes - headers) / payloads : 0;
  return CHECKPOINT_HEADER_SIZE +
         CHECKPOINT_SUBTRIES * (CHECKPOINT_PREFIX_SIZE + CHECKPOINT_SUBTRIE_FOOTER) +
         CHECKPOINT_TOP_PREFIX + CHECKPOINT_TOP_FOOTER +
         leaves * (CHECKPOINT_LEAF_SIZE + PAYLOAD_LENGTHS + meanPayload) +
         (nodes - leaves) * CHECKPOINT_INTERIOR_SIZE;
}

}  // namespace ledger
