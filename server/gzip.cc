// SPDX-License-Identifier: Apache-2.0
#include "server/gzip.h"

#include "server/rpc-errors.h"

#include <kj/common.h>
#include <kj/debug.h>
#include <zlib.h>

namespace ledger::server {
namespace {

using Bytes = kj::ArrayPtr<const kj::byte>;

constexpr int GZIP_ONLY = 16;  // Added to the window's bits: no other format is taken.

// Inflated between two looks at a Stop: some milliseconds. zlib itself counts in 32 bits.
constexpr uint64_t MOST_AT_A_TIME = 1 << 20;

Error damaged() {
  return makeError(Code::INTERNAL, Reason::BAD_ENCODING,
                   "grpc: failed to read decompressed data: gzip: invalid data");
}

// Inflates members one behind the other, as a gzip file may have them.
class Inflater {
public:
  Inflater(Bytes compressed, const Stop& stop) : left(compressed), stop(stop) {
    KJ_REQUIRE(inflateInit2(&stream, MAX_WBITS + GZIP_ONLY) == Z_OK, "zlib does not start");
  }
  ~Inflater() { inflateEnd(&stream); }
  KJ_DISALLOW_COPY(Inflater);

  // Fills `out` as far as there is something: less than that is the end. Errors: it is no gzip, or
  // CANCELLED.
  Result<uint64_t> read(kj::ArrayPtr<kj::byte> out) {
    uint64_t done = 0;
    while (done < out.size() && (left.size() > 0 || inMember)) {
      if (stop.requested()) return callCancelled();
      if (!inMember) {
        inflateReset(&stream);
        inMember = true;
      }
      const uint64_t in = kj::min(left.size(), MOST_AT_A_TIME);
      const uint64_t room = kj::min(out.size() - done, MOST_AT_A_TIME);
      stream.next_in = const_cast<kj::byte*>(left.begin());
      stream.avail_in = in;
      stream.next_out = out.begin() + done;
      stream.avail_out = room;
      const int result = ::inflate(&stream, Z_NO_FLUSH);
      left = left.slice(in - stream.avail_in, left.size());
      done += room - stream.avail_out;
      if (result == Z_STREAM_END) {
        inMember = false;
      } else if (result != Z_OK) {  // Also where the bytes end inside a member.
        return damaged();
      }
    }
    return done;
  }

private:
  Bytes left;
  const Stop& stop;
  z_stream stream{};
  bool inMember = false;
};

// Bytes that it inflates to. Stops above `most`.
Result<uint64_t> inflatedSize(Bytes compressed, uint64_t most, const Stop& stop) {
  Inflater inflater(compressed, stop);
  kj::byte scratch[16 << 10];
  for (uint64_t size = 0;;) {
    auto read = inflater.read(scratch);
    if (read.is<Error>()) return read;
    size += read.get<uint64_t>();
    if (size > most) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE,
                       "grpc: received message after decompression larger than max ", most);
    }
    if (read.get<uint64_t>() < sizeof(scratch)) return size;
  }
}

}  // namespace

bool isGzip(Bytes message) {
  return message.size() >= 2 && message[0] == 0x1f && message[1] == 0x8b;
}

Result<Inflated> inflate(Bytes compressed, uint64_t most, const shm::MemoryBudget& budget,
                         const Stop& stop) {
  auto size = inflatedSize(compressed, most, stop);
  if (size.is<Error>()) return kj::mv(size.get<Error>());
  auto reserved = budget.reserve(size.get<uint64_t>());
  if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
  Inflated result{kj::mv(reserved.get<shm::Reservation>()),
                  kj::heapArray<kj::byte>(size.get<uint64_t>())};
  auto read = Inflater(compressed, stop).read(result.bytes);
  KJ_IF_MAYBE (error, read.tryGet<Error>()) return kj::mv(*error);
  KJ_ASSERT(read.get<uint64_t>() == result.bytes.size());
  return kj::mv(result);
}

}  // namespace ledger::server
