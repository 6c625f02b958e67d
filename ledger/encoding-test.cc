// SPDX-License-Identifier: Apache-2.0
#include "ledger/encoding.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/string.h>

namespace ledger {
namespace {

kj::Array<kj::byte> fromHex(kj::StringPtr text) {
  return kj::decodeHex(text);
}
kj::String hexOf(kj::ArrayPtr<const kj::byte> bytes) {
  return kj::encodeHex(bytes);
}

// flow-go's own test key: {1, "key part 1"}, {22, "key part 2"}.
constexpr const char* TWO_PART_KEY =
    "00020000000c00016b6579207061727420310000000c00166b657920706172742032";

kj::Array<KeyPart> twoParts() {
  return kj::heapArray<KeyPart>({KeyPart{1, kj::StringPtr("key part 1").asBytes()},
                                 KeyPart{22, kj::StringPtr("key part 2").asBytes()}});
}

// Memory that is only there to have a length: the encoders must refuse it before they look at it.
kj::ArrayPtr<const kj::byte> neverRead(uint64_t size) {
  static const kj::byte NOTHING = 0;
  return kj::arrayPtr(&NOTHING, size);
}

// Every strict prefix and every single flipped bit of `bytes`, in memory of exactly that size, so
// that asan sees a read past its end.
template <typename Try>
void forEachDamage(kj::ArrayPtr<const kj::byte> bytes, Try&& attempt) {
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    attempt(kj::heapArray<kj::byte>(bytes.slice(0, cut)), true);
  }
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = kj::heapArray<kj::byte>(bytes);
    damaged[bit / 8] ^= 1 << bit % 8;
    attempt(kj::mv(damaged), false);
  }
}

TEST(Keys, EncodeAndDecodeAsFlowGo) {
  auto parts = twoParts();
  EXPECT_EQ(hexOf(encodeKey(parts).get<kj::Array<kj::byte>>()), TWO_PART_KEY);
  EXPECT_EQ(hexOf(encodeStandaloneKey(parts).get<kj::Array<kj::byte>>()),
            kj::str("000103", TWO_PART_KEY));

  auto encoded = fromHex(TWO_PART_KEY);
  auto result = decodeKey(encoded);
  auto& decoded = result.get<kj::Array<KeyPart>>();
  ASSERT_EQ(decoded.size(), 2u);
  EXPECT_EQ(decoded[1].type, 22);
  EXPECT_TRUE(decoded[1].value == kj::StringPtr("key part 2").asBytes());
}

// Both forms of the key without parts read alike; only one of them may reach a leaf.
TEST(Keys, WithoutPartsHaveTwoFormsAndOneIsStored) {
  EXPECT_EQ(hexOf(encodeKey(nullptr).get<kj::Array<kj::byte>>()), "0000");
  EXPECT_TRUE(validateKey(nullptr) == nullptr);
  EXPECT_EQ(decodeKey(nullptr).get<kj::Array<KeyPart>>().size(), 0u);
  EXPECT_EQ(hexOf(storedForm(nullptr)), "0000");

  auto key = fromHex(TWO_PART_KEY);
  EXPECT_EQ(storedForm(key).begin(), key.begin());
}

// A count that wraps, as flow-go's does, would make one key read as another.
TEST(Keys, RefuseWhatWouldOverflowAField) {
  auto most = kj::heapArray<KeyPart>(65535);
  for (auto& part : most) part = {7, nullptr};
  auto encoded = encodeKey(most);
  ASSERT_TRUE(encoded.is<kj::Array<kj::byte>>());
  EXPECT_EQ(decodeKey(encoded.get<kj::Array<kj::byte>>()).get<kj::Array<KeyPart>>().size(), 65535u);

  auto over = kj::heapArray<KeyPart>(65536);
  for (auto& part : over) part = {7, nullptr};
  EXPECT_TRUE(encodeKey(over).get<Error>().reason == Reason::BAD_KEY);

  for (uint64_t size : {MAX_KEY_SIZE - 7, uint64_t(UINT32_MAX), uint64_t(UINT32_MAX) + 5}) {
    const KeyPart part = {0, neverRead(size)};
    auto result = encodeKey(kj::arrayPtr(&part, 1));
    ASSERT_TRUE(result.is<Error>()) << size;
    EXPECT_TRUE(result.get<Error>().reason == Reason::TOO_LARGE);
  }
  // Each part is small enough, their sum is not.
  const KeyPart parts[] = {{0, neverRead(MAX_KEY_SIZE / 2)}, {2, neverRead(MAX_KEY_SIZE / 2)}};
  EXPECT_TRUE(encodeKey(kj::arrayPtr(parts, 2)).get<Error>().reason == Reason::TOO_LARGE);
}

TEST(Keys, AreCheckedToTheLastByte) {
  struct Case {
    const char* hex;
    const char* message;
  };
  const Case cases[] = {
      {"00", "2 bytes wanted at offset 0, 1 are left"},
      {"0001", "4 bytes wanted at offset 2, 0 are left"},
      {"000100000001", "part 0 of the key has 1 bytes"},
      {"000100000000", "part 0 of the key has 0 bytes"},
      {"000100000003000a", "1 bytes wanted at offset 8, 0 are left"},
      {"0001ffffffff000a", "4294967293 bytes wanted at offset 8, 0 are left"},
      {"000000", "ends at offset 2, but 1 bytes follow"},
      {"000200000002000000000002000200", "ends at offset 14, but 1 bytes follow"},
  };
  for (const auto& [hex, message] : cases) {
    auto key = fromHex(hex);
    KJ_IF_MAYBE (error, validateKey(key)) {
      EXPECT_TRUE(error->reason == Reason::BAD_KEY);
      EXPECT_NE(std::string(error->message.cStr()).find(message), std::string::npos)
          << error->message.cStr();
    } else {
      ADD_FAILURE() << hex << " was taken";
    }
    EXPECT_TRUE(decodeKey(key).is<Error>()) << hex;
  }
  auto padded = fromHex("000000");
  EXPECT_TRUE(decodeKey(padded, Strictness::FLOW_GO).is<kj::Array<KeyPart>>());
}

TEST(Keys, SurviveEveryTruncationAndFlippedBit) {
  auto key = fromHex(TWO_PART_KEY);
  forEachDamage(key, [](kj::Array<kj::byte> damaged, bool truncated) {
    auto result = decodeKey(damaged);
    // The empty prefix is the key without parts.
    if (truncated && damaged.size() > 0) {
      EXPECT_TRUE(result.is<Error>()) << damaged.size();
    }
    if (result.is<kj::Array<KeyPart>>() && damaged.size() > 0) {
      auto again = encodeKey(result.get<kj::Array<KeyPart>>());
      EXPECT_EQ(hexOf(again.get<kj::Array<kj::byte>>()), hexOf(damaged));
    }
  });
}

TEST(Payloads, HaveTwoLayouts) {
  auto key = fromHex("00020000000a0000f233dcee88fe0abe0000000b0002240000000000000001");
  auto value = fromHex("aabb");
  const Payload payload = {key, value};
  auto encode = [&](PayloadLayout layout) {
    auto out = kj::heapArray<kj::byte>(encodedSize(payload, layout));
    ByteWriter writer(out);
    encodePayload(writer, payload, layout);
    EXPECT_EQ(writer.remaining(), 0u);
    return out;
  };
  auto v0 = encode(PayloadLayout::V0);
  auto v1 = encode(PayloadLayout::V1);
  EXPECT_EQ(hexOf(v0), kj::str("0000001f", hexOf(key), "0000000000000002aabb"));
  EXPECT_EQ(hexOf(v1), kj::str("0000001f", hexOf(key), "00000002aabb"));
  EXPECT_EQ(hexOf(encodeStandalonePayload(payload)), kj::str("000106", hexOf(v1)));
  EXPECT_EQ(hexOf(encodeStandalonePayload(payload, PayloadLayout::V0)),
            kj::str("000006", hexOf(v0)));

  auto decoded = decodePayload(v1, PayloadLayout::V1);
  EXPECT_TRUE(decoded.get<Payload>().key == key);
  EXPECT_TRUE(decoded.get<Payload>().value == value);
  auto older = encodeStandalonePayload(payload, PayloadLayout::V0);
  EXPECT_TRUE(decodeStandalonePayload(older).get<Payload>().value == value);
}

// A length of 2^63 makes flow-go panic; one near 2^64 would wrap an unguarded sum.
TEST(Payloads, RefuseLengthsBeyondTheBytesPresent) {
  for (auto hex : {"00000000ffffffffffffffff", "000000008000000000000000",
                   "000000000000000000000001", "ffffffff0000000000000000"}) {
    auto bytes = fromHex(hex);
    EXPECT_TRUE(decodePayload(bytes, PayloadLayout::V0, Strictness::FLOW_GO).is<Error>()) << hex;
  }
}

TEST(Payloads, OfNoBytesAreFlowGosNil) {
  EXPECT_TRUE(decodePayload(nullptr, PayloadLayout::V0).is<Error>());
  EXPECT_TRUE(decodePayload(nullptr, PayloadLayout::V0, Strictness::FLOW_GO).is<Payload>());
}

// A checkpoint that silently cut a value would lose state.
TEST(Payloads, RefuseToCutAValue) {
  const Payload payload = {nullptr, neverRead(uint64_t(UINT32_MAX) + 1)};
  kj::byte out[16];
  ByteWriter writer(kj::arrayPtr(out, sizeof(out)));
  EXPECT_ANY_THROW(encodePayload(writer, payload, PayloadLayout::V1));
}

TEST(Payloads, SurviveEveryTruncationAndFlippedBit) {
  auto bytes = fromHex("0000000800010000000200070000000000000003010203");
  ASSERT_TRUE(decodePayload(bytes, PayloadLayout::V0).is<Payload>());
  forEachDamage(bytes, [](kj::Array<kj::byte> damaged, bool truncated) {
    for (auto layout : {PayloadLayout::V0, PayloadLayout::V1}) {
      auto result = decodePayload(damaged, layout);
      if (truncated && layout == PayloadLayout::V0) {
        EXPECT_TRUE(result.is<Error>());
      }
      decodePayload(damaged, layout, Strictness::FLOW_GO);
      decodeStandalonePayload(damaged, Strictness::FLOW_GO);
    }
  });
}

TEST(Standalone, PartsAndValuesTakeTheRest) {
  auto part = encodeStandaloneKeyPart({1, kj::StringPtr("key part 1").asBytes()});
  EXPECT_EQ(hexOf(part), "00010200016b657920706172742031");
  EXPECT_EQ(decodeStandaloneKeyPart(part).get<KeyPart>().type, 1);
  EXPECT_EQ(hexOf(encodeStandaloneValue(kj::StringPtr("value").asBytes())), "00010476616c7565");
  auto empty = fromHex("000104");
  EXPECT_EQ(decodeStandaloneValue(empty).get<Value>().size(), 0u);
}

// Each prefix alone, each other type and each later version.
TEST(Standalone, PrefixesAreChecked) {
  for (auto hex : {"", "00", "0001", "000103", "00010300", "0002030000", "ff01030000"}) {
    auto bytes = fromHex(hex);
    EXPECT_TRUE(decodeStandaloneKey(bytes, Strictness::FLOW_GO).is<Error>()) << hex;
  }
  for (unsigned type = 0; type < 256; ++type) {
    kj::byte bytes[] = {0, 1, kj::byte(type), 0, 0, 0, 0, 0, 0, 0, 0};
    auto view = kj::arrayPtr(bytes, sizeof(bytes));
    EXPECT_EQ(decodeStandaloneKeyPart(view).is<KeyPart>(), type == 2) << type;
    EXPECT_EQ(decodeStandaloneKey(view.slice(0, 5)).is<kj::Array<KeyPart>>(), type == 3) << type;
    EXPECT_EQ(decodeStandaloneValue(view).is<Value>(), type == 4) << type;
    EXPECT_EQ(decodeStandalonePayload(view).is<Payload>(), type == 6) << type;
  }
}

}  // namespace
}  // namespace ledger
