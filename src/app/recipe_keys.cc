#include "app/recipe_keys.h"

#include <charconv>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "comm/launch.h"

namespace shoal::app {
namespace {

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
constexpr double kAnyReal = std::numeric_limits<double>::max();
constexpr Need kOptional = Need::kOptional, kRequired = Need::kRequired;

std::string in_quotes(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      result += escaped;
      continue;
    }
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

std::vector<Key> make_keys() {
  using R = Recipe;
  return {
      // clang-format off
      {"model", "name", TextField{[](R& r) -> auto& { return r.model.name; }, {"gpt", "llama", "mlp", "resnet"}}, kRequired, "", {},
       "a GPT-2 or Llama style decoder, a perceptron with ReLU, or a ResNet for small images"},
      {"model", "layers", WholeField{[](R& r) -> auto& { return r.model.layers; }, 1, 1000}, kOptional, "", {},
       "blocks of a gpt or llama, hidden layers of an mlp, blocks in each stage of a resnet"},
      {"model", "width", WholeField{[](R& r) -> auto& { return r.model.width; }, 1, 1 << 20}, kOptional, "", {},
       "numbers per token or layer; for a gpt a multiple of `heads`, for a llama of twice `heads`; channels of a resnet's first stage"},
      {"model", "dropout", RealField{[](R& r) -> auto& { return r.model.dropout; }, 0, 1, true}, kOptional, "model.name", {"gpt", "mlp"},
       "the share of activations dropped in training"},
      {"model", "vocabulary", WholeField{[](R& r) -> auto& { return r.model.vocabulary; }, 2, 1 << 24}, kOptional, "model.name", {"gpt", "llama"},
       "different tokens; 257 for bytes and the end of a document"},
      {"model", "heads", WholeField{[](R& r) -> auto& { return r.model.heads; }, 1, 4096}, kOptional, "model.name", {"gpt", "llama"},
       "attention heads"},
      {"model", "kv_heads", WholeField{[](R& r) -> auto& { return r.model.kv_heads; }, 0, 4096}, kOptional, "model.name", {"llama"},
       "heads of keys and values, a divisor of `heads`; 0 for as many"},
      {"model", "hidden", WholeField{[](R& r) -> auto& { return r.model.hidden; }, 0, 1 << 20}, kOptional, "model.name", {"llama"},
       "numbers inside the gated layer; 0 for 8/3 of `width`, rounded up to a multiple of 32"},
      {"model", "context", WholeField{[](R& r) -> auto& { return r.model.context; }, 1, 1 << 20}, kOptional, "model.name", {"gpt", "llama"},
       "tokens of a sample, and the most that the model looks back"},
      {"model", "tied_head", FlagField{[](R& r) -> auto& { return r.model.tied_head; }}, kOptional, "model.name", {"gpt", "llama"},
       "the output layer is the token embedding"},
      {"model", "end_of_document", WholeField{[](R& r) -> auto& { return r.model.end_of_document; }, -1, 1 << 24}, kOptional, "model.name", {"gpt", "llama"},
       "the token that ends a document (256 in a store of bytes): attention stays within one; -1 lets it see all of the sample", true},
      {"model", "rope_base", RealField{[](R& r) -> auto& { return r.model.rope_base; }, 1, 1e12}, kOptional, "model.name", {"llama"},
       "of the rotary frequencies: the pair i of a head of S numbers turns by position / rope_base^(2i/S)", true},
      {"model", "norm_eps", RealField{[](R& r) -> auto& { return r.model.norm_eps; }, 0, 1}, kOptional, "model.name", {"llama"},
       "added to the mean square in the norms", true},
      {"model", "inputs", WholeField{[](R& r) -> auto& { return r.model.inputs; }, 1, 1 << 20}, kOptional, "model.name", {"mlp"},
       "numbers of a sample"},
      {"model", "outputs", WholeField{[](R& r) -> auto& { return r.model.outputs; }, 2, 1 << 20}, kOptional, "model.name", {"mlp", "resnet"},
       "classes"},
      {"model", "stages", WholeField{[](R& r) -> auto& { return r.model.stages; }, 1, 16}, kOptional, "model.name", {"resnet"},
       "stages; each but the first halves the image and doubles the channels"},
      {"model", "image", WholeField{[](R& r) -> auto& { return r.model.image; }, 1, 4096}, kOptional, "model.name", {"resnet"},
       "pixels along a side of the images, which have 3 colours"},

      {"data", "source", TextField{[](R& r) -> auto& { return r.data.source; }, {"store", "samples", "random"}}, kRequired, "", {},
       "a token store that `shoal data` wrote, for a gpt or a llama; a sample store, for an mlp or a resnet; or made-up samples that can be learned"},
      {"data", "path", TextField{[](R& r) -> auto& { return r.data.path; }, {}}, kRequired, "data.source", {"store", "samples"},
       "the store's folder"},
      {"data", "input", TextField{[](R& r) -> auto& { return r.data.input; }, {}}, kOptional, "data.source", {"samples"},
       "the field that the model takes; `\"auto\"`: the only one of a shape and dtype that it can take"},
      {"data", "target", TextField{[](R& r) -> auto& { return r.data.target; }, {}}, kOptional, "data.source", {"samples"},
       "the field that has the class; `\"auto\"`: the only one of a single whole number"},

      {"train", "steps", WholeField{[](R& r) -> auto& { return r.train.steps; }, 1, kAny}, kRequired, "", {},
       "optimizer steps; the learning rate ends its way down there"},
      {"train", "global_batch", WholeField{[](R& r) -> auto& { return r.train.global_batch; }, 1, 1 << 24}, kOptional, "", {},
       "samples a step, a multiple of `microbatches`"},
      {"train", "microbatches", WholeField{[](R& r) -> auto& { return r.train.microbatches; }, 1, 1 << 16}, kOptional, "", {},
       "pieces of the global batch that devices share out, at least the layout's `dp`"},
      {"train", "seed", WholeField{[](R& r) -> auto& { return r.train.seed; }, 0, kAny}, kOptional, "", {},
       "of the first weights, the order of samples, and dropout"},
      {"train", "precision", TextField{[](R& r) -> auto& { return r.train.precision; }, {"fp32", "bf16"}}, kOptional, "", {},
       "what the model computes in; weights and optimizer state are fp32 either way"},

      {"optimizer", "name", TextField{[](R& r) -> auto& { return r.optimizer.name; }, {"adamw", "sgd"}}, kOptional, "", {},
       "LibTorch's fused AdamW or SGD"},
      {"optimizer", "lr", RealField{[](R& r) -> auto& { return r.optimizer.lr; }, 0, kAnyReal}, kOptional, "", {},
       "learning rate, at its highest"},
      {"optimizer", "warmup_steps", WholeField{[](R& r) -> auto& { return r.optimizer.warmup_steps; }, 0, kAny}, kOptional, "", {},
       "steps over which the learning rate rises from 0; a half cosine leads down from there"},
      {"optimizer", "final_factor", RealField{[](R& r) -> auto& { return r.optimizer.final_factor; }, 0, 1}, kOptional, "", {},
       "the learning rate at the end, as a share of `lr`; 1 keeps it constant"},
      {"optimizer", "weight_decay", RealField{[](R& r) -> auto& { return r.optimizer.weight_decay; }, 0, kAnyReal}, kOptional, "", {},
       "of parameters with two or more dims"},
      {"optimizer", "decay_all", FlagField{[](R& r) -> auto& { return r.optimizer.decay_all; }}, kOptional, "", {},
       "weight decay on norms and biases too"},
      {"optimizer", "clip_norm", RealField{[](R& r) -> auto& { return r.optimizer.clip_norm; }, 0, kAnyReal}, kOptional, "", {},
       "largest norm of the whole gradient; 0 for no clipping"},
      {"optimizer", "betas", PairField{[](R& r) -> auto& { return r.optimizer.betas; }}, kOptional, "optimizer.name", {"adamw"},
       "how long the two moments remember"},
      {"optimizer", "eps", RealField{[](R& r) -> auto& { return r.optimizer.eps; }, 0, kAnyReal}, kOptional, "optimizer.name", {"adamw"},
       "added to the root of the second moment"},
      {"optimizer", "momentum", RealField{[](R& r) -> auto& { return r.optimizer.momentum; }, 0, 1, true}, kOptional, "optimizer.name", {"sgd"},
       "how long the gradient is remembered"},
      {"optimizer", "nesterov", FlagField{[](R& r) -> auto& { return r.optimizer.nesterov; }}, kOptional, "optimizer.name", {"sgd"},
       "Nesterov's form of momentum"},

      {"layout", "devices", WholeField{[](R& r) -> auto& { return r.layout.devices; }, 1, comm::kMaxDevices}, kOptional, "", {},
       "processes that train together; the bits do not depend on it"},
      {"layout", "mesh", TextField{[](R& r) -> auto& { return r.layout.mesh; }, {}}, kOptional, "", {},
       "how the devices divide the work, as `\"dp=2,tp=2\"` (see commands.md) or the path of a plan file; `\"auto\"`: they share out the microbatches"},
      {"layout", "stages", TextField{[](R& r) -> auto& { return r.layout.stages; }, {}}, kOptional, "", {},
       "with `pp`: the parameters at which stages 1, 2, ... begin, with commas between, as `\"blocks.4.norm1.weight\"`; `\"auto\"`: stages that cost alike"},
      {"layout", "grid", TextField{[](R& r) -> auto& { return r.layout.grid; }, {}}, kOptional, "", {},
       "with `pp`: the order in which each device computes its passes, a line (or what stands before a `;`) for each, as `\"0F0 0F1 0B0 0B1; 1F0 1B0 1F1 1B1\"`; `\"auto\"`: the layout's schedule"},
      {"layout", "offload", TextField{[](R& r) -> auto& { return r.layout.offload; }, {}}, kOptional, "", {},
       "a folder on a disk: each device keeps its optimizer state in a file there, where memory is short; `\"none\"`: in memory"},
      {"layout", "threads", WholeField{[](R& r) -> auto& { return r.layout.threads; }, 1, 1024}, kOptional, "", {},
       "threads of a device; another number may give other bits"},

      {"numerics", "tensor_chunks", WholeField{[](R& r) -> auto& { return r.numerics.tensor_chunks; }, 1, 1 << 10}, kOptional, "", {},
       "slices that operators are cut into, a multiple of the layout's `tp`; another number may give other bits"},

      {"checkpoint", "every", WholeField{[](R& r) -> auto& { return r.checkpoint.every; }, 0, kAny}, kOptional, "", {},
       "steps from one checkpoint to the next; 0 for one at the end alone"},
      {"checkpoint", "keep", WholeField{[](R& r) -> auto& { return r.checkpoint.keep; }, 1, 1 << 20}, kOptional, "", {},
       "checkpoints that are kept; older ones are removed"},

      {"validation", "every", WholeField{[](R& r) -> auto& { return r.validation.every; }, 0, kAny}, kOptional, "", {},
       "steps from one validation to the next; 0 for one at the end alone"},
      {"validation", "samples", WholeField{[](R& r) -> auto& { return r.validation.samples; }, 0, 1 << 24}, kOptional, "", {},
       "validation samples, the same ones each time, in whole microbatches; 0 for no validation"},
      // clang-format on
  };
}

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace

const std::vector<Key>& recipe_keys() {
  static const std::vector<Key> kKeys = make_keys();
  return kKeys;
}

std::string real_text(double value) {
  char buffer[32];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;  // "inf" and "nan" need none
}

std::string wanted(const Field& field) {
  return std::visit(
      Overloaded{
          [](const WholeField& f) {
            return f.most == kAny ? cat("a whole number of at least ", f.least)
                                  : cat("a whole number from ", f.least, " to ", f.most);
          },
          [](const RealField& f) {
            return f.most == kAnyReal
                       ? cat("a number of at least ", f.least)
                       : cat("a number from ", f.least, " to ", f.below_most ? "below " : "", f.most);
          },
          [](const PairField&) { return std::string("two numbers from 0 to below 1, as in [0.9, 0.95]"); },
          [](const FlagField&) { return std::string("true or false"); },
          [](const TextField& f) {
            if (f.choices.empty()) return std::string("text in quotes");
            std::vector<std::string> choices;
            for (const std::string& choice : f.choices) choices.push_back(in_quotes(choice));
            const std::string last = choices.back();
            choices.pop_back();
            return choices.empty() ? last : cat(join(choices, ", "), " or ", last);
          },
      },
      field);
}

std::string value_text(const Field& field, const Recipe& recipe) {
  Recipe& values =
      const_cast<Recipe&>(recipe);  // the fields give references that can be written; here they are only read
  return std::visit(Overloaded{
                        [&](const WholeField& f) { return cat(f.at(values)); },
                        [&](const RealField& f) { return real_text(f.at(values)); },
                        [&](const PairField& f) {
                          return cat("[", real_text(f.at(values)[0]), ", ", real_text(f.at(values)[1]), "]");
                        },
                        [&](const FlagField& f) { return std::string(f.at(values) ? "true" : "false"); },
                        [&](const TextField& f) { return in_quotes(f.at(values)); },
                    },
                    field);
}

nlohmann::json json_value(const Field& field, const Recipe& recipe) {
  Recipe values = recipe;  // the fields give references that can be written
  return std::visit([&](const auto& f) { return nlohmann::json(f.at(values)); }, field);
}

std::string recipe_reference() {
  const Recipe defaults;
  std::string text, section;
  for (const Key& key : recipe_keys()) {
    if (key.section != section) {
      section = key.section;
      text += cat(text.empty() ? "" : "\n", "## [", section,
                  "]\n| key | default | value | meaning |\n|---|---|---|---|\n");
    }
    const std::string fallback =
        key.need == Need::kRequired ? "required" : "`" + value_text(key.field, defaults) + "`";
    std::vector<std::string> values;
    for (const std::string& value : key.only_values) values.push_back(in_quotes(value));
    const std::string only = key.only_key.empty() ? ""
                                                  : cat("`", split(key.only_key, '.').back(), " = ",
                                                        join(values, " or "), "` alone: ");
    text +=
        cat("| `", key.name, "` | ", fallback, " | ", wanted(key.field), " | ", only, key.meaning, " |\n");
  }
  return text;
}

}  // namespace shoal::app
