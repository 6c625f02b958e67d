// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/progress.h"

#include "tools/ledgerctl/text.h"

#include <cstdio>

#include <unistd.h>

namespace ledgerctl {
namespace {

constexpr int CELLS = 30;
constexpr kj::Duration INTERVAL = 100 * kj::MILLISECONDS;

}  // namespace

kj::String renderBar(kj::StringPtr what, uint64_t done, uint64_t total) {
  const double share = total == 0 ? 1 : kj::min(1.0, double(done) / double(total));
  char cells[CELLS + 1] = {};
  for (int cell = 0; cell < CELLS; ++cell) cells[cell] = cell < share * CELLS ? '#' : ' ';
  char percent[8];
  snprintf(percent, sizeof(percent), "%3d %%", int(share * 100));
  return kj::str(what, "  [", cells, "] ", percent, "  ", sizeText(done), " of ", sizeText(total));
}

ProgressBar::ProgressBar(Form form, const kj::MonotonicClock& clock)
    : form(form), clock(clock), shown(clock.now()) {}

ProgressBar::~ProgressBar() noexcept(false) {
  clear();
}

void ProgressBar::update(kj::StringPtr what, uint64_t done, uint64_t total) {
  if (form == Form::NONE) return;
  const auto now = clock.now();
  if (now - shown < INTERVAL) return;
  shown = now;
  isVisible = true;
  fprintf(stderr, "\r%s\033[K", renderBar(what, done, total).cStr());
  fflush(stderr);
}

void ProgressBar::clear() {
  if (isVisible) fputs("\r\033[K", stderr);
  isVisible = false;
}

ProgressBar::Form progressForm(const Output& output) {
  bool isWatched = !output.isJson() && isatty(STDERR_FILENO);
  return isWatched ? ProgressBar::Form::TERMINAL : ProgressBar::Form::NONE;
}

}  // namespace ledgerctl
