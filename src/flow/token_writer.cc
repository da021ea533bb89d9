#include "flow/token_writer.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "data/manifest.h"
#include "data/mapped_file.h"
#include "flow/files.h"
#include "formats/tokenizer_file.h"
#include "shoal/error.h"
#include "text/identity.h"

namespace shoal::flow {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;  // bytes of tokens

int64_t token_bytes(const text::Tokenizer& tokenizer) { return tokenizer.size() <= (1 << 16) ? 2 : 4; }

const char* kind_of(const text::TokenizerSpec& spec) {
  switch (spec.model) {
    case text::TokenizerModel::kBytes:
      return "bytes";
    case text::TokenizerModel::kBytePairs:
      return "byte pairs";
    case text::TokenizerModel::kSentencePiece:
      break;
  }
  return "SentencePiece";
}

class TokenWriter final : public Writer {
 public:
  TokenWriter(const text::Tokenizer& tokenizer, int column, const std::filesystem::path& out,
              std::string name)
      : tokenizer_(tokenizer), column_(column), out_(out), name_(std::move(name)) {
    record_.file = name_ + ".tokens";
  }

  void write(const Batch& batch) override {
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(column_));
    const auto eos = tokenizer_.spec().eos;
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      if (texts.IsNull(row) || texts.GetView(row).empty()) continue;
      std::vector<text::Token> tokens = tokenizer_.encode(texts.GetView(row), {.add_special = true});
      if (eos && (tokens.empty() || tokens.back() != *eos)) tokens.push_back(*eos);
      if (tokens.size() > std::numeric_limits<uint32_t>::max())
        throw JobError(cat((out_ / name_).string(), " - a document has ", tokens.size(),
                           " tokens, want fewer than 4294967296; cut it up before"));
      if (!tokens.empty()) add(tokens);
    }
  }

  std::vector<FileRecord> finish() override {
    if (!tokens_) return {};
    flush();
    tokens_->place(/*starts_writing=*/true);
    record_.bytes = tokens_->size();
    record_.checksum = tokens_->checksum();
    const std::string name = data::lengths_file(record_.file);
    FileSink lengths(out_ / name);
    require(lengths.Write(lengths_.data(), static_cast<int64_t>(lengths_.size() * sizeof(uint32_t))),
            (out_ / name).string());
    lengths.place(/*starts_writing=*/true);
    return {record_, {name, record_.rows, lengths.size(), lengths.checksum()}};
  }

 private:
  void add(const std::vector<text::Token>& tokens) {
    if (!tokens_) tokens_ = std::make_unique<FileSink>(out_ / record_.file);
    ++record_.rows;
    lengths_.push_back(static_cast<uint32_t>(tokens.size()));
    const size_t size = static_cast<size_t>(token_bytes(tokenizer_));
    for (const text::Token token : tokens) {  // little-endian, as files are
      const auto number = static_cast<uint32_t>(token);
      buffer_.append(reinterpret_cast<const char*>(&number), size);
    }
    if (buffer_.size() >= kBuffer) flush();
  }
  void flush() {
    require(tokens_->Write(buffer_.data(), static_cast<int64_t>(buffer_.size())),
            (out_ / record_.file).string());
    buffer_.clear();
  }

  const text::Tokenizer& tokenizer_;
  int column_;
  std::filesystem::path out_;
  std::string name_;
  FileRecord record_;
  std::unique_ptr<FileSink> tokens_;
  std::vector<uint32_t> lengths_;
  std::string buffer_;
};

template <class Token>
void count_tokens(std::span<const std::byte> bytes, std::vector<int64_t>& counts) {
  const auto* tokens = reinterpret_cast<const Token*>(bytes.data());
  for (size_t i = 0; i < bytes.size() / sizeof(Token); ++i)
    if (tokens[i] < counts.size()) ++counts[tokens[i]];
}

}  // namespace

std::shared_ptr<const text::Tokenizer> open_tokenizer(const FlowWrite& sink, const std::string& place) {
  if (sink.format != "tokens") return nullptr;
  return text::make_tokenizer(formats::open_tokenizer(sink.tokenizer, place), cat(place, ": tokenizer"));
}

std::unique_ptr<Writer> make_token_writer(const text::Tokenizer& tokenizer, const std::string& column,
                                          const SchemaPtr& schema, const std::filesystem::path& out,
                                          const std::string& split, int64_t part) {
  const auto which =
      split == data::split_name(data::Split::kValidation) ? data::Split::kValidation : data::Split::kTrain;
  return std::make_unique<TokenWriter>(tokenizer, column_of(*schema, column), out,
                                       data::shard_stem(which, part));
}

std::string token_manifest(const OutputManifest& made, const text::Tokenizer& tokenizer,
                           const std::filesystem::path& out) {
  const text::TokenizerSpec& spec = tokenizer.spec();
  data::Manifest manifest;
  manifest.version = 2;
  manifest.tokenizer = {kind_of(spec), spec.model == text::TokenizerModel::kBytes ? "" : text::identity(spec),
                        tokenizer.size(), spec.eos ? *spec.eos : -1};
  manifest.token_bytes = token_bytes(tokenizer);
  manifest.input = made.identity;
  manifest.made_by = to_json(made);
  for (const data::Split split : data::kSplits) {
    data::Manifest::SplitPart& part = manifest[split];
    std::vector<int64_t> counts(static_cast<size_t>(tokenizer.size()));
    for (size_t i = 0; i + 1 < made.files.size(); ++i) {  // tokens, and their lengths behind them
      const FileRecord& file = made.files[i];
      if (!file.file.starts_with(data::split_name(split)) || !file.file.ends_with(".tokens")) continue;
      part.shards.push_back({file.file, file.bytes / manifest.token_bytes, file.checksum, file.rows,
                             made.files[i + 1].checksum});
      part.documents += file.rows;
      part.tokens += part.shards.back().tokens;
      const data::MappedFile mapped(out / file.file, file.bytes, file.checksum, "run the flow again");
      manifest.token_bytes == 2 ? count_tokens<uint16_t>(mapped.verified(), counts)
                                : count_tokens<uint32_t>(mapped.verified(), counts);
    }
    part.unigram_entropy = data::unigram_entropy(counts);
  }
  return data::to_json(manifest);
}

}  // namespace shoal::flow
