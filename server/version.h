// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <kj/string.h>

namespace ledger::server {

constexpr kj::StringPtr VERSION = "0.1.0"_kj;

}  // namespace ledger::server
