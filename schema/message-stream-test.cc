// SPDX-License-Identifier: Apache-2.0
#include "schema/message-stream.h"

#include "schema/little-endian.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <kj/debug.h>

#include <random>
#include <string>
#include <vector>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ledger::rpc {
namespace {

using capnp::word;
using ::testing::HasSubstr;

using Segments = kj::Array<kj::Array<word>>;

constexpr size_t MOST_FDS = 2;
constexpr uint64_t MOST_WORDS = 1 << 20;

capnp::ReaderOptions options() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = MOST_WORDS;
  return options;
}

kj::Array<kj::ArrayPtr<const word>> pointers(const Segments& segments) {
  return KJ_MAP(segment, segments) -> kj::ArrayPtr<const word> { return segment; };
}

// What a memfd's descriptor says of it: its length.
kj::AutoCloseFd numberedFd(size_t number) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("numbered", MFD_CLOEXEC));
  kj::AutoCloseFd result(fd);
  KJ_SYSCALL(ftruncate(fd, number));
  return result;
}

size_t numberOf(int fd) {
  struct stat status;
  KJ_SYSCALL(fstat(fd, &status));
  return status.st_size;
}

// A message, and the numbers of the descriptors that go with it.
struct Sent {
  Segments segments;
  std::vector<size_t> fds;
};

// Mostly short ones, some of many segments, some longer than all buffers; some with descriptors.
std::vector<Sent> randomMessages(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::vector<Sent> result;
  for (size_t i = 0; i < count; ++i) {
    const size_t segments = random() % 10 == 0 ? 1 + random() % 511 : 1 + random() % 3;
    const bool isLong = random() % 20 == 0;
    const size_t words = isLong ? 60000 / segments : 1 + random() % (500 / segments + 1);
    auto list = kj::heapArrayBuilder<kj::Array<word>>(segments);
    for (size_t j = 0; j < segments; ++j) {
      auto segment = kj::heapArray<word>(random() % 30 == 0 ? 0 : words);
      for (auto& byte : segment.asBytes()) byte = random();
      list.add(kj::mv(segment));
    }
    std::vector<size_t> fds;
    if (random() % 5 == 0) {
      for (size_t j = 0; j <= random() % MOST_FDS; ++j) fds.push_back(100 * i + j);
    }
    result.push_back({list.finish(), std::move(fds)});
  }
  return result;
}

class MessageStreamTest : public ::testing::Test {
protected:
  MessageStreamTest() { connect(); }
  ~MessageStreamTest() noexcept override {}

  void connect() {
    int fds[2];
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
    for (size_t i = 0; i < 2; ++i) {
      ends[i] = io.lowLevelProvider->wrapUnixSocketFd(
          fds[i], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                      kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC |
                      kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
      rawEnds[i] = fds[i];
    }
  }

  kj::Promise<void> writeAll(capnp::MessageStream& to, const std::vector<Sent>& messages,
                             size_t next = 0) {
    if (next == messages.size()) return kj::READY_NOW;
    auto& message = messages[next];
    auto segments = pointers(message.segments);
    auto files = KJ_MAP(number, message.fds) { return numberedFd(number); };
    auto fds = KJ_MAP(file, files) { return file.get(); };
    auto written = to.writeMessage(fds, segments);
    return written.attach(kj::mv(segments), kj::mv(fds), kj::mv(files))
        .then([this, &to, &messages, next]() { return writeAll(to, messages, next + 1); });
  }

  void expectNext(capnp::MessageStream& from, const Sent& sent) {
    kj::AutoCloseFd space[MOST_FDS];
    auto read = from.tryReadMessage(space, options()).wait(io.waitScope);
    auto& message = KJ_ASSERT_NONNULL(read);
    kj::uint id = 0;
    for (auto& segment : sent.segments) {
      ASSERT_EQ(message.reader->getSegment(id++).asBytes(), segment.asPtr().asBytes());
    }
    EXPECT_EQ(message.reader->getSegment(id).size(), 0);
    std::vector<size_t> numbers;
    for (auto& fd : message.fds) numbers.push_back(numberOf(fd));
    ASSERT_EQ(numbers, sent.fds);
  }

  void expectAll(capnp::MessageStream& from, capnp::MessageStream& to,
                 const std::vector<Sent>& messages) {
    auto writing =
        writeAll(to, messages).then([&to]() { return to.end(); }).eagerlyEvaluate(nullptr);
    for (auto& message : messages) {
      ASSERT_NO_FATAL_FAILURE(expectNext(from, message));
    }
    EXPECT_TRUE(from.tryReadMessage(nullptr, options()).wait(io.waitScope) == nullptr);
    writing.wait(io.waitScope);
  }

  // Bytes that wait at this end.
  size_t waiting(size_t end) const {
    int count;
    KJ_SYSCALL(ioctl(rawEnds[end], FIONREAD, &count));
    return count;
  }

  // Lets the event loop do all that it can.
  void turn() { kj::Promise<void>(kj::NEVER_DONE).poll(io.waitScope); }

  // What reading says after the peer has sent these bytes and gone.
  std::string refusalOf(kj::ArrayPtr<const kj::byte> bytes) {
    connect();
    BufferedMessageStream reader(*ends[0]);
    auto read = reader.tryReadMessage(nullptr, options());
    KJ_SYSCALL(write(rawEnds[1], bytes.begin(), bytes.size()));
    ends[1] = nullptr;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { read.wait(io.waitScope); })) {
      return kj::str(exception->getType(), ": ", exception->getDescription()).cStr();
    }
    return "none";
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<kj::AsyncCapabilityStream> ends[2];
  int rawEnds[2];
};

Segments shortMessage(size_t words = 4) {
  auto segment = kj::heapArray<word>(words);
  memset(segment.asBytes().begin(), 0x5a, words * sizeof(word));
  return kj::arr(kj::mv(segment));
}

kj::Array<kj::byte> framed(const Segments& segments) {
  auto list = pointers(segments);
  auto words = capnp::messageToFlatArray(list);
  return kj::heapArray<kj::byte>(words.asBytes());
}

TEST_F(MessageStreamTest, ReadsWhatItWrote) {
  BufferedMessageStream reader(*ends[0]), writer(*ends[1]);
  expectAll(reader, writer, randomMessages(1, 2000));
}

TEST_F(MessageStreamTest, ReadsWhatCapnProtoWrote) {
  BufferedMessageStream reader(*ends[0]);
  capnp::AsyncCapabilityMessageStream writer(*ends[1]);
  expectAll(reader, writer, randomMessages(2, 2000));
}

TEST_F(MessageStreamTest, CapnProtoReadsWhatItWrote) {
  capnp::AsyncCapabilityMessageStream reader(*ends[0]);
  BufferedMessageStream writer(*ends[1]);
  expectAll(reader, writer, randomMessages(3, 2000));
}

TEST_F(MessageStreamTest, ReadsSeveralMessagesWrittenAtOnce) {
  BufferedMessageStream reader(*ends[0]), writer(*ends[1]);
  auto messages = randomMessages(4, 3);
  for (auto& message : messages) message.fds.clear();
  auto first = pointers(messages[0].segments), second = pointers(messages[1].segments),
       third = pointers(messages[2].segments);
  kj::ArrayPtr<const kj::ArrayPtr<const word>> all[] = {first, second, third};
  writer.writeMessages(all).wait(io.waitScope);
  for (auto& message : messages) expectNext(reader, message);
}

TEST_F(MessageStreamTest, AMessageMayComeInPieces) {
  auto messages = randomMessages(5, 4);
  for (auto& message : messages) {
    message.fds.clear();
    auto bytes = framed(message.segments);
    for (size_t cut = 1; cut < bytes.size(); cut += 1 + bytes.size() / 200) {
      BufferedMessageStream reader(*ends[0]);
      KJ_SYSCALL(write(rawEnds[1], bytes.begin(), cut));
      auto read = reader.tryReadMessage(nullptr, options());
      EXPECT_FALSE(read.poll(io.waitScope));
      auto rest = bytes.slice(cut, bytes.size());
      auto writing = ends[1]->write(rest.begin(), rest.size()).eagerlyEvaluate(nullptr);
      auto received = read.wait(io.waitScope);
      for (auto i : kj::indices(message.segments)) {
        EXPECT_EQ(KJ_ASSERT_NONNULL(received).reader->getSegment(i).asBytes(),
                  message.segments[i].asPtr().asBytes());
      }
      writing.wait(io.waitScope);
    }
  }
}

TEST_F(MessageStreamTest, ShortMessagesGoAtTheEndOfTheTurn) {
  BufferedMessageStream writer(*ends[1]);
  auto message = shortMessage();
  auto segments = pointers(message);
  {
    // Nothing of this loop runs.
    for (int i = 0; i < 10; ++i) auto taken = writer.writeMessage(nullptr, segments);
    EXPECT_EQ(waiting(0), 0);
  }
  turn();
  EXPECT_EQ(waiting(0), 10 * framed(message).size());
}

TEST_F(MessageStreamTest, ManyGoBeforeTheEndOfTheTurn) {
  BufferedMessageStream writer(*ends[1]);
  auto message = shortMessage(BufferedMessageStream::FLUSH_BYTES / sizeof(word) / 2);
  auto segments = pointers(message);
  auto first = writer.writeMessage(nullptr, segments);
  EXPECT_EQ(waiting(0), 0);
  auto second = writer.writeMessage(nullptr, segments);
  EXPECT_EQ(waiting(0), 2 * framed(message).size());
}

TEST_F(MessageStreamTest, TheWriterWaitsForAPeerThatDoesNotRead) {
  BufferedMessageStream writer(*ends[1]), reader(*ends[0]);
  auto message = shortMessage(512);
  auto segments = pointers(message);
  size_t count = 0;
  for (;; ++count) {
    ASSERT_LT(count, 10000u) << "written to nobody";
    auto written = writer.writeMessage(nullptr, segments);
    if (written.poll(io.waitScope)) continue;
    auto writing = written.eagerlyEvaluate(nullptr);
    for (size_t i = 0; i <= count; ++i) expectNext(reader, {shortMessage(512), {}});
    writing.wait(io.waitScope);
    break;
  }
  EXPECT_GT(count * framed(message).size(), BufferedMessageStream::UNSENT_BYTES);
}

TEST_F(MessageStreamTest, TheNextWriteIsToldThatThePeerIsGone) {
  BufferedMessageStream writer(*ends[1]);
  ends[0] = nullptr;
  auto message = shortMessage();
  auto segments = pointers(message);
  writer.writeMessage(nullptr, segments).wait(io.waitScope);
  turn();
  EXPECT_ANY_THROW(writer.writeMessage(nullptr, segments).wait(io.waitScope));
  EXPECT_ANY_THROW(writer.end().wait(io.waitScope));
}

struct CountingListener final : public BufferedMessageStream::Listener {
  void beginWriting() override { ++writing; }
  void endWriting() override { --writing; }
  int writing = 0;
};

TEST_F(MessageStreamTest, TellsWhileSomethingHasNotGone) {
  CountingListener listener;
  auto message = shortMessage(), longer = shortMessage(100000);
  auto segments = pointers(message), longerSegments = pointers(longer);
  {
    BufferedMessageStream writer(*ends[1], listener), reader(*ends[0]);
    auto written = writer.writeMessage(nullptr, segments);
    EXPECT_EQ(listener.writing, 1);
    turn();
    EXPECT_EQ(listener.writing, 0);
    auto writing = writer.writeMessage(nullptr, longerSegments).eagerlyEvaluate(nullptr);
    turn();
    EXPECT_EQ(listener.writing, 1);  // More than the socket takes.
    expectNext(reader, {shortMessage(), {}});
    expectNext(reader, {shortMessage(100000), {}});
    writing.wait(io.waitScope);
    EXPECT_EQ(listener.writing, 0);
    auto unsent = writer.writeMessage(nullptr, segments);
    EXPECT_EQ(listener.writing, 1);
  }
  EXPECT_EQ(listener.writing, 0);
}

TEST_F(MessageStreamTest, RefusesTooManySegments) {
  // 0xffffffff and one do not fit into 32 bits.
  for (uint32_t last : {511u, 0x7fffffffu, 0xfffffffeu, 0xffffffffu}) {
    kj::byte bytes[8] = {};
    storeLittle<uint32_t>(bytes, last);
    EXPECT_THAT(refusalOf(bytes), HasSubstr("too many segments")) << last;
  }
}

TEST_F(MessageStreamTest, RefusesTooLongMessages) {
  kj::byte one[8] = {};
  storeLittle<uint32_t>(one + 4, MOST_WORDS + 1);
  EXPECT_THAT(refusalOf(one), HasSubstr("too long"));

  // As many as there may be, each as long as can be said.
  kj::byte many[512 * 4];
  memset(many, 0xff, sizeof(many));
  storeLittle<uint32_t>(many, 510);
  EXPECT_THAT(refusalOf(many), HasSubstr("too long"));
}

TEST_F(MessageStreamTest, AMessageThatDoesNotEndIsALostConnection) {
  for (size_t words : {4, 40000}) {
    const auto bytes = framed(shortMessage(words));
    const size_t lengths[] = {1, 7, 8, 9, 39, bytes.size() - 1};
    for (size_t length : lengths) {
      if (length >= bytes.size() || length > (100 << 10)) continue;
      EXPECT_THAT(refusalOf(bytes.slice(0, length)), ::testing::StartsWith("disconnected"))
          << length << " of " << bytes.size();
    }
    if (bytes.size() > (100 << 10)) {
      EXPECT_THAT(refusalOf(bytes.slice(0, 100 << 10)), HasSubstr("a long message"));
    }
  }
}

TEST_F(MessageStreamTest, SegmentsMayBeEmpty) {
  // No segment, a short one, none: an empty message, which is for others to refuse.
  kj::byte empty[16] = {};
  storeLittle<uint32_t>(empty, 2);
  BufferedMessageStream reader(*ends[0]);
  KJ_SYSCALL(write(rawEnds[1], empty, sizeof(empty)));
  auto read = reader.tryReadMessage(nullptr, options()).wait(io.waitScope);
  auto& message = *KJ_ASSERT_NONNULL(read).reader;
  for (kj::uint id : {0, 1, 2, 3, 1000000}) EXPECT_EQ(message.getSegment(id).size(), 0);
}

// The next descriptor's number: what is open below it does not change meanwhile.
int nextFd() {
  const int fd = dup(0);
  close(fd);
  return fd;
}

// A peer that sends descriptors again and again within one message.
TEST_F(MessageStreamTest, DescriptorsOfOneMessageAreBounded) {
  BufferedMessageStream reader(*ends[0]);
  auto bytes = framed(shortMessage(1000));
  const int before = nextFd();
  kj::AutoCloseFd space[MOST_FDS];
  auto read = reader.tryReadMessage(space, options());
  for (size_t i = 0; i < 1000; ++i) {
    auto file = numberedFd(i);
    const int fds[] = {file, file};
    ends[1]->writeWithFds(bytes.slice(i, i + 1), nullptr, fds).wait(io.waitScope);
    EXPECT_FALSE(read.poll(io.waitScope));
  }
  EXPECT_LE(nextFd(), before + int(3 * MOST_FDS));
  ends[1]->write(bytes.begin() + 1000, bytes.size() - 1000).wait(io.waitScope);
  auto received = read.wait(io.waitScope);
  EXPECT_EQ(KJ_ASSERT_NONNULL(received).fds.size(), MOST_FDS);
}

TEST_F(MessageStreamTest, DescriptorsThatNobodyWantsAreClosed) {
  BufferedMessageStream reader(*ends[0]), writer(*ends[1]);
  auto message = shortMessage();
  auto segments = pointers(message);
  const int before = nextFd();
  for (int i = 0; i < 10; ++i) {
    auto file = numberedFd(1);
    const int fds[] = {file};
    writer.writeMessage(fds, segments).wait(io.waitScope);
    auto read = reader.tryReadMessage(nullptr, options()).wait(io.waitScope);
    EXPECT_EQ(KJ_ASSERT_NONNULL(read).reader->getSegment(0).asBytes(),
              message[0].asPtr().asBytes());
  }
  EXPECT_EQ(nextFd(), before);
}

TEST_F(MessageStreamTest, AFailedWriteIsNoLongerUnderWay) {
  CountingListener listener;
  BufferedMessageStream writer(*ends[1], listener);
  auto longer = shortMessage(100000), message = shortMessage();
  auto longerSegments = pointers(longer), segments = pointers(message);
  auto waiting = writer.writeMessage(nullptr, longerSegments).eagerlyEvaluate(nullptr);
  turn();
  EXPECT_EQ(listener.writing, 1);
  ends[0] = nullptr;
  EXPECT_ANY_THROW(waiting.wait(io.waitScope));
  EXPECT_EQ(listener.writing, 0);
  EXPECT_ANY_THROW(writer.writeMessage(nullptr, longerSegments).wait(io.waitScope));
  EXPECT_EQ(listener.writing, 0);
  writer.writeMessage(nullptr, segments).wait(io.waitScope);
  turn();
  EXPECT_EQ(listener.writing, 0);
}

// Somebody who copies a lot, slice by slice, on the same loop.
TEST_F(MessageStreamTest, ALoopThatIsNeverIdleSendsAsWell) {
  BufferedMessageStream writer(*ends[1]);
  auto message = shortMessage();
  auto segments = pointers(message);
  int slices = 0;
  kj::Function<kj::Promise<void>()> slice = [&]() -> kj::Promise<void> {
    if (++slices == 1000 || waiting(0) > 0) return kj::READY_NOW;
    return kj::evalLater([&]() { return slice(); });
  };
  auto copying = slice().eagerlyEvaluate(nullptr);
  auto written = writer.writeMessage(nullptr, segments);
  copying.wait(io.waitScope);
  EXPECT_LE(slices, int(2 * BufferedMessageStream::TURNS_GATHERED));
}

}  // namespace
}  // namespace ledger::rpc
