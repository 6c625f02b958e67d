// SPDX-License-Identifier: Apache-2.0
#pragma once
// For files and directories that tests make up: what no ledger asks of them.

#include <kj/debug.h>
#include <kj/filesystem.h>

namespace ledger::testing {

class PartialFile : public kj::File {
public:
  kj::Array<const kj::byte> mmap(uint64_t, uint64_t) const override { KJ_UNIMPLEMENTED("mmap"); }
  kj::Array<kj::byte> mmapPrivate(uint64_t, uint64_t) const override { KJ_UNIMPLEMENTED("mmap"); }
  kj::Own<const kj::WritableFileMapping> mmapWritable(uint64_t, uint64_t) const override {
    KJ_UNIMPLEMENTED("mmap");
  }
  void zero(uint64_t, uint64_t) const override { KJ_UNIMPLEMENTED("zero"); }
};

class PartialDirectory : public kj::Directory {
public:
  bool exists(kj::PathPtr path) const override { return tryLstat(path) != nullptr; }
  kj::Array<Entry> listEntries() const override { KJ_UNIMPLEMENTED("listEntries"); }
  kj::Maybe<kj::Own<const kj::ReadableDirectory>> tryOpenSubdir(kj::PathPtr) const override {
    KJ_UNIMPLEMENTED("subdir");
  }
  kj::Maybe<kj::String> tryReadlink(kj::PathPtr) const override { KJ_UNIMPLEMENTED("readlink"); }
  kj::Own<Replacer<kj::File>> replaceFile(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("replaceFile");
  }
  kj::Own<const kj::File> createTemporary() const override { KJ_UNIMPLEMENTED("createTemporary"); }
  kj::Maybe<kj::Own<kj::AppendableFile>> tryAppendFile(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("tryAppendFile");
  }
  kj::Maybe<kj::Own<const kj::Directory>> tryOpenSubdir(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("subdir");
  }
  kj::Own<Replacer<kj::Directory>> replaceSubdir(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("replaceSubdir");
  }
  bool trySymlink(kj::PathPtr, kj::StringPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("symlink");
  }
};

}  // namespace ledger::testing
