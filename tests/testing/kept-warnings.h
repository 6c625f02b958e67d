// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a ledger tells its operator, kept until a test takes it.

#include "ledger/status.h"

#include <kj/mutex.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ledger::testing {

// Thread: as Reporter says; `onInfo` is set while no ledger is open or none tells anything.
class KeptWarnings final : public Reporter {
public:
  // Called with each text, on the thread that tells it.
  std::function<void(const std::string&)> onInfo = [](const std::string&) {};

  void info(kj::StringPtr text) const override { onInfo(text.cStr()); }
  void warn(kj::StringPtr text) const override { texts.lockExclusive()->push_back(text.cStr()); }
  std::vector<std::string> take() const { return std::exchange(*texts.lockExclusive(), {}); }

private:
  kj::MutexGuarded<std::vector<std::string>> texts;
};

}  // namespace ledger::testing
