// SPDX-License-Identifier: Apache-2.0
#pragma once
// How far a start has come: a bar on a terminal, now and then a log line elsewhere.

#include "ledger/ledger.h"

#include <kj/string.h>
#include <kj/time.h>

namespace ledger::server {

// "loading checkpoint  [#####     ]  50 %  1.5 of 3.0 GiB".
kj::String renderBar(const Progress& progress);

// Thread: the one that opens the ledger.
class ProgressBar final {
public:
  enum class Form { TERMINAL, LOG };
  ProgressBar(Form form, const kj::MonotonicClock& clock);
  ~ProgressBar() noexcept(false);  // Clears the bar.
  KJ_DISALLOW_COPY(ProgressBar);

  // May be called as often as one likes.
  void update(const Progress& progress);

private:
  const Form form;
  const kj::MonotonicClock& clock;
  kj::TimePoint shown;     // When something was last shown.
  bool isVisible = false;  // There is a bar on the terminal.
};

}  // namespace ledger::server
