#include "app/report.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "app/progress.h"
#include "base/blocks.h"
#include "base/text.h"

namespace shoal::app {
namespace {

template <class... Values>
std::string formatted(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

std::string counted(int64_t count, const std::string& word) {
  return cat(grouped(count), " ", word, count == 1 ? "" : "s");
}

std::string model_line(const Recipe& recipe, int64_t num_parameters) {
  const Recipe::Model& m = recipe.model;
  const std::string shared = m.kv_heads > 0 ? cat(" (", m.kv_heads, " of keys and values)") : "";
  const std::string shape =
      m.knows_text() ? cat(counted(m.layers, "layer"), ", width ", m.width, ", ", counted(m.heads, "head"),
                           shared, ", context ", m.context, ", vocabulary ", grouped(m.vocabulary))
      : m.name == "resnet" ? cat(counted(m.stages, "stage"), " of ", counted(m.layers, "block"), ", ",
                                 counted(m.width, "channel"), " at first, ", m.outputs,
                                 " classes, images of ", m.image, " x ", m.image)
                           : cat(m.inputs, " inputs, ", counted(m.layers, "layer"), " of ", m.width, ", ",
                                 m.outputs, " outputs");
  return cat(m.name, ", ", shape, ": ", grouped(num_parameters), " parameters, ", recipe.train.precision);
}

std::string optimizer_line(const Recipe& recipe) {
  const Recipe::Optimizer& o = recipe.optimizer;
  return cat(o.name, ", learning rate ", o.lr,
             o.warmup_steps > 0 ? cat(" after ", counted(o.warmup_steps, "warm-up step")) : "",
             o.final_factor < 1 ? cat(", falling to ", o.lr * o.final_factor) : "",
             o.clip_norm > 0 ? cat(", clipped at ", o.clip_norm) : "");
}

// "2 of 1 thread; microbatches 0-1, 2-3", "4 of 1 thread; dp=2,tp=2; microbatches 0-1, 2-3"
std::string devices_line(const Recipe& recipe, int devices) {
  const Layout layout = recipe.named_layout().value_or(Layout{.dp = devices});
  std::vector<std::string> shares;
  for (int64_t group = 0; group < layout.dp; ++group) {
    const Range range = share(recipe.train.microbatches, layout.dp, group);
    shares.push_back(range.size() == 1 ? cat(range.begin) : cat(range.begin, "-", range.end - 1));
  }
  return cat(devices, " of ", counted(recipe.layout.threads, "thread"),
             layout.devices() == layout.dp ? "" : cat("; ", print(layout)), "; microbatches ",
             join(shares, ", "));
}

}  // namespace

std::string opening_text(const Recipe& recipe, const Samples& samples, const Opening& opening) {
  const Recipe::Train& train = recipe.train;
  const std::string batch_tokens =
      samples.tokens_per_sample > 1
          ? cat(" (", grouped(train.global_batch * samples.tokens_per_sample), " ", samples.unit, ")")
          : "";
  const auto every = [](int64_t steps) {
    return steps > 0 ? cat("every ", counted(steps, "step"), " and at the end") : "at the end";
  };
  const std::string out = opening.out.string();
  return cat(
      "model       ", model_line(recipe, opening.num_parameters), "\n",  //
      "data        ", samples.description, "\n",                         //
      "steps       ", grouped(train.steps), " of ", counted(train.global_batch, "sample"), batch_tokens,
      " in ", train.microbatches, train.microbatches == 1 ? " microbatch" : " microbatches",           //
      opening.steps_done > 0 ? cat("; going on after step ", grouped(opening.steps_done)) : "", "\n",  //
      "optimizer   ", optimizer_line(recipe), "\n",                                                    //
      "validation  ",
      opening.validation_samples == 0
          ? "none"
          : cat(counted(opening.validation_samples, "sample"), ", ", every(recipe.validation.every)),
      "\n",                                                         //
      "devices     ", devices_line(recipe, opening.devices), "\n",  //
      "output      ", out, ": metrics.jsonl, recipe.toml, plan.txt, checkpoints (",
      every(recipe.checkpoint.every), "; the last ", recipe.checkpoint.keep, " stay)\n");
}

std::string closing_text(const Recipe& recipe, const Samples& samples, const Closing& closing) {
  const int64_t tokens = closing.steps_here * recipe.train.global_batch * samples.tokens_per_sample;
  const bool is_complete = closing.steps_done == recipe.train.steps;
  std::string text =
      cat(is_complete ? "done        " : "paused      ", "step ", grouped(closing.steps_done), " of ",
          grouped(recipe.train.steps), "; ", counted(closing.steps_here, "step"), ", ", grouped(tokens), " ",
          samples.unit, " in ",
          closing.seconds < 10 ? formatted("%.1f s", closing.seconds) : human_seconds(closing.seconds), "\n");
  if (closing.first_loss && closing.last_loss)
    text += formatted("loss        %.4f at first, %.4f at last\n", *closing.first_loss, *closing.last_loss);
  if (closing.validation_loss)
    text +=
        formatted("validation  %.4f; knowing only how frequent each %s is gives %.4f (the unigram entropy)\n",
                  *closing.validation_loss, recipe.model.knows_text() ? "token" : "class", samples.baseline);
  text += cat("checkpoint  ", closing.checkpoint.string(), ", content hash ", closing.content_hash, "\n");
  if (!is_complete)
    text += cat("next        ", closing.resume_command, "\n");
  else if (recipe.data.source == "store")
    text += cat("next        ", closing.program, " generate ", closing.out.string(),
                "/checkpoints/latest --prompt \"import \" --temperature 0.7\n");
  else if (recipe.data.source == "samples")
    text += cat("next        ", closing.program, " predict ", closing.out.string(),
                "/checkpoints/latest --out predictions.safetensors\n");
  else
    text += cat("next        ", closing.program, " checkpoint show ", closing.out.string(),
                "/checkpoints/latest\n");
  return text;
}

std::string traced_text(const std::filesystem::path& trace, const std::string& program) {
  return cat("trace       ", trace.string(), "; ui.perfetto.dev opens it, a picture is made by: ", program, " trace ",
             trace.string(), " --timeline ", std::filesystem::path(trace).replace_extension(".svg").string(), "\n");
}

std::string profile_text(const std::vector<StepResult::Seconds>& by_device,
                         const std::map<std::string, double>& by_operator) {
  std::string text = "seconds     device    total  compute   reduce   update   gather     wait\n";
  for (size_t rank = 0; rank < by_device.size(); ++rank) {
    const StepResult::Seconds& s = by_device[rank];
    text += formatted("            %6zu %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f\n", rank, s.total, s.compute,
                      s.reduce, s.update, s.gather, s.wait);
  }
  std::vector<std::pair<double, std::string>> operators;
  double all = 0;
  for (const auto& [name, seconds] : by_operator) operators.emplace_back(seconds, name), all += seconds;
  std::ranges::sort(operators, std::greater());
  text += "seconds     share  operator, on device 0\n";
  for (const auto& [seconds, name] : operators)
    text += formatted("%11.3f %5.1f %%  %s\n", seconds, 100 * seconds / all, name.c_str());
  return text;
}

}  // namespace shoal::app
