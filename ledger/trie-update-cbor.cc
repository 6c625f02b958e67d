// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie-update-cbor.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <cbor.h>

namespace ledger {
namespace {

constexpr kj::StringPtr ROOT_HASH = "RootHash"_kj;
constexpr kj::StringPtr PATHS = "Paths"_kj;
constexpr kj::StringPtr PAYLOADS = "Payloads"_kj;
constexpr kj::StringPtr KEY = "Key"_kj;
constexpr kj::StringPtr VALUE = "Value"_kj;
constexpr kj::StringPtr KEY_PARTS = "KeyParts"_kj;
constexpr kj::StringPtr TYPE = "Type"_kj;

constexpr size_t MAX_HEAD = 9;  // A type byte and a u64.

// --- Encoding -------------------------------------------------------------------------------

// Counts the bytes instead of writing them.
class Counter {
public:
  void bytes(kj::ArrayPtr<const kj::byte> from) { count += from.size(); }
  uint64_t count = 0;
};

template <typename Sink>
class Emitter {
public:
  explicit Emitter(Sink& sink) : sink(sink) {}

  void update(const TrieUpdate& update) {
    map(3);
    name(ROOT_HASH);
    byteString(update.root.ptr());
    name(PATHS);
    list(update.paths.size());
    for (const auto& path : update.paths) byteString(path.ptr());
    name(PAYLOADS);
    list(update.payloads.size());
    for (const auto& payload : update.payloads) {
      map(2);
      name(KEY);
      key(payload.key);
      name(VALUE);
      byteString(payload.value);
    }
  }

private:
  void key(EncodedKey key) {
    map(1);
    name(KEY_PARTS);
    const size_t count = key.size() == 0 ? 0 : ByteReader(key).u16();
    if (count == 0) {
      head(cbor_encode_null(buffer, MAX_HEAD));
      return;
    }
    list(count);
    auto fault = visitParts(key, Strictness::STRICT, [this](KeyPart part) {
      map(2);
      name(TYPE);
      head(cbor_encode_uint(part.type, buffer, MAX_HEAD));
      name(VALUE);
      byteString(part.value);
    });
    KJ_IF_MAYBE (error, fault) {
      KJ_FAIL_REQUIRE("a malformed key in a trie update", error->message);
    }
  }

  void map(size_t size) { head(cbor_encode_map_start(size, buffer, MAX_HEAD)); }
  void list(size_t size) { head(cbor_encode_array_start(size, buffer, MAX_HEAD)); }
  void name(kj::StringPtr text) {
    head(cbor_encode_string_start(text.size(), buffer, MAX_HEAD));
    sink.bytes(text.asBytes());
  }
  void byteString(kj::ArrayPtr<const kj::byte> bytes) {
    head(cbor_encode_bytestring_start(bytes.size(), buffer, MAX_HEAD));
    sink.bytes(bytes);
  }
  void head(size_t length) { sink.bytes(kj::arrayPtr(buffer, length)); }

  Sink& sink;
  unsigned char buffer[MAX_HEAD];
};

// --- Decoding -------------------------------------------------------------------------------

// One item as libcbor reports it. For a list or map `number` is the count of its elements.
struct Item {
  enum class Kind : uint8_t { OTHER, UINT, BYTES, TEXT, LIST, MAP, NIL } kind = Kind::OTHER;
  uint64_t number = 0;
  kj::ArrayPtr<const kj::byte> bytes;
};

template <Item::Kind KIND>
void onCollection(void* item, size_t count) {
  *static_cast<Item*>(item) = {KIND, count, nullptr};
}

template <Item::Kind KIND>
void onString(void* item, cbor_data bytes, size_t length) {
  *static_cast<Item*>(item) = {KIND, length, kj::arrayPtr(bytes, length)};
}

template <typename Number>
void onUint(void* item, Number number) {
  *static_cast<Item*>(item) = {Item::Kind::UINT, number, nullptr};
}

// What is not set leaves the item as OTHER.
const cbor_callbacks CALLBACKS = [] {
  cbor_callbacks callbacks = cbor_empty_callbacks;
  callbacks.uint8 = onUint<uint8_t>;
  callbacks.uint16 = onUint<uint16_t>;
  callbacks.uint32 = onUint<uint32_t>;
  callbacks.uint64 = onUint<uint64_t>;
  callbacks.byte_string = onString<Item::Kind::BYTES>;
  callbacks.string = onString<Item::Kind::TEXT>;
  callbacks.array_start = onCollection<Item::Kind::LIST>;
  callbacks.map_start = onCollection<Item::Kind::MAP>;
  callbacks.null = [](void* item) { static_cast<Item*>(item)->kind = Item::Kind::NIL; };
  return callbacks;
}();

uint64_t shortestHead(uint64_t number) {
  if (number < 24) return 1;
  if (number <= UINT8_MAX) return 2;
  if (number <= UINT16_MAX) return 3;
  return number <= UINT32_MAX ? 5 : 9;
}

// Reads the one form that an update has. The first thing amiss is kept, and nothing is read after
// it: numbers are then zero and strings empty, as with a ByteReader.
class CborReader {
public:
  explicit CborReader(kj::ArrayPtr<const kj::byte> bytes) : all(bytes) {}

  kj::Maybe<Error>& error() { return fault; }
  bool ok() const { return fault == nullptr; }
  size_t remaining() const { return all.size() - position; }

  void map(uint64_t size) {
    if (next(Item::Kind::MAP, "map").number != size) fail(kj::str("a map of other than ", size));
  }

  void name(kj::StringPtr expected) {
    if (next(Item::Kind::TEXT, expected).bytes != expected.asBytes()) {
      fail(kj::str("another name than ", expected));
    }
  }

  uint64_t number() { return next(Item::Kind::UINT, "number").number; }

  kj::ArrayPtr<const kj::byte> byteString() { return next(Item::Kind::BYTES, "byte string").bytes; }

  // Exactly 32 bytes; all zero after a fault.
  template <typename Fixed>
  Fixed fixed() {
    auto bytes = byteString();
    if (bytes.size() == Fixed::SIZE) return Fixed::copyOf(bytes);
    fail(kj::str(bytes.size(), " bytes instead of ", Fixed::SIZE));
    return Fixed();
  }

  // Null is a list of nothing. A count is refused if so many elements, of at least `minimum` bytes
  // each, cannot follow: so no list is allocated that the bytes cannot fill.
  uint64_t list(uint64_t minimum) {
    Item item = read();
    if (item.kind == Item::Kind::NIL || !ok()) return 0;
    if (item.kind != Item::Kind::LIST) {
      fail(kj::str("no list"));
      return 0;
    }
    if (item.number > remaining() / minimum) {
      fail(kj::str("a list of ", item.number, " elements in ", remaining(), " bytes"));
      return 0;
    }
    return item.number;
  }

  void end() {
    if (remaining() > 0) fail(kj::str(remaining(), " bytes after the update"));
  }

  void fail(kj::String what) {
    if (!ok()) return;
    fault = makeError(Code::INVALID_ARGUMENT, Reason::BAD_ENCODING, "CBOR at offset ", position,
                      ": ", what);
  }

private:
  Item next(Item::Kind kind, kj::StringPtr what) {
    Item item = read();
    if (item.kind == kind) return item;
    fail(kj::str("no ", what));
    return Item();
  }

  Item read() {
    if (!ok()) return Item();
    Item item;
    auto rest = all.slice(position, all.size());
    auto result = cbor_stream_decode(rest.begin(), rest.size(), &CALLBACKS, &item);
    if (result.status != CBOR_DECODER_FINISHED) {
      fail(kj::str(result.status == CBOR_DECODER_NEDATA ? "the bytes end inside an item"
                                                        : "no CBOR item"));
      return Item();
    }
    if (result.read != shortestHead(item.number) + item.bytes.size()) {
      fail(kj::str("a head that is not the shortest"));
      return Item();
    }
    position += result.read;
    return item;
  }

  kj::ArrayPtr<const kj::byte> all;
  size_t position = 0;
  kj::Maybe<Error> fault;
};

// The fewest bytes that an element takes: head of a path; a payload of a null key and no value; a
// part of type 0 and no value.
constexpr uint64_t MIN_PATH = 2 + Path::SIZE;
constexpr uint64_t MIN_PAYLOAD = 1 + 4 + 1 + 9 + 1 + 6 + 1;
constexpr uint64_t MIN_PART = 1 + 5 + 1 + 6 + 1;

// Appends a key in its encoded form.
void readKey(CborReader& reader, kj::Vector<kj::byte>& keys) {
  reader.map(1);
  reader.name(KEY_PARTS);
  const uint64_t count = reader.list(MIN_PART);
  if (count > UINT16_MAX) return reader.fail(kj::str("a key of ", count, " parts"));

  auto append = [&keys](uint64_t number, unsigned size) {
    while (size-- > 0) keys.add(kj::byte(number >> 8 * size));
  };
  append(count, 2);
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    reader.map(2);
    reader.name(TYPE);
    const uint64_t type = reader.number();
    reader.name(VALUE);
    auto value = reader.byteString();
    if (type > UINT16_MAX) return reader.fail(kj::str("a key part of type ", type));
    if (value.size() > MAX_KEY_SIZE) return reader.fail(kj::str("a key of over 1 GiB"));
    append(value.size() + 2, 4);
    append(type, 2);
    keys.addAll(value);
  }
}

}  // namespace

Result<uint64_t> cborSize(const TrieUpdate& update) {
  if (update.paths.size() != update.payloads.size()) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, "a trie update of ",
                     update.paths.size(), " paths and ", update.payloads.size(), " payloads");
  }
  for (const auto& payload : update.payloads) {
    KJ_IF_MAYBE (error, validateKey(payload.key)) {
      return kj::mv(*error);
    }
  }
  Counter counter;
  Emitter<Counter>(counter).update(update);
  return counter.count;
}

void encodeCbor(const TrieUpdate& update, kj::ArrayPtr<kj::byte> out) {
  ByteWriter writer(out);
  Emitter<ByteWriter>(writer).update(update);
  KJ_REQUIRE(writer.remaining() == 0, "a CBOR update is shorter than its buffer",
             writer.remaining());
}

Result<CborTrieUpdate> decodeCbor(kj::ArrayPtr<const kj::byte> bytes) {
  CborReader reader(bytes);
  CborTrieUpdate result;
  auto& update = result.update;
  reader.map(3);
  reader.name(ROOT_HASH);
  update.root = reader.fixed<RootHash>();
  reader.name(PATHS);
  update.paths = kj::heapArray<Path>(reader.list(MIN_PATH));
  for (auto& path : update.paths) path = reader.fixed<Path>();
  reader.name(PAYLOADS);
  update.payloads = kj::heapArray<Payload>(reader.list(MIN_PAYLOAD));

  // The keys move while more of them come: their ends are kept, and the views made last.
  kj::Vector<kj::byte> keys;
  kj::Vector<size_t> ends(update.payloads.size());
  for (auto& payload : update.payloads) {
    reader.map(2);
    reader.name(KEY);
    readKey(reader, keys);
    ends.add(keys.size());
    reader.name(VALUE);
    payload.value = reader.byteString();
    if (!reader.ok()) break;
  }
  if (reader.ok() && update.paths.size() != update.payloads.size()) {
    reader.fail(kj::str(update.paths.size(), " paths and ", update.payloads.size(), " payloads"));
  }
  if (reader.ok()) reader.end();
  KJ_IF_MAYBE (error, reader.error()) {
    return kj::mv(*error);
  }

  result.keys = keys.releaseAsArray();
  size_t begin = 0;
  for (size_t i = 0; i < ends.size(); begin = ends[i++]) {
    update.payloads[i].key = result.keys.slice(begin, ends[i]);
  }
  return kj::mv(result);
}

}  // namespace ledger
