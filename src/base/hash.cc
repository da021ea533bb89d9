#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cinttypes>
#include <cstdio>

namespace shoal {

namespace {
std::string digits(XXH128_hash_t h) {
  char text[33];
  std::snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, static_cast<uint64_t>(h.high64),
                static_cast<uint64_t>(h.low64));
  return text;
}
}  // namespace

struct Hasher::State {
  XXH3_state_t xxh;
};
Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }
Hasher::~Hasher() = default;
void Hasher::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}
std::string Hasher::hex() const { return digits(XXH3_128bits_digest(&state_->xxh)); }

uint64_t hash_bits(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string hash_hex(std::span<const std::byte> bytes) {
  return digits(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_hex(const std::string& text) { return hash_hex(std::as_bytes(std::span(text))); }

}  // namespace shoal
