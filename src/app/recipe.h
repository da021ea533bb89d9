// What `shoal train` is asked to do: a TOML file and what the command line changes in it (docs/recipe.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shoal/model.h"
#include "shoal/trainer.h"

namespace shoal::app {

/// Each member is a key of its section, with its default; the table in recipe_keys.cc says what they mean.
struct Recipe {
  struct Model {
    std::string name;
    int64_t vocabulary = 257, layers = 4, width = 256, heads = 4, context = 256;
    double dropout = 0;
    int64_t kv_heads = 0, hidden = 0;
    bool tied_head = false;
    int64_t end_of_document = -1;
    double rope_base = 1e4, norm_eps = 1e-5;
    int64_t inputs = 32, outputs = 10;
    int64_t stages = 3, image = 32;

    bool knows_text() const { return name == "gpt" || name == "llama"; }
  } model;
  struct Data {
    std::string source, path;
    std::string input = "auto", target = "auto";  // fields of a sample store
  } data;
  struct Train {
    int64_t steps = 0, global_batch = 16, microbatches = 4, seed = 1;
    std::string precision = "fp32";
  } train;
  struct Optimizer {
    std::string name = "adamw";
    double lr = 1e-3;
    std::array<double, 2> betas = {0.9, 0.999};
    double eps = 1e-8, momentum = 0;
    bool nesterov = false;
    double weight_decay = 0.01;
    bool decay_all = false;
    double clip_norm = 0;
    int64_t warmup_steps = 0;
    double final_factor = 0.1;
  } optimizer;
  struct Layout {
    int64_t devices = 1;
    std::string mesh = "auto";
    std::string stages = "auto";  // or names with commas between
    std::string grid = "auto";    // or the order of the passes
    std::string offload = "none";  // or a folder
    int64_t threads = 1;
  } layout;
  struct Numerics {
    int64_t tensor_chunks = 1;
  } numerics;
  struct Checkpoint {
    int64_t every = 0, keep = 3;
  } checkpoint;
  struct Validation {
    int64_t every = 0, samples = 64;
  } validation;

  std::string file;
  std::map<std::string, std::string> places;  // "train.steps" -> "demo.toml:7"; only keys that were given

  /// Where messages about a key point: its line, or the file when it was left out.
  const std::string& place(const std::string& key) const;
  int64_t microbatch_samples() const { return train.global_batch / train.microbatches; }
  /// What layout.mesh says; none where it is "auto".
  std::optional<shoal::Layout> named_layout() const;
  Precision precision() const { return train.precision == "bf16" ? Precision::kBF16 : Precision::kFP32; }
};

/// One change of a recipe: "train.steps=100", and the flag it came by, for messages.
struct Override {
  std::string flag;  // "--set train.steps=100"
  std::string key;
  std::string value;  // as TOML; text may go without quotes
  bool must_agree = false;  // with what the file says, if it says anything
};
/// Splits "key=value" of --set. Throws InputError.
Override parse_override(const std::string& assignment);

/// Reads the file, applies the changes in order, checks every key and how they go together. What lies outside
/// the recipe (the data) is not looked at. Throws InputError: "demo.toml:7 - train.steps: got ...".
Recipe load_recipe(const std::filesystem::path& file, const std::vector<Override>& overrides = {});

/// The whole recipe as TOML, defaults included: reads back to the same.
std::string recipe_text(const Recipe&);

/// What a checkpoint must say so that its model can be built again; nothing that depends on the layout.
nlohmann::json recipe_note(const Recipe&);

/// The recipe as the Trainer takes it.
TrainerOptions trainer_options(const Recipe&);

}  // namespace shoal::app
