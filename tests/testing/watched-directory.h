// SPDX-License-Identifier: Apache-2.0
#pragma once
// A directory whose every step somebody is told of, before and after: to die there, or to dawdle.

#include "tests/testing/disk-step.h"

#include <kj/filesystem.h>

namespace ledger::testing {

// Thread: called on whichever makes the step, by several at once.
class StepWatcher {
public:
  virtual void before(const DiskStep& step) = 0;
  virtual void after(const DiskStep& step) = 0;

protected:
  ~StepWatcher() = default;
};

// Passes everything on to `inner`, descriptors included. `watcher` must outlive it.
kj::Own<const kj::Directory> watchSteps(kj::Own<const kj::Directory> inner, StepWatcher& watcher);

}  // namespace ledger::testing
