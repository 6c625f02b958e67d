// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an operator sets and sees of a ledger's log and checkpoints. Plain values.

#include <kj/common.h>
#include <kj/string.h>
#include <kj/time.h>

#include <cstdint>

namespace ledger {

// When the record of an answered Set is on disk. docs/durability.md says what each promises.
struct SyncPolicy {
  enum class Mode {
    ALWAYS,    // Before it is answered.
    INTERVAL,  // At most `interval` after it was written.
    NEVER,     // When the kernel likes, or where a segment ends.
  };
  Mode mode = Mode::ALWAYS;
  kj::Duration interval = 0 * kj::SECONDS;  // With INTERVAL.
};

// Whether Sets can be logged.
struct LogHealth {
  enum class State {
    GOOD,     // The last group of records was written, or there was none.
    REFUSED,  // It could not be written, and left no trace. The next Set tries again.
    FAILED,   // Nobody knows what is on disk: Sets are refused until the ledger is opened anew.
  };
  State state = State::GOOD;
  kj::String reason;  // Of the other two; else empty.

  LogHealth clone() const { return {state, kj::str(reason)}; }
};

// How writing checkpoints goes.
struct CheckpointStatus {
  kj::Maybe<uint64_t> newest;   // Number of the newest one on disk.
  kj::Maybe<uint64_t> running;  // Number of the one that is begun and not over.
  uint64_t doneBytes = 0;       // Of that one, as far as it is written.
  uint64_t totalBytes = 0;      // An estimate.
  kj::Duration elapsed = 0 * kj::SECONDS;  // Since it was begun.
  kj::String failure;           // Why the last attempt failed; empty if it did not.
  uint64_t newestBytes = 0;     // Of the last one written since the start; 0: none was.
  uint64_t truncations = 0;     // How often segments were removed from the log since then.

  CheckpointStatus clone() const {
    return {newest,           running,     doneBytes,  totalBytes, elapsed,
            kj::str(failure), newestBytes, truncations};
  }
};

// What happens by itself and belongs in an operator's log.
// Thread: every method may be called from any thread of the ledger's.
class Reporter {
public:
  virtual void info(kj::StringPtr text) const = 0;
  virtual void warn(kj::StringPtr text) const = 0;

  // Says nothing to anybody.
  static const Reporter& silent();

protected:
  ~Reporter() = default;
};

inline const Reporter& Reporter::silent() {
  static constexpr struct final : public Reporter {
    void info(kj::StringPtr) const override {}
    void warn(kj::StringPtr) const override {}
  } SILENT;
  return SILENT;
}

}  // namespace ledger
