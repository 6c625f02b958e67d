// SPDX-License-Identifier: Apache-2.0
#include "server/socket-owner.h"

#include <algorithm>
#include <string>

#include <grp.h>
#include <pwd.h>

namespace ledger::server {
namespace {

// Null: no number, or nobody's: the last one means "unchanged" to the system.
kj::Maybe<uint32_t> parseId(const std::string& text) {
  const bool isNumber =
      text.size() <= 10 && std::all_of(text.begin(), text.end(), [](char c) {
        return c >= '0' && c <= '9';
      });
  if (!isNumber) return nullptr;
  const auto number = std::stoull(text);
  if (number >= UINT32_MAX) return nullptr;
  return uint32_t(number);
}

}  // namespace

kj::OneOf<SocketOwner, kj::String> parseSocketOwner(kj::StringPtr given) {
  const std::string text = given.cStr();
  const auto colon = text.find(':');
  const auto user = text.substr(0, colon);
  const bool withGroup = colon != std::string::npos;
  const auto group = withGroup ? text.substr(colon + 1) : "";
  if ((user.empty() && !withGroup) || (withGroup && group.empty())) {
    return kj::str("\"", text, "\" names nobody: it is USER, USER:GROUP or :GROUP");
  }

  SocketOwner owner;
  if (!user.empty()) {
    owner.user = parseId(user);
    if (owner.user == nullptr) {
      const auto* entry = getpwnam(user.c_str());
      if (entry == nullptr) return kj::str("there is no user \"", user, "\"");
      owner.user = entry->pw_uid;
    }
  }
  if (!group.empty()) {
    owner.group = parseId(group);
    if (owner.group == nullptr) {
      const auto* entry = getgrnam(group.c_str());
      if (entry == nullptr) return kj::str("there is no group \"", group, "\"");
      owner.group = entry->gr_gid;
    }
  }
  return owner;
}

}  // namespace ledger::server
