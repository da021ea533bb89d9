#include <nlohmann/json.hpp>

#include "base/text.h"
#include "flow/files.h"
#include "flow/token_writer.h"
#include "formats/hf_tokenizer.h"
#include "shoal/error.h"
#include "text/bpe_trainer.h"

namespace shoal::flow {
namespace {

constexpr const char* kWord = "word";
constexpr const char* kCount = "count";

class TokenizerWriter final : public Writer {
 public:
  TokenizerWriter(const FlowWrite& sink, const std::filesystem::path& out) : sink_(sink), out_(out) {}

  void write(const Batch& batch) override {
    const auto& words = static_cast<const arrow::StringArray&>(*batch->column(0));
    const auto& counts = static_cast<const arrow::Int64Array&>(*batch->column(1));
    for (int64_t row = 0; row < batch->num_rows(); ++row)
      words_.emplace_back(words.GetString(row), counts.Value(row));
  }

  std::vector<FileRecord> finish() override {
    const text::TokenizerSpec spec = text::train_byte_pairs(
        words_, {sink_.vocabulary, sink_.special, sink_.pattern}, cat(sink_.out, " - tokenizer"));
    nlohmann::ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                     {"clean_up_tokenization_spaces", false}};
    if (spec.eos) config["eos_token"] = spec.vocabulary[static_cast<size_t>(*spec.eos)].text;
    return {put("tokenizer.json", formats::hf_text(formats::tokenizer_json(spec)),
                static_cast<int64_t>(spec.vocabulary.size())),
            put("tokenizer_config.json", formats::hf_text(config), 0)};
  }

 private:
  FileRecord put(const std::string& name, const std::string& text, int64_t rows) const {
    FileSink file(out_ / name);
    require(file.Write(text.data(), static_cast<int64_t>(text.size())), (out_ / name).string());
    file.place(/*starts_writing=*/true);
    return {name, rows, file.size(), file.checksum()};
  }
  FlowWrite sink_;
  std::filesystem::path out_;
  std::vector<std::pair<std::string, int64_t>> words_;
};

}  // namespace

std::unique_ptr<Writer> make_tokenizer_writer(const FlowWrite& sink, const SchemaPtr&,
                                              const std::filesystem::path& out) {
  return std::make_unique<TokenizerWriter>(sink, out);
}

Flow with_sink_steps(const Flow& asked) {
  Flow flow = asked;
  if (flow.sink.format != "tokenizer") return flow;
  const std::string place = cat(flow.place, " - write");
  text::check_training({flow.sink.vocabulary, flow.sink.special, flow.sink.pattern}, place);
  flow.steps.push_back(
      {place, flow_steps::Select{{{kWord, cat("`", join(split(flow.sink.column, '`'), "``"), "`")}}}});
  flow.steps.push_back({place, flow_steps::FlatMap{kWord, kWord, cat("pattern:", flow.sink.pattern)}});
  flow.steps.push_back({place, flow_steps::GroupBy{{kWord}, {{kCount, "count()"}}}});
  flow.steps.push_back({place, flow_steps::Sort{{cat("-", kCount), kWord}}});
  return flow;
}

}  // namespace shoal::flow
