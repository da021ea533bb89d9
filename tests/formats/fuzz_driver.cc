// Damaged model files: fuzz_driver gguf|safetensors|config|tokenizer SECONDS SEED. Each is a small good file
// with a few bytes changed, by a generator that the seed and the number of the trial decide. It has to open
// and be read to the end, or be refused by an InputError of one printable line, within a second and without a
// large allocation; what else happens ends the program with the trial's number. A plain program, so that any
// sanitizer can be built in.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/fault.h"
#include "base/text.h"
#include "formats/convert.h"
#include "formats/tiny_models.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

size_t below(Random& random, size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(random() % bound); }

/// Numbers at which sizes break.
uint64_t awkward(Random& random) {
  const uint64_t power = uint64_t{1} << below(random, 64);
  switch (below(random, 6)) {
    case 0:
      return power - 1;
    case 1:
      return power + 1;
    case 2:
      return ~power;
    case 3:
      return below(random, 300);
    case 4:
      return ~uint64_t{0} - below(random, 64);
    default:
      return power;
  }
}

/// Changes a few places; most of the file stays good, so that what comes behind is reached.
void damage_bytes(std::string& bytes, size_t reach, Random& random) {
  for (size_t change = 1 + below(random, 3); change > 0 && !bytes.empty(); --change) {
    const size_t at = below(random, std::min(reach, bytes.size()));
    switch (below(random, 7)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
        break;
      case 2:
      case 3: {
        const uint64_t number = awkward(random);
        const size_t size = below(random, 2) == 0 ? 4 : 8;
        std::memcpy(bytes.data() + at, &number, std::min(size, bytes.size() - at));
        break;
      }
      case 4:
        bytes.resize(at);
        break;
      case 5:
        bytes.erase(at, 1 + below(random, 40));
        break;
      default:
        bytes.insert(at, bytes.substr(below(random, std::min(reach, bytes.size())), 1 + below(random, 40)));
    }
  }
}

/// Changes values of JSON, so that it stays JSON.
void damage_json(nlohmann::json& json, Random& random) {
  std::vector<nlohmann::json*> places;
  const std::function<void(nlohmann::json&)> collect = [&](nlohmann::json& value) {
    places.push_back(&value);
    if (value.is_structured())
      for (nlohmann::json& item : value) collect(item);
  };
  collect(json);
  nlohmann::json& place = *places[1 + below(random, places.size() - 1)];
  switch (below(random, 9)) {
    case 0:
      place = awkward(random);
      break;
    case 1:
      place = -static_cast<int64_t>(awkward(random) >> 1);
      break;
    case 2:
      place = std::ldexp(1.0, static_cast<int>(below(random, 2000)) - 1000);
      break;
    case 3:
      place = nullptr;
      break;
    case 4:
      place = std::string(below(random, 20), 'x');
      break;
    case 5:
      place = *places[below(random, places.size())];
      break;
    case 6:
      place = nlohmann::json::array({place, place});
      break;
    case 7:
      place = below(random, 2) == 0;
      break;
    default:
      place = nlohmann::json::object({{"type", place}});
  }
}

/// Reads all that a program would.
void read_everything(const fs::path& path) {
  const auto model = open_model(path);
  unsigned sum = 0;
  for (const std::string& name : model->weight_names()) {
    const auto weight = model->weight(name);
    for (int64_t i = 0; i < bytes_of(*weight); ++i) sum += std::to_integer<unsigned>(weight->data[i]);
  }
  volatile unsigned keep = sum;
  (void)keep;
  model->chat_template();
  const auto tokenizer = text::make_tokenizer(model->tokenizer(), model->place());
  tokenizer->decode(tokenizer->encode("Text of 12 words, or fewer. <|im_end|>",
                                      {.add_special = true, .parse_special = true}));
}

struct Seeds {
  explicit Seeds(const fs::path& folder) {
    const auto make = [&](const char* family, Architecture architecture, bool halves, WeightType type) {
      ModelConfig config = tiny_config(architecture, halves);
      config.layers = 1;
      config.width = 32;
      config.heads = 2;
      config.kv_heads = architecture == Architecture::kGpt2 ? 2 : 1;
      config.hidden = 32;
      config.query_key_norm = family == std::string("qwen3");
      const fs::path path = folder / cat("seed-", family);
      write_tiny_gguf(path, tiny_model(config, type), family);
      gguf.push_back(read_file(path));
      folders.push_back(folder / cat("folder-", family));
      convert(path, folders.back(), {TargetForm::kHuggingFace, {}});
    };
    make("llama", Architecture::kLlama, false, WeightType::kQ8_0);
    make("qwen3", Architecture::kLlama, true, WeightType::kBF16);
    make("gpt2", Architecture::kGpt2, false, WeightType::kF16);
  }
  std::vector<std::string> gguf;
  std::vector<fs::path> folders;
};

/// The head of a file of tensors and metadata, where nearly all is that can lie.
size_t head_of(const std::string& bytes) { return bytes.size() < 8192 ? bytes.size() : 4096; }

using Trial = std::function<fs::path(Random&)>;  // writes a damaged model and says where

Trial trial_of(const std::string& what, const Seeds& seeds, const fs::path& folder) {
  if (what == "gguf")
    return [&seeds, folder](Random& random) {
      std::string bytes = seeds.gguf[below(random, seeds.gguf.size())];
      damage_bytes(bytes, head_of(bytes), random);
      write_file(folder / "trial.gguf", bytes);
      return folder / "trial.gguf";
    };
  const std::map<std::string, std::vector<std::string>> files = {
      {"safetensors", {"model.safetensors"}},
      {"config", {"config.json", "generation_config.json"}},
      {"tokenizer", {"tokenizer.json", "tokenizer_config.json"}}};
  const auto found = files.find(what);
  if (found == files.end())
    throw InputError(cat(what, " - got no format, want gguf, safetensors, config or tokenizer"));
  return [&seeds, names = found->second](Random& random) {
    static std::map<fs::path, std::string> originals;
    const fs::path& model = seeds.folders[below(random, seeds.folders.size())];
    for (const std::string& name : names)
      if (!originals.contains(model / name)) originals[model / name] = read_file(model / name);
    const std::string& chosen = names[below(random, names.size())];
    for (const std::string& name : names) {
      std::string bytes = originals.at(model / name);
      if (name == chosen && name.ends_with(".json") && below(random, 4) > 0) {
        nlohmann::json json = nlohmann::json::parse(bytes);
        for (size_t change = 1 + below(random, 2); change > 0; --change) damage_json(json, random);
        bytes = json.dump();
      } else if (name == chosen) {
        damage_bytes(bytes, head_of(bytes), random);
      }
      write_file(model / name, bytes);
    }
    return model;
  };
}

bool is_sentence(const std::string& text) {
  for (const char c : text)
    if (c < ' ' || c > '~') return false;
  return text.find(" - ") != std::string::npos && text.size() < 2000;
}

int run(const std::string& what, double seconds, uint64_t seed, const fs::path& folder) {
  const Seeds seeds(folder);
  const Trial trial = trial_of(what, seeds, folder);
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  const auto begin = Clock::now();
  int64_t trials = 0, opened = 0;
  for (; since(begin) < seconds; ++trials) {
    Random random(seed * 1'000'003 + static_cast<uint64_t>(trials));
    const fs::path path = trial(random);
    const auto failed = [&](const std::string& how) {
      std::printf("%s, seed %llu, trial %lld: %s\n", what.c_str(), static_cast<unsigned long long>(seed),
                  static_cast<long long>(trials), how.c_str());
      return 1;
    };
    const auto start = Clock::now();
    try {
      read_everything(path);
      ++opened;
    } catch (const InputError& error) {
      if (!is_sentence(error.what())) return failed(cat("not a sentence: ", error.what()));
    } catch (...) {
      return failed(describe_exception());
    }
    if (const double took = since(start); took > 5) return failed(cat("took ", took, " seconds"));
  }
  std::printf("%s, seed %llu: %lld trials, %lld opened, the others were refused\n", what.c_str(),
              static_cast<unsigned long long>(seed), static_cast<long long>(trials),
              static_cast<long long>(opened));
  return trials - opened > 0 && opened > 0 ? 0 : 1;
}

}  // namespace
}  // namespace shoal::formats

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: fuzz_driver gguf|safetensors|config|tokenizer SECONDS SEED\n", stderr);
    return 2;
  }
#ifndef __SANITIZE_ADDRESS__  // which takes terabytes of addresses
  const rlimit most{1 << 30, 1 << 30};
  setrlimit(RLIMIT_AS, &most);
#endif
  std::string folder = (std::filesystem::temp_directory_path() / "shoal-fuzz-XXXXXX").string();
  if (!mkdtemp(folder.data())) return 2;
  int code = 2;
  try {
    code = shoal::formats::run(argv[1], std::stod(argv[2]), std::stoull(argv[3]), folder);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  std::filesystem::remove_all(folder);
  return code;
}
