// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/grpc-channel.h"

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <kj/debug.h>

#include <chrono>

namespace ledger::testing {
namespace {

grpc::ChannelArguments channelArguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A connection of its own.
  return arguments;
}

kj::Array<kj::byte> bytesOf(grpc::ByteBuffer& message) {
  grpc::Slice whole;
  if (message.Length() > 0) {
    KJ_ASSERT(message.DumpToSingleSlice(&whole).ok());
  }
  return kj::heapArray(whole.begin(), whole.size());
}

}  // namespace

struct GrpcChannel::Impl {
  explicit Impl(const std::string& target)
      : stub(grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                       channelArguments())) {}
  mutable grpc::GenericStub stub;  // As safe as its channel, which any thread may use.
};

GrpcChannel::GrpcChannel(const std::string& target) : impl(kj::heap<Impl>(target)) {}
GrpcChannel::~GrpcChannel() noexcept(false) {}

GrpcAnswer GrpcChannel::call(const std::string& path, kj::ArrayPtr<const kj::byte> request,
                             const GrpcCallOptions& options) const {
  grpc::ClientContext context;
  KJ_IF_MAYBE (deadline, options.deadline) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::microseconds(*deadline / kj::MICROSECONDS));
  }
  if (options.compression == GrpcCallOptions::Compression::GZIP) {
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  }
  const grpc::Slice slice(request.begin(), request.size());
  grpc::CompletionQueue queue;
  const Impl& channel = *impl;
  auto call = channel.stub.PrepareUnaryCall(&context, path, grpc::ByteBuffer(&slice, 1),
                                            &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, &queue);
  void* tag;
  bool ok;
  KJ_ASSERT(queue.Next(&tag, &ok) && ok);
  queue.Shutdown();

  GrpcAnswer answer{status.error_code(), status.error_message(), nullptr};
  if (!status.ok()) return answer;
  answer.response = bytesOf(response);
  return answer;
}

namespace {

class GenericStream final : public GrpcStream {
public:
  GenericStream(grpc::GenericStub& stub, const std::string& path)
      : call(stub.PrepareCall(&context, path, &queue)) {
    call->StartCall(this);
    await();
  }
  ~GenericStream() noexcept(false) override {
    if (!finished) {
      cancel();
      finish();
    }
  }

  void write(kj::ArrayPtr<const kj::byte> message) override {
    const grpc::Slice slice(message.begin(), message.size());
    call->Write(grpc::ByteBuffer(&slice, 1), this);
    await();
  }
  kj::Maybe<kj::Array<kj::byte>> read() override {
    grpc::ByteBuffer message;
    call->Read(&message, this);
    if (!await()) return nullptr;
    return bytesOf(message);
  }
  void cancel() override { context.TryCancel(); }
  GrpcAnswer finish() override {
    grpc::Status status;
    call->Finish(&status, this);
    await();
    finished = true;
    return {status.error_code(), status.error_message(), nullptr};
  }

private:
  bool await() {
    void* tag;
    bool ok;
    KJ_ASSERT(queue.Next(&tag, &ok));
    return ok;
  }

  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  bool finished = false;
};

}  // namespace

kj::Own<GrpcStream> GrpcChannel::open(const std::string& path) const {
  const Impl& channel = *impl;
  return kj::heap<GenericStream>(channel.stub, path);
}

}  // namespace ledger::testing
