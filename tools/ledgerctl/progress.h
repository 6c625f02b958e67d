// SPDX-License-Identifier: Apache-2.0
#pragma once
// How far a long command has come: a bar on standard error, for people who watch.

#include "tools/ledgerctl/output.h"

#include <kj/string.h>
#include <kj/time.h>

#include <cstdint>

namespace ledgerctl {

// "reading  [###############               ]  50 %  1.5 MiB of 3.0 MiB".
kj::String renderBar(kj::StringPtr what, uint64_t done, uint64_t total);

// Thread: one.
class ProgressBar final {
public:
  enum class Form { TERMINAL, NONE };

  ProgressBar(Form form, const kj::MonotonicClock& clock);
  ~ProgressBar() noexcept(false);  // Clears the bar.
  KJ_DISALLOW_COPY(ProgressBar);

  // In bytes. May be called as often as one likes.
  void update(kj::StringPtr what, uint64_t done, uint64_t total);
  void clear();

private:
  const Form form;
  const kj::MonotonicClock& clock;
  kj::TimePoint shown;     // When the bar was last drawn.
  bool isVisible = false;  // There is a bar on the terminal.
};

// With --json, or where nobody watches standard error, there is no bar.
ProgressBar::Form progressForm(const Output& output);

}  // namespace ledgerctl
