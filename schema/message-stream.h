// SPDX-License-Identifier: Apache-2.0
#pragma once
// Cap'n Proto messages over a Unix socket: many of them by one system call, either way.
//
// The bytes are those of Cap'n Proto's own stream (capnproto.org/encoding.html, "Serialization Over
// a Stream"), so the peer may use that. This one differs in three things:
//   * A message's frame is checked before memory is allocated for it. (Cap'n Proto 0.9's stream
//     writes beyond an array where the frame's first word is 0xFFFFFFFF.)
//   * What has arrived is read at once, up to READ_BYTES, and handed out message by message.
//   * Short messages are gathered and sent once the event loop has done what it had to do by then,
//     or as soon as they are FLUSH_BYTES together: a peer shall not wait for the end of a long
//     turn.
//
// Descriptors: a message that carries some is sent alone, since Linux delivers them with the first
// byte of what was sent with them and ends that read there. They belong to the message in which the
// read ended.

#include <capnp/serialize-async.h>
#include <kj/async-io.h>
#include <kj/io.h>
#include <kj/vector.h>

#include <deque>

namespace ledger::rpc {

// Thread: its event loop's. As with every stream, one message is read at a time, and one written.
class BufferedMessageStream final : public capnp::MessageStream {
public:
  static constexpr size_t READ_BYTES = 64 << 10;
  static constexpr size_t FLUSH_BYTES = 8 << 10;
  // Longer messages are sent from where they lie.
  static constexpr size_t GATHERED_BYTES = 16 << 10;
  // The writer waits while more than this is gathered.
  static constexpr size_t UNSENT_BYTES = 64 << 10;
  // How often all that is queued in the event loop gets its turn before short messages go: not once
  // it is idle, for a loop that never is shall send as well.
  static constexpr uint32_t TURNS_GATHERED = 8;
  static constexpr uint32_t MOST_SEGMENTS = 511;  // As Cap'n Proto.

  // Is told while there is something that has not gone to the kernel yet.
  class Listener {
  public:
    virtual void beginWriting() = 0;
    // Also when writing failed, or the stream is destroyed.
    virtual void endWriting() = 0;
  };

  // `stream`, and `listener` if there is one, outlive it.
  explicit BufferedMessageStream(kj::AsyncCapabilityStream& stream,
                                 kj::Maybe<Listener&> listener = nullptr);
  ~BufferedMessageStream() noexcept(false);
  KJ_DISALLOW_COPY(BufferedMessageStream);

  using MessageStream::tryReadMessage;
  using MessageStream::writeMessage;

  // A message longer than options.traversalLimitInWords, or of more than MOST_SEGMENTS segments, is
  // refused by an exception; after that nothing more can be read. `scratch` is not used.
  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options = capnp::ReaderOptions(),
      kj::ArrayPtr<capnp::word> scratch = nullptr) override;

  // Resolves when the message may be freed: it may not have been sent then. A failure to send it is
  // told to the next write, or to end().
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;

  kj::Maybe<int> getSendBufferSize() override;

  // Sends what has been gathered, then the end of the stream.
  kj::Promise<void> end() override;

private:
  struct Frame;
  class Reader;
  // Came with a read that ended at `end`, counted from the stream's beginning.
  struct Descriptor {
    uint64_t end;
    kj::AutoCloseFd fd;
  };

  using ReadResult = kj::Maybe<capnp::MessageReaderAndFds>;

  kj::ArrayPtr<const kj::byte> received() const;
  kj::Promise<bool> receiveMore(size_t maxFds);
  kj::Promise<ReadResult> readLong(kj::ArrayPtr<kj::AutoCloseFd> fdSpace, kj::Own<Reader> reader);
  capnp::MessageReaderAndFds finish(kj::Own<Reader> reader, kj::ArrayPtr<kj::AutoCloseFd> fdSpace);

  void gather(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
  kj::Promise<void> flushAfter(uint32_t turns);
  void flush();
  kj::Promise<void> send();
  kj::Promise<void> whenSent();
  void setWriting(bool is);

  kj::AsyncCapabilityStream& stream;
  kj::Maybe<Listener&> listener;

  // Read and not handed out: input[begin, end); the first of it is at `position` of the stream.
  kj::Array<kj::byte> input;
  size_t inputBegin = 0, inputEnd = 0;
  uint64_t position = 0;
  std::deque<Descriptor> descriptors;

  kj::Vector<kj::byte> gathered, sending;
  bool isWriting = false;  // Something is gathered or being sent.
  bool isSending = false;
  kj::Maybe<kj::Exception> failure;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> sent;  // Told when nothing is left to be sent.
  kj::Promise<void> turnsEnd = nullptr, sender = nullptr;
};

}  // namespace ledger::rpc
