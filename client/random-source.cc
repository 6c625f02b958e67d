// SPDX-License-Identifier: Apache-2.0
#include "client/random-source.h"

#include <kj/debug.h>

#include <sys/random.h>

namespace ledger::client {

RandomSource& RandomSource::system() {
  static struct final : public RandomSource {
    void fill(kj::ArrayPtr<kj::byte> out) override {
      while (out.size() > 0) {
        ssize_t filled;
        KJ_SYSCALL(filled = getrandom(out.begin(), out.size(), 0));
        out = out.slice(filled, out.size());
      }
    }
  } SYSTEM;
  return SYSTEM;
}

}  // namespace ledger::client
