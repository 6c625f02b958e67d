// SPDX-License-Identifier: Apache-2.0
#include "server/progress-bar.h"

#include <spdlog/spdlog.h>

#include <cstdio>

namespace ledger::server {
namespace {

constexpr int CELLS = 30;
constexpr kj::Duration BAR_INTERVAL = 100 * kj::MILLISECONDS;
constexpr kj::Duration LOG_INTERVAL = 10 * kj::SECONDS;

kj::StringPtr nameOf(Progress::Phase phase) {
  switch (phase) {
    case Progress::Phase::CHECKPOINT:
      return "loading checkpoint"_kj;
    case Progress::Phase::REPLAY:
      return "replaying log     "_kj;
  }
  return "opening           "_kj;
}

}  // namespace

kj::String renderBar(const Progress& progress) {
  const double share =
      progress.total == 0 ? 1 : kj::min(1.0, double(progress.done) / double(progress.total));
  char cells[CELLS + 1] = {};
  for (int cell = 0; cell < CELLS; ++cell) cells[cell] = cell < share * CELLS ? '#' : ' ';

  const bool large = progress.total >= uint64_t(1) << 30;
  const double unit = large ? double(1 << 30) : double(1 << 20);
  char line[128];
  snprintf(line, sizeof(line), "%s  [%s] %3d %%  %.1f of %.1f %s", nameOf(progress.phase).cStr(),
           cells, int(share * 100), progress.done / unit, progress.total / unit,
           large ? "GiB" : "MiB");
  return kj::str(line);
}

ProgressBar::ProgressBar(Form form, const kj::MonotonicClock& clock)
    : form(form), clock(clock), shown(clock.now()) {}

ProgressBar::~ProgressBar() noexcept(false) {
  if (isVisible) fputs("\r\033[K", stderr);
}

void ProgressBar::update(const Progress& progress) {
  const auto now = clock.now();
  if (now - shown < (form == Form::TERMINAL ? BAR_INTERVAL : LOG_INTERVAL)) return;
  shown = now;
  auto line = renderBar(progress);
  if (form == Form::TERMINAL) {
    isVisible = true;
    fprintf(stderr, "\r%s\033[K", line.cStr());
    fflush(stderr);
  } else {
    spdlog::info("{}", line.cStr());
  }
}

}  // namespace ledger::server
