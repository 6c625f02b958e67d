// SPDX-License-Identifier: Apache-2.0
#include "schema/message-stream.h"

#include "schema/little-endian.h"

#include <kj/debug.h>

#include <sys/socket.h>

namespace ledger::rpc {
namespace {

using capnp::word;

// The segment table: a number of segments less one, the length of each in words, and padding to a
// whole word. All are 32 bits.
constexpr size_t tableWords(size_t segments) {
  return segments / 2 + 1;
}

}  // namespace

// What the segment table at the beginning of a message says.
struct BufferedMessageStream::Frame {
  uint32_t segments;
  uint64_t words;  // Of all segments.

  size_t tableBytes() const { return tableWords(segments) * sizeof(word); }
  uint64_t bytes() const { return tableBytes() + words * sizeof(word); }

  static uint32_t segmentLength(const kj::byte* table, uint32_t segment) {
    return loadLittle<uint32_t>(table + (1 + segment) * sizeof(uint32_t));
  }

  // Null: `bytes` do not hold all of the table. Throws if the message is one to be refused.
  static kj::Maybe<Frame> parse(kj::ArrayPtr<const kj::byte> bytes, uint64_t mostWords) {
    if (bytes.size() < sizeof(uint32_t)) return nullptr;
    const uint32_t lastSegment = loadLittle<uint32_t>(bytes.begin());
    KJ_REQUIRE(lastSegment < MOST_SEGMENTS, "a message with too many segments", lastSegment,
               MOST_SEGMENTS);
    Frame frame{lastSegment + 1, 0};
    if (bytes.size() < frame.tableBytes()) return nullptr;
    for (uint32_t i = 0; i < frame.segments; ++i) frame.words += segmentLength(bytes.begin(), i);
    KJ_REQUIRE(frame.words <= mostWords, "a message that is too long", frame.words, mostWords);
    return frame;
  }
};

// A message in memory of its own.
class BufferedMessageStream::Reader final : public capnp::MessageReader {
public:
  Reader(const Frame& frame, const kj::byte* table, capnp::ReaderOptions options)
      : MessageReader(options),
        words(kj::heapArray<word>(frame.words)),
        moreStarts(kj::heapArray<uint64_t>(frame.segments - 1)) {
    uint64_t start = 0;
    for (uint32_t i = 0; i + 1 < frame.segments; ++i) {
      start += Frame::segmentLength(table, i);
      moreStarts[i] = start;
    }
  }

  // To be filled in.
  kj::ArrayPtr<kj::byte> bytes() { return words.asBytes(); }
  size_t filled = 0;

  kj::ArrayPtr<const word> getSegment(kj::uint id) override {
    if (id > moreStarts.size()) return nullptr;
    const uint64_t start = id == 0 ? 0 : moreStarts[id - 1];
    const uint64_t end = id == moreStarts.size() ? words.size() : moreStarts[id];
    return words.slice(start, end);
  }

private:
  kj::Array<word> words;
  kj::Array<uint64_t> moreStarts;  // Of the segments after the first, in words.
};

BufferedMessageStream::BufferedMessageStream(kj::AsyncCapabilityStream& stream,
                                             kj::Maybe<Listener&> listener)
    : stream(stream), listener(listener) {}

BufferedMessageStream::~BufferedMessageStream() noexcept(false) {
  setWriting(false);
}

// --- Reading ---

kj::ArrayPtr<const kj::byte> BufferedMessageStream::received() const {
  return input.slice(inputBegin, inputEnd);
}

// False at the end of the stream.
kj::Promise<bool> BufferedMessageStream::receiveMore(size_t maxFds) {
  if (input.size() == 0) input = kj::heapArray<kj::byte>(READ_BYTES);
  memmove(input.begin(), input.begin() + inputBegin, inputEnd - inputBegin);
  inputEnd -= inputBegin;
  inputBegin = 0;
  auto fds = kj::heapArray<kj::AutoCloseFd>(maxFds);
  auto read = stream.tryReadWithFds(input.begin() + inputEnd, 1, input.size() - inputEnd,
                                    fds.begin(), fds.size());
  return read.then([this, fds = kj::mv(fds)](kj::AsyncCapabilityStream::ReadResult result) mutable {
    inputEnd += result.byteCount;
    const uint64_t end = position + inputEnd;
    // A peer that keeps sending some within one message shall not use up what we may open.
    const size_t most = 2 * fds.size();  // Of the message that is incomplete, and of the last one.
    const size_t room = most - kj::min(most, descriptors.size());
    for (auto& fd : fds.slice(0, kj::min(result.capCount, room))) {
      descriptors.push_back({end, kj::mv(fd)});
    }
    return result.byteCount > 0;
  });
}

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> BufferedMessageStream::tryReadMessage(
    kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
    kj::ArrayPtr<word> scratch) {
  auto bytes = received();
  KJ_IF_MAYBE (frame, Frame::parse(bytes, options.traversalLimitInWords)) {
    const bool isComplete = bytes.size() >= frame->bytes();
    // What will not fit beside others is received where it is to lie.
    if (isComplete || frame->bytes() > READ_BYTES / 2) {
      auto reader = kj::heap<Reader>(*frame, bytes.begin(), options);
      const size_t table = frame->tableBytes();
      reader->filled = kj::min(bytes.size(), frame->bytes()) - table;
      memcpy(reader->bytes().begin(), bytes.begin() + table, reader->filled);
      inputBegin += table + reader->filled;
      position += table + reader->filled;
      if (isComplete) return ReadResult(finish(kj::mv(reader), fdSpace));
      return readLong(fdSpace, kj::mv(reader));
    }
  }
  return receiveMore(fdSpace.size())
      .then([this, fdSpace, options, scratch](bool isMore) -> kj::Promise<ReadResult> {
        if (isMore) return tryReadMessage(fdSpace, options, scratch);
        if (received().size() == 0) return ReadResult(nullptr);
        return KJ_EXCEPTION(DISCONNECTED, "the peer ended in the middle of a message");
      });
}

kj::Promise<BufferedMessageStream::ReadResult> BufferedMessageStream::readLong(
    kj::ArrayPtr<kj::AutoCloseFd> fdSpace, kj::Own<Reader> reader) {
  auto rest = reader->bytes().slice(reader->filled, reader->bytes().size());
  return stream.tryRead(rest.begin(), rest.size(), rest.size())
      .then([this, fdSpace, rest, reader = kj::mv(reader)](size_t count) mutable -> ReadResult {
        if (count < rest.size()) {
          kj::throwFatalException(
              KJ_EXCEPTION(DISCONNECTED, "the peer ended in the middle of a long message"));
        }
        position += count;
        return finish(kj::mv(reader), fdSpace);
      });
}

// The message ends at `position`.
capnp::MessageReaderAndFds BufferedMessageStream::finish(kj::Own<Reader> reader,
                                                         kj::ArrayPtr<kj::AutoCloseFd> fdSpace) {
  size_t count = 0;
  while (!descriptors.empty() && descriptors.front().end <= position) {
    if (count < fdSpace.size()) fdSpace[count++] = kj::mv(descriptors.front().fd);
    descriptors.pop_front();
  }
  return {kj::mv(reader), fdSpace.slice(0, count)};
}

// --- Writing ---

namespace {

uint64_t framedBytes(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  uint64_t words = tableWords(segments.size());
  for (auto& segment : segments) words += segment.size();
  return words * sizeof(word);
}

// `out` has room for tableWords() words.
void writeTable(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments, kj::byte* out) {
  memset(out, 0, tableWords(segments.size()) * sizeof(word));
  storeLittle<uint32_t>(out, segments.size() - 1);
  for (auto& segment : segments) {
    out += sizeof(uint32_t);
    storeLittle<uint32_t>(out, segment.size());
  }
}

}  // namespace

void BufferedMessageStream::setWriting(bool is) {
  if (isWriting == is) return;
  isWriting = is;
  KJ_IF_MAYBE (l, listener) is ? l->beginWriting() : l->endWriting();
}

void BufferedMessageStream::gather(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  const size_t table = tableWords(segments.size()) * sizeof(word);
  const size_t start = gathered.size();
  gathered.resize(start + table);
  writeTable(segments, gathered.begin() + start);
  for (auto& segment : segments) gathered.addAll(segment.asBytes());
}

kj::Promise<void> BufferedMessageStream::writeMessage(
    kj::ArrayPtr<const int> fds, kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  KJ_REQUIRE(segments.size() > 0, "a message without segments");
  KJ_IF_MAYBE (exception, failure) return kj::cp(*exception);
  if (fds.size() == 0 && framedBytes(segments) <= GATHERED_BYTES) {
    setWriting(true);
    const bool isFirst = gathered.empty();
    gather(segments);
    if (gathered.size() >= FLUSH_BYTES) {
      flush();
    } else if (isFirst && !isSending) {
      turnsEnd = flushAfter(TURNS_GATHERED).eagerlyEvaluate(nullptr);
    }
    if (gathered.size() <= UNSENT_BYTES) return kj::READY_NOW;
    return whenSent();
  }

  auto table = kj::heapArray<kj::byte>(tableWords(segments.size()) * sizeof(word));
  writeTable(segments, table.begin());
  auto pieces = kj::heapArrayBuilder<kj::ArrayPtr<const kj::byte>>(1 + segments.size());
  pieces.add(table);
  for (auto& segment : segments) pieces.add(segment.asBytes());
  return whenSent().then([this, fds, table = kj::mv(table), pieces = pieces.finish()]() mutable {
    setWriting(true);
    // A write to a peer that has gone may throw at once.
    auto writing = kj::evalNow([&]() {
      return fds.size() == 0
                 ? stream.write(pieces)
                 : stream.writeWithFds(pieces[0], pieces.slice(1, pieces.size()), fds);
    });
    return writing.attach(kj::mv(table), kj::mv(pieces),
                          kj::defer([this]() { setWriting(false); }));
  });
}

kj::Promise<void> BufferedMessageStream::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const word>>> messages) {
  if (messages.size() == 0) return kj::READY_NOW;
  return writeMessage(nullptr, messages[0]).then([this, messages]() mutable {
    return writeMessages(messages.slice(1, messages.size()));
  });
}

kj::Promise<void> BufferedMessageStream::flushAfter(uint32_t turns) {
  return kj::evalLater([this, turns]() -> kj::Promise<void> {
    if (turns > 1 && !isSending) return flushAfter(turns - 1);
    flush();
    return kj::READY_NOW;
  });
}

void BufferedMessageStream::flush() {
  if (isSending || gathered.empty()) return;
  isSending = true;
  sender = kj::evalNow([this]() { return send(); }).eagerlyEvaluate([this](kj::Exception&& error) {
    failure = kj::cp(error);
    isSending = false;
    gathered.clear();
    setWriting(false);
    KJ_IF_MAYBE (fulfiller, sent) (*fulfiller)->reject(kj::mv(error));
  });
}

// Until nothing is left.
kj::Promise<void> BufferedMessageStream::send() {
  if (gathered.empty()) {
    isSending = false;
    setWriting(false);
    KJ_IF_MAYBE (fulfiller, sent) (*fulfiller)->fulfill();
    return kj::READY_NOW;
  }
  std::swap(gathered, sending);
  return stream.write(sending.begin(), sending.size()).then([this]() {
    sending.clear();
    return send();
  });
}

kj::Promise<void> BufferedMessageStream::whenSent() {
  if (gathered.empty() && !isSending) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  sent = kj::mv(paf.fulfiller);
  flush();
  return kj::mv(paf.promise);
}

kj::Maybe<int> BufferedMessageStream::getSendBufferSize() {
  int bytes = 0;
  kj::uint length = sizeof(bytes);
  stream.getsockopt(SOL_SOCKET, SO_SNDBUF, &bytes, &length);
  return bytes;
}

kj::Promise<void> BufferedMessageStream::end() {
  KJ_IF_MAYBE (exception, failure) return kj::cp(*exception);
  return whenSent().then([this]() { stream.shutdownWrite(); });
}

}  // namespace ledger::rpc
