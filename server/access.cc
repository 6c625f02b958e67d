// SPDX-License-Identifier: Apache-2.0
#include "server/access.h"

#include <kj/vector.h>

#include <algorithm>
#include <cerrno>

#include <sys/socket.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59  // Linux 4.13.
#endif

namespace ledger::server {
namespace {

// As many as a process can have.
constexpr size_t MOST_GROUPS = 65536;

kj::Array<gid_t> supplementaryGroups(int socket) {
  for (size_t room = 64; room <= MOST_GROUPS; room *= 4) {
    auto groups = kj::heapArray<gid_t>(room);
    socklen_t length = room * sizeof(gid_t);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.begin(), &length) == 0) {
      return kj::heapArray(groups.slice(0, length / sizeof(gid_t)));
    }
    if (errno != ERANGE) break;  // An older kernel does not say.
  }
  return nullptr;
}

template <typename T>
bool contains(kj::ArrayPtr<const T> list, T item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

kj::Maybe<PeerIdentity> PeerIdentity::of(kj::AsyncIoStream& stream) {
  KJ_IF_MAYBE (socket, stream.getFd()) {
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    if (getsockopt(*socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
      kj::Vector<gid_t> groups;
      groups.add(credentials.gid);
      groups.addAll(supplementaryGroups(*socket));
      return PeerIdentity{credentials.uid, credentials.pid, groups.releaseAsArray()};
    }
  }
  return nullptr;
}

bool AccessRules::Names::includes(const PeerIdentity& peer) const {
  if (contains(users.asPtr(), peer.user)) return true;
  return std::any_of(peer.groups.begin(), peer.groups.end(),
                     [this](gid_t group) { return contains(groups.asPtr(), group); });
}

AccessRules::AccessRules(uid_t self, Names writers, Names readers,
                         kj::Maybe<kj::Array<const uid_t>> storeReaders)
    : self(self),
      writers(kj::mv(writers)),
      readers(kj::mv(readers)),
      storeReaders(kj::mv(storeReaders)) {}

Access AccessRules::accessOf(kj::Maybe<const PeerIdentity&> peer) const {
  const bool isOpen = writers.isEmpty() && readers.isEmpty();
  if (isOpen) return Access::WRITE;
  KJ_IF_MAYBE (p, peer) {
    if (p->user == self || writers.includes(*p)) return Access::WRITE;
    if (readers.isEmpty() || readers.includes(*p)) return Access::READ;
    return Access::NONE;
  }
  return readers.isEmpty() ? Access::READ : Access::NONE;
}

bool AccessRules::isSelf(kj::Maybe<const PeerIdentity&> peer) const {
  KJ_IF_MAYBE (p, peer) return p->user == self;
  return false;
}

bool AccessRules::mayMapStore(kj::Maybe<const PeerIdentity&> peer) const {
  KJ_IF_MAYBE (p, peer) {
    KJ_IF_MAYBE (users, storeReaders) return contains(users->asPtr(), p->user);
    return p->user == self || writers.includes(*p);
  }
  return false;
}

}  // namespace ledger::server
