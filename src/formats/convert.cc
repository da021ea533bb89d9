#include "formats/convert.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "base/text.h"
#include "formats/gguf.h"
#include "formats/hf_tokenizer.h"
#include "formats/mapped_file.h"
#include "formats/quantise.h"
#include "formats/target.h"
#include "formats/weight_table.h"
#include "formats/whole_folder.h"
#include "shoal/error.h"
#include "state/durable.h"
#include "state/safetensors.h"

namespace shoal::formats {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of_text(const std::string& text) { return std::as_bytes(std::span(text)); }

void write_gguf(const ModelFile& model, const fs::path& source, const fs::path& out,
                std::optional<WeightType> type) {
  GgufHeader header;
  std::string family;
  std::vector<ConvertedTensor> tensors;
  std::error_code ignored;
  if (fs::is_regular_file(source, ignored)) {  // GGUF as well: all that it says stays
    const GgufFile file(source);
    family = file.text("general.architecture").value_or("");
    tensors = gguf_tensors(model, family, type);
    for (const auto& [key, value] : file.metadata())
      if (key != "general.file_type" && key != "general.quantization_version" && key != "general.alignment")
        header.copy(key, value);
  } else {
    family = gguf_family(model);
    tensors = gguf_tensors(model, family, type);
    add_gguf_metadata(header, model, family);
  }
  header.integer("general.file_type", gguf_file_type(tensors));
  header.integer("general.quantization_version", 2);
  for (const ConvertedTensor& tensor : tensors) header.tensor(tensor.name, tensor.shape(), tensor.is_vector);

  state::WholeFile file(out);
  file.write(bytes_of_text(header.bytes()));
  for (const ConvertedTensor& tensor : tensors) {
    write_converted(model, tensor, [&](std::span<const std::byte> bytes) { file.write(bytes); });
    const int64_t bytes = bytes_of(tensor.shape());
    file.write(bytes_of_text(std::string(static_cast<size_t>(GgufHeader::padded(bytes) - bytes), '\0')));
  }
  file.finish();
}

void write_hf(const ModelFile& model, const fs::path& source, const fs::path& out,
              std::optional<WeightType> type) {
  if (type && info(*type).block_elements > 1)
    throw InputError(cat("--type - got ", info(*type).name, ", want f32, f16 or bf16 for --to huggingface"));
  std::vector<ConvertedTensor> tensors = hf_tensors(model, type);
  const auto size = [](const ConvertedTensor& tensor) { return info(tensor.type).block_bytes; };
  const WeightType most = std::ranges::max_element(tensors, {}, [](const ConvertedTensor& tensor) {
                            return tensor.rows * tensor.columns;
                          })->type;
  std::map<std::string, std::string> files = hf_files(model, most);
  files.merge(hf_tokenizer_files(model, source));

  std::ranges::stable_sort(tensors, std::greater(), size);  // each aligned to its own elements
  std::vector<state::SafetensorsEntry> entries;
  static constexpr const char* kTypes[] = {"F32", "F16", "BF16"};
  for (const ConvertedTensor& tensor : tensors) {
    const Weight shape = tensor.shape();
    entries.push_back({tensor.name, kTypes[static_cast<size_t>(tensor.type)],
                       tensor.is_vector ? std::vector{shape.columns} : std::vector{shape.rows, shape.columns},
                       bytes_of(shape)});
  }
  WholeFolder folder(out);
  for (const auto& [name, text] : files) folder.write(name, text);
  state::OutputFile file(folder / "model.safetensors");
  file.write(bytes_of_text(state::safetensors_header(entries)));
  for (const ConvertedTensor& tensor : tensors)
    write_converted(model, tensor, [&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.finish();
  folder.finish();
}

}  // namespace

void convert(const fs::path& source, const fs::path& out, const ConvertOptions& options) {
  if (options.type && !can_quantise_to(*options.type))
    throw InputError(cat("--type - got ", info(*options.type).name, ", want f32, f16, bf16 or q8_0"));
  const auto model = open_model(source);
  if (options.to == TargetForm::kGguf) return write_gguf(*model, source, out, options.type);
  if (options.to == TargetForm::kCheckpoint) return write_checkpoint(*model, source, out, options.type);
  write_hf(*model, source, out, options.type);
}

}  // namespace shoal::formats
