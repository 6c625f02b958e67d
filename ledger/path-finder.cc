// SPDX-License-Identifier: Apache-2.0
#include "ledger/path-finder.h"

#include "ledger/hash/sha3.h"
#include "ledger/hash/sponge.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <charconv>

namespace ledger {
namespace {

constexpr size_t GROUP = 16;  // Keys hashed side by side.
constexpr size_t ORDINARY_KEY_SIZE = 216;
constexpr size_t SCRATCH_SIZE = 256;

// A part is 6 bytes and its value when encoded, at most 7 and its value in the canonical form.
static_assert((ORDINARY_KEY_SIZE - 2) * 7 / 6 <= SCRATCH_SIZE);

// Calls sink(bytes) with the pieces of the canonical form, in order.
template <typename Sink>
void emitCanonicalForm(EncodedKey key, Sink&& sink) {
  auto fault = visitParts(key, Strictness::STRICT, [&](KeyPart part) {
    char head[7] = {'/'};  // '/', five digits, '/'.
    auto end = std::to_chars(head + 1, head + 6, part.type).ptr;
    *end++ = '/';
    sink(kj::arrayPtr(head, end).asBytes());
    sink(part.value);
  });
  KJ_IF_MAYBE (error, fault) {
    KJ_FAIL_REQUIRE("a path of a malformed key", error->message);
  }
}

Path asPath(const Hash& hash) {
  return Path{hash.bytes};
}

// The canonical forms of up to GROUP ordinary keys, and where their paths go.
class Group {
public:
  void add(EncodedKey key, Path* out) {
    kj::byte* begin = scratch[count];
    kj::byte* end = begin;
    emitCanonicalForm(key, [&](kj::ArrayPtr<const kj::byte> piece) {
      if (piece.size() > 0) memcpy(end, piece.begin(), piece.size());
      end += piece.size();
    });
    messages[count] = {kj::arrayPtr(begin, end), nullptr};
    targets[count] = out;
    if (++count == GROUP) flush();
  }

  void flush() {
    hash::sha3(kj::arrayPtr(messages, count), kj::arrayPtr(hashes, count));
    for (size_t i = 0; i < count; ++i) *targets[i] = asPath(hashes[i]);
    count = 0;
  }

private:
  size_t count = 0;
  hash::Message messages[GROUP];
  Path* targets[GROUP];
  Hash hashes[GROUP];
  kj::byte scratch[GROUP][SCRATCH_SIZE];
};

}  // namespace

Path pathOf(EncodedKey key) {
  hash::Sponge sponge;
  emitCanonicalForm(key, [&](kj::ArrayPtr<const kj::byte> piece) { sponge.absorb(piece); });
  return asPath(sponge.squeeze());
}

void pathsOf(kj::ArrayPtr<const EncodedKey> keys, kj::ArrayPtr<Path> out) {
  KJ_REQUIRE(keys.size() == out.size(), "as many paths as keys", keys.size(), out.size());
  Group group;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].size() <= ORDINARY_KEY_SIZE) {
      group.add(keys[i], &out[i]);
    } else {
      out[i] = pathOf(keys[i]);  // Longer than the scratch; has work enough of its own.
    }
  }
  group.flush();
}

kj::Array<kj::byte> canonicalForm(EncodedKey key) {
  kj::Vector<kj::byte> result;
  emitCanonicalForm(key, [&](kj::ArrayPtr<const kj::byte> piece) { result.addAll(piece); });
  return result.releaseAsArray();
}

}  // namespace ledger
