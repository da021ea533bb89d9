// A protocol buffer read by hand: fields that are not asked for are passed over.
#include <bit>
#include <cstring>
#include <functional>

#include "base/text.h"
#include "formats/tokenizer_file.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

using text::TokenKind;

/// One field of a message: a number, or bytes.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;
  std::string_view bytes;
};

class Message {
 public:
  Message(std::string_view bytes, const std::string& place) : bytes_(bytes), place_(place) {}

  void each(const std::function<void(const Field&)>& take) {
    while (at_ < bytes_.size()) {
      const uint64_t tag = varint();
      Field field{tag >> 3, 0, {}};
      switch (tag & 7) {
        case 0:
          field.value = varint();
          break;
        case 1:
          field.value = fixed(8);
          break;
        case 2: {
          const uint64_t size = varint();
          if (size > bytes_.size() - at_) damaged();
          field.bytes = bytes_.substr(at_, size);
          at_ += size;
          break;
        }
        case 5:
          field.value = fixed(4);
          break;
        default:
          damaged();
      }
      take(field);
    }
  }

 private:
  [[noreturn]] void damaged() const {
    throw InputError(cat(place_, " - byte ", at_,
                         ": got what is no field of a protocol buffer, want a SentencePiece model"));
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= bytes_.size()) damaged();
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }
  uint64_t fixed(size_t bytes) {
    if (bytes > bytes_.size() - at_) damaged();
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at_, bytes);
    at_ += bytes;
    return value;
  }
  std::string_view bytes_;
  const std::string& place_;
  size_t at_ = 0;
};

TokenKind kind_of(uint64_t type, const std::string& place) {
  static constexpr TokenKind kKinds[] = {TokenKind::kNormal,      TokenKind::kUnknown, TokenKind::kControl,
                                         TokenKind::kUserDefined, TokenKind::kUnused,  TokenKind::kByte};
  // numbered as in the file: 4 is user-defined, 5 unused, 6 a byte
  if (type < 1 || type > 6) throw InputError(cat(place, " - pieces, type: got ", type, ", want 1 to 6"));
  return kKinds[type - 1];
}

text::VocabularyEntry piece_of(std::string_view bytes, const std::string& place) {
  text::VocabularyEntry entry;
  Message(bytes, place).each([&](const Field& field) {
    if (field.number == 1) entry.text = field.bytes;
    if (field.number == 2) entry.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    if (field.number == 3) entry.kind = kind_of(field.value, place);
  });
  return entry;
}

void read_trainer(std::string_view bytes, text::TokenizerSpec& spec, const std::string& place) {
  uint64_t model = 1;
  Message(bytes, place).each([&](const Field& field) {
    const auto id = static_cast<int32_t>(field.value);
    const auto set = [&](std::optional<text::Token>& token) {
      token = id < 0 ? std::nullopt : std::optional<text::Token>(id);
    };
    if (field.number == 3) model = field.value;
    if (field.number == 40) set(spec.unknown);
    if (field.number == 41) set(spec.bos);
    if (field.number == 42) set(spec.eos);
    if (field.number == 43) set(spec.padding);
  });
  if (model != 2) {
    static constexpr const char* kModels[] = {"none", "unigram", "BPE", "words", "characters"};
    throw InputError(cat(place, " - model_type: got ", model < 5 ? kModels[model] : "another", ", want BPE"));
  }
}

void read_normalizer(std::string_view bytes, text::TokenizerSpec& spec, const std::string& place) {
  bool removes_spaces = true, escapes = true, has_map = false;
  Message(bytes, place).each([&](const Field& field) {
    if (field.number == 2) has_map = !field.bytes.empty();
    if (field.number == 3) spec.add_space_prefix = field.value != 0;
    if (field.number == 4) removes_spaces = field.value != 0;
    if (field.number == 5) escapes = field.value != 0;
  });
  if (has_map)
    throw InputError(cat(place, " - normalizer: got a table of characters (as nmt_nfkc has), want identity"));
  if (removes_spaces) throw InputError(cat(place, " - remove_extra_whitespaces: got true, want false"));
  if (!escapes) throw InputError(cat(place, " - escape_whitespaces: got false, want true"));
}

}  // namespace

text::TokenizerSpec parse_sentence_piece_model(std::string_view bytes, const std::string& place) {
  text::TokenizerSpec spec;
  spec.model = text::TokenizerModel::kSentencePiece;
  spec.add_space_prefix = true;
  // what the format means where it says nothing
  spec.unknown = 0, spec.bos = 1, spec.eos = 2;
  bool has_trainer = false, has_normalizer = false;
  Message(bytes, place).each([&](const Field& field) {
    if (field.number == 1) spec.vocabulary.push_back(piece_of(field.bytes, place));
    if (field.number == 2) read_trainer(field.bytes, spec, place), has_trainer = true;
    if (field.number == 3) read_normalizer(field.bytes, spec, place), has_normalizer = true;
  });
  if (!has_trainer || !has_normalizer || spec.vocabulary.empty())
    throw InputError(
        cat(place, " - got no pieces, trainer_spec or normalizer_spec, want a SentencePiece model"));
  text::add_known_ends(spec);
  return spec;
}

}  // namespace shoal::formats
