// SPDX-License-Identifier: Apache-2.0
// The contract's promise: what one version wrote, another reads.
//
// testing/ledger-1.capnp is protocol version 1 as released; testing/ledger-1.sha256 pins its
// encoded nodes. A later version is today's file with the additions that the rules of evolution
// allow, made here by text replacement. All are loaded at run time, so that several versions fit in
// one program.

#include "schema/bulk.h"
#include "schema/ledger.capnp.h"

#include <capnp/dynamic.h>
#include <capnp/schema-loader.h>
#include <capnp/schema-parser.h>
#include <capnp/serialize.h>
#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/filesystem.h>
#include <openssl/sha.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

namespace ledger::rpc {
namespace {

const kj::StringPtr CURRENT = "schema/ledger.capnp";
const kj::StringPtr RELEASED = "schema/testing/ledger-1.capnp";
const kj::StringPtr PINNED = "schema/testing/ledger-1.sha256";

kj::String readFile(kj::StringPtr path) {
  return kj::newDiskFilesystem()->getCurrent().openFile(kj::Path::parse(path))->readAllText();
}

// One version of the schema, compiled from text.
class Version {
public:
  explicit Version(kj::StringPtr text)
      : disk(kj::newDiskFilesystem()), directory(kj::newInMemoryDirectory(kj::nullClock())) {
    kj::Path path("ledger.capnp");
    directory->openFile(path, kj::WriteMode::CREATE)->writeAll(text);
    system = disk->getRoot().openSubdir(kj::Path({"usr", "include"}));
    const kj::ReadableDirectory* imports[] = {system.get()};
    file = parser.parseFromDirectory(*directory, kj::mv(path), kj::arrayPtr(imports, 1));
  }

  // The file and everything declared in it, by id; also the parameters of methods.
  std::map<uint64_t, capnp::Schema> nodes() const {
    std::map<uint64_t, capnp::Schema> result;
    collect(file, result);
    return result;
  }

  capnp::StructSchema structOf(kj::StringPtr name) const { return file.getNested(name).asStruct(); }

private:
  static void collect(capnp::ParsedSchema schema, std::map<uint64_t, capnp::Schema>& into) {
    into.emplace(schema.getProto().getId(), schema);
    if (schema.getProto().isInterface()) {
      for (auto method : schema.asInterface().getMethods()) {
        auto params = method.getParamType();
        auto results = method.getResultType();
        into.emplace(params.getProto().getId(), params);
        into.emplace(results.getProto().getId(), results);
      }
    }
    for (auto nested : schema.getAllNested()) collect(nested, into);
  }

  kj::Own<kj::Filesystem> disk;
  kj::Own<const kj::Directory> directory;
  kj::Own<const kj::ReadableDirectory> system;
  capnp::SchemaParser parser;
  capnp::ParsedSchema file;
};

void replaceOnce(std::string& text, const char* from, const std::string& to) {
  const size_t at = text.find(from);
  KJ_REQUIRE(at != std::string::npos, "not in the schema", from);
  KJ_REQUIRE(text.find(from, at + 1) == std::string::npos, "twice in the schema", from);
  text.replace(at, strlen(from), to);
}

// Today's schema with everything in it that the rules allow a successor to add.
Version successor() {
  std::string text = readFile(CURRENT).cStr();
  replaceOnce(text, "struct Bulk @0xc739151e0e7e47c3 {\n  # One payload of bytes.\n\n  union {",
              "struct Bulk @0xc739151e0e7e47c3 {\n  union {\n    compressed @14 :Data;");
  replaceOnce(text, "  badEncoding @18;", "  badEncoding @18;\n  tooLate @19;");
  replaceOnce(text, "struct SetRequest @0xfa6e0a0be1064084 {",
              "struct SetRequest @0xfa6e0a0be1064084 {\n  deadlineMs @4 :UInt64;\n"
              "  hints @5 :List(Text);");
  replaceOnce(text, "    prove @6 :ProveRequest;\n",
              "    prove @6 :ProveRequest;\n    scan @7 :Data;\n");
  replaceOnce(text, "struct ClientHello @", "struct Greeting @");
  replaceOnce(text, "connect @0 (hello :ClientHello)", "connect @0 (hello :Greeting)");
  replaceOnce(text, "  name @3 :Text;", "  obsoleteName @3 :Text;");
  replaceOnce(text, "  initialState @0 () -> StateReply;",
              "  initialState @0 () -> StateReply;\n  scan @17 (state :Data) -> StateReply;");
  return Version(kj::StringPtr(text.c_str(), text.size()));
}

// --- Fill a struct of one version, read it with another. ---

constexpr unsigned DEPTH = 4;

void fill(capnp::DynamicStruct::Builder into, unsigned seed, unsigned depth);

// A value that differs from the default and, mostly, from its neighbours'.
void fillField(capnp::DynamicStruct::Builder into, capnp::StructSchema::Field field, unsigned seed,
               unsigned depth) {
  auto type = field.getType();
  if (type.isStruct()) {
    if (depth > 0) fill(into.init(field).as<capnp::DynamicStruct>(), seed + 1, depth - 1);
  } else if (type.isList()) {
    auto list = into.init(field, 2).as<capnp::DynamicList>();
    for (unsigned index = 0; index < 2; ++index) {
      if (type.asList().getElementType().isStruct()) {
        if (depth > 0) fill(list[index].as<capnp::DynamicStruct>(), seed + index, depth - 1);
      } else {
        list.set(index, capnp::Data::Reader(kj::str("item", seed, index).asBytes()));
      }
    }
  } else if (type.isText()) {
    auto text = kj::str("text", seed);
    into.set(field, capnp::Text::Reader(text));
  } else if (type.isData()) {
    into.set(field, capnp::Data::Reader(kj::str("data", seed).asBytes()));
  } else if (type.isEnum()) {
    auto values = type.asEnum().getEnumerants();
    into.set(field, capnp::DynamicEnum(values[seed % values.size()]));
  } else if (type.isBool()) {
    into.set(field, true);
  } else if (type.isVoid()) {
    into.set(field, capnp::VOID);
  } else if (!type.isInterface()) {
    into.set(field, seed % 100 + 1);
  }
}

void fill(capnp::DynamicStruct::Builder into, unsigned seed, unsigned depth) {
  for (auto field : into.getSchema().getNonUnionFields()) {
    fillField(into, field, ++seed * 7, depth);
  }
  auto members = into.getSchema().getUnionFields();
  if (members.size() > 0) fillField(into, members[seed % members.size()], seed, depth);
}

// Every message of the struct in which each union member is set once.
kj::Array<kj::Array<capnp::word>> samples(capnp::StructSchema schema) {
  kj::Vector<kj::Array<capnp::word>> result;
  for (unsigned member = 0; member < kj::max(1u, schema.getUnionFields().size()); ++member) {
    capnp::MallocMessageBuilder message;
    auto root = message.initRoot<capnp::DynamicStruct>(schema);
    for (auto field : schema.getNonUnionFields()) fillField(root, field, member + 3, DEPTH);
    if (schema.getUnionFields().size() > 0) {
      fillField(root, schema.getUnionFields()[member], member + 11, DEPTH);
    }
    result.add(capnp::messageToFlatArray(message));
  }
  return result.releaseAsArray();
}

// Reads a message as `reader` sees it and writes it anew: what that version understood of it.
kj::String reading(kj::ArrayPtr<const capnp::word> words, capnp::StructSchema reader) {
  capnp::FlatArrayMessageReader message(words);
  return kj::str(message.getRoot<capnp::DynamicStruct>(reader));
}

bool isPlainStruct(const capnp::Schema& schema) {
  return schema.getProto().isStruct() && !schema.getProto().getStruct().getIsGroup();
}

// Writes every struct of `writer` and reads it with `reader`: both must see the same.
void expectSameReading(const Version& writer, const Version& reader) {
  auto theirs = reader.nodes();
  unsigned read = 0;
  for (auto& [id, schema] : writer.nodes()) {
    if (!isPlainStruct(schema)) continue;
    SCOPED_TRACE(schema.getShortDisplayName().cStr());
    ASSERT_EQ(theirs.count(id), 1u) << "a struct is gone";
    for (auto& words : samples(schema.asStruct())) {
      EXPECT_EQ(reading(words, schema.asStruct()), reading(words, theirs.at(id).asStruct()));
      ++read;
    }
  }
  EXPECT_GT(read, 60u) << "hardly anything was compared";
}

// Would catch a field that was retyped, renumbered or moved since the release.
TEST(SchemaEvolution, TodayReadsWhatTheReleaseWroteAndBack) {
  Version released(readFile(RELEASED));
  Version current(readFile(CURRENT));
  expectSameReading(released, current);
  expectSameReading(current, released);
}

// Cap'n Proto's own rules for upgrades, over every node: structs, enums, interfaces and constants.
TEST(SchemaEvolution, TodayIsACompatibleUpgradeOfTheRelease) {
  Version released(readFile(RELEASED));
  Version current(readFile(CURRENT));
  capnp::SchemaLoader loader;
  auto now = current.nodes();
  for (auto& [id, schema] : released.nodes()) {
    SCOPED_TRACE(schema.getShortDisplayName().cStr());
    ASSERT_EQ(now.count(id), 1u) << "a declaration is gone";
    loader.load(schema.getProto());
    EXPECT_NO_THROW(loader.load(now.at(id).getProto()));
  }
}

// The check above must be able to fail.
TEST(SchemaEvolution, ARetypedFieldIsNoticed) {
  std::string text = readFile(CURRENT).cStr();
  replaceOnce(text, "  messageWords @4 :UInt64;\n  # The longest message that the client",
              "  messageWords @4 :Text;\n  # The longest message that the client");
  Version retyped(kj::StringPtr(text.c_str(), text.size()));
  Version current(readFile(CURRENT));
  capnp::SchemaLoader loader;
  loader.load(current.structOf("ClientHello").getProto());
  EXPECT_ANY_THROW(loader.load(retyped.structOf("ClientHello").getProto()));
}

// An old message leaves a new version's fields at zero and its unions at members it knows.
TEST(SchemaEvolution, ASuccessorReadsTodaysMessages) {
  Version current(readFile(CURRENT));
  auto next = successor();
  auto theirs = next.nodes();
  for (auto& [id, schema] : current.nodes()) {
    if (!isPlainStruct(schema)) continue;
    SCOPED_TRACE(schema.getShortDisplayName().cStr());
    for (auto& words : samples(schema.asStruct())) {
      capnp::FlatArrayMessageReader message(words);
      auto read = message.getRoot<capnp::DynamicStruct>(theirs.at(id).asStruct());
      KJ_IF_MAYBE (which, read.which()) {
        EXPECT_TRUE(schema.asStruct().findFieldByName(which->getProto().getName()) != nullptr);
      }
    }
  }
  auto words = samples(current.structOf("SetRequest"));
  capnp::FlatArrayMessageReader message(words[0]);
  auto read = message.getRoot<capnp::DynamicStruct>(next.structOf("SetRequest"));
  EXPECT_EQ(read.get("deadlineMs").as<uint64_t>(), 0u);
  EXPECT_FALSE(read.has("hints"));
}

// Today's code must refuse what it does not know, not take it for something it knows.
TEST(SchemaEvolution, TodayRefusesASuccessorsUnionMember) {
  auto next = successor();
  capnp::MallocMessageBuilder message;
  message.initRoot<capnp::DynamicStruct>(next.structOf("Bulk"))
      .set("compressed", capnp::Data::Reader("x"_kj.asBytes()));
  auto words = capnp::messageToFlatArray(message);
  capnp::FlatArrayMessageReader reader(words);
  auto result = locate(reader.getRoot<Bulk>(), 100);
  ASSERT_TRUE(result.is<BadPayload>());
  EXPECT_EQ(result.get<BadPayload>().code, Code::UNIMPLEMENTED);
}

TEST(SchemaEvolution, TodayReadsASuccessorsMessagesWithoutTheirAdditions) {
  auto next = successor();
  capnp::MallocMessageBuilder message;
  auto error = message.initRoot<capnp::DynamicStruct>(next.structOf("Error"));
  error.set("reason", "tooLate");
  error.set("message", "m");
  auto words = capnp::messageToFlatArray(message);
  capnp::FlatArrayMessageReader reader(words);
  EXPECT_EQ(uint16_t(reader.getRoot<Error>().getReason()), 19u);
  EXPECT_EQ(reader.getRoot<Error>().getMessage(), "m");

  capnp::MallocMessageBuilder second;
  auto request = second.initRoot<capnp::DynamicStruct>(next.structOf("SetRequest"));
  request.set("deadlineMs", 5);
  request.set("id", capnp::Data::Reader("0123456789abcdef"_kj.asBytes()));
  auto secondWords = capnp::messageToFlatArray(second);
  capnp::FlatArrayMessageReader secondReader(secondWords);
  EXPECT_EQ(secondReader.getRoot<SetRequest>().getId().size(), SET_ID_BYTES);

  capnp::MallocMessageBuilder third;
  third.initRoot<capnp::DynamicStruct>(next.structOf("Greeting")).set("obsoleteName", "old");
  auto thirdWords = capnp::messageToFlatArray(third);
  capnp::FlatArrayMessageReader thirdReader(thirdWords);
  EXPECT_EQ(thirdReader.getRoot<ClientHello>().getName(), "old");
}

// --- The pinned form. ---

// "<SHA-256 of the node's canonical encoding, without its display name>  <id> <name>" per node.
std::string fingerprint(const Version& version) {
  std::string text;
  for (auto& [id, schema] : version.nodes()) {
    capnp::MallocMessageBuilder copy;
    copy.setRoot(schema.getProto());
    auto node = copy.getRoot<capnp::schema::Node>();
    node.setDisplayName("");
    node.setDisplayNamePrefixLength(0);
    auto canonical = capnp::canonicalize(node.asReader());
    kj::byte digest[SHA256_DIGEST_LENGTH];
    auto bytes = canonical.asBytes();
    SHA256(bytes.begin(), bytes.size(), digest);
    text += kj::encodeHex(kj::arrayPtr(digest, sizeof(digest))).cStr();
    text += kj::str("  @0x", kj::hex(id), " ", schema.getShortDisplayName(), "\n").cStr();
  }
  return text;
}

// Compares with the pin; on a difference leaves the text that was found among the test's outputs.
void expectPinned(kj::StringPtr path) {
  const std::string found = fingerprint(Version(readFile(path)));
  const bool equal = found == readFile(PINNED).cStr();
  EXPECT_TRUE(equal) << path.cStr() << " has other nodes than " << PINNED.cStr();
  const char* outputs = getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  if (!equal && outputs != nullptr) std::ofstream(std::string(outputs) + "/found.sha256") << found;
}

// A difference here means that the released contract was edited: add to the current file instead.
TEST(SchemaEvolution, TheReleasedSchemaIsAsPinned) {
  expectPinned(RELEASED);
}

// While today's version is the released one, the two files declare the same. A new version brings a
// released copy, a pin and a PROTOCOL_VERSION of its own.
TEST(SchemaEvolution, TheCurrentSchemaIsTheReleaseOfItsVersion) {
  ASSERT_EQ(PROTOCOL_VERSION, 1);
  expectPinned(CURRENT);
}

}  // namespace
}  // namespace ledger::rpc
