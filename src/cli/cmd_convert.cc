// shoal convert SOURCE OUT: a model from one form into another.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>

#include "base/text.h"
#include "cli/commands.h"
#include "formats/convert.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  std::string source, out, to, type;
};

formats::ConvertOptions options_of(const Options& options) {
  static const std::map<std::string, formats::WeightType> kTypes = {{"f32", formats::WeightType::kF32},
                                                                    {"f16", formats::WeightType::kF16},
                                                                    {"bf16", formats::WeightType::kBF16},
                                                                    {"q8_0", formats::WeightType::kQ8_0}};
  formats::ConvertOptions chosen;
  // Unless told, what the name says.
  const std::string to = !options.to.empty()              ? options.to
                         : options.out.ends_with(".gguf") ? "gguf"
                                                          : "huggingface";
  static const std::map<std::string, formats::TargetForm> kForms = {{"gguf", formats::TargetForm::kGguf},
                                                                    {"huggingface", formats::TargetForm::kHuggingFace},
                                                                    {"checkpoint", formats::TargetForm::kCheckpoint}};
  const auto form = kForms.find(to);
  if (form == kForms.end()) throw InputError(cat("--to - got ", to, ", want gguf, huggingface or checkpoint"));
  chosen.to = form->second;
  if (options.type.empty()) return chosen;
  const auto found = kTypes.find(options.type);
  if (found == kTypes.end())
    throw InputError(cat("--type - got ", options.type, ", want f32, f16, bf16 or q8_0"));
  chosen.type = found->second;
  return chosen;
}

}  // namespace

void add_convert(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const convert = app.add_subcommand(
      "convert", "Write a model as a GGUF file or a Hugging Face folder, for other programs, or as a checkpoint of ours");
  convert
      ->add_option("SOURCE", options->source,
                   "a GGUF file, a folder with config.json, or a checkpoint of a gpt or a llama")
      ->required();
  convert->add_option("OUT", options->out, "what to write; it must not exist")->required();
  convert->add_option("--to", options->to, "gguf, huggingface or checkpoint; unless told, gguf where OUT ends in .gguf, else huggingface")
      ->type_name("FORM");
  convert
      ->add_option(
          "--type", options->type,
          "of matrices: f32, f16, bf16, and of GGUF q8_0; unless told, as they are where OUT can hold that")
      ->type_name("TYPE");
  convert->callback([options, &invocation] {
    invocation.chosen = [options] {
      formats::convert(options->source, options->out, options_of(*options));
      return 0;
    };
  });
}

}  // namespace shoal::cli
