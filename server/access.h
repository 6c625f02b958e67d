// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may do what, told by the user and groups of the process at the other end of a Unix socket.

#include <kj/array.h>
#include <kj/async-io.h>

#include <sys/types.h>

namespace ledger::server {

// A process, as it was when it connected.
struct PeerIdentity {
  uid_t user;
  pid_t process;  // 0: one that this process cannot see.
  kj::Array<const gid_t> groups;  // Its own and the supplementary ones.

  // Null: the kernel does not say.
  static kj::Maybe<PeerIdentity> of(kj::AsyncIoStream& stream);
};

enum class Access { NONE, READ, WRITE };  // In this order: each includes those before it.

// Thread: immutable.
class AccessRules final {
public:
  struct Names {
    kj::Array<const uid_t> users;
    kj::Array<const gid_t> groups;

    bool isEmpty() const { return users.size() == 0 && groups.size() == 0; }
    bool includes(const PeerIdentity& peer) const;
  };

  // `self` is the server's own user, who may read and write. Without any name, so may everybody who
  // can open the socket. Where writers or readers are named, nobody else writes; where readers are
  // named, nobody else but writers reads. `storeReaders` null: self and the named writers.
  AccessRules(uid_t self, Names writers, Names readers,
              kj::Maybe<kj::Array<const uid_t>> storeReaders);

  // Null, an unknown peer, has what everybody has.
  Access accessOf(kj::Maybe<const PeerIdentity&> peer) const;

  // Whether the server runs as the peer's user.
  bool isSelf(kj::Maybe<const PeerIdentity&> peer) const;

  // Whether the peer may map the store, and so read every state's values.
  bool mayMapStore(kj::Maybe<const PeerIdentity&> peer) const;

private:
  const uid_t self;
  const Names writers, readers;
  const kj::Maybe<kj::Array<const uid_t>> storeReaders;
};

}  // namespace ledger::server
