// shoal train RECIPE.toml: checks everything, then starts the devices; in each of them, trains.
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "app/job.h"
#include "app/recipe.h"
#include "app/recipe_keys.h"
#include "app/resume.h"
#include "app/run_folder.h"
#include "app/samples.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "session/trace_file.h"
#include "shoal/error.h"
#include "shoal/world.h"
#include "state/checkpoint.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

struct Options : RecipeOptions {
  std::string out, checkpoint, trace;
  std::optional<int64_t> until;
  bool resumes = false, profile = false, keys = false;
};

app::Recipe load(const Options& options) {
  app::Recipe recipe = load_recipe(options);
  if (options.until && (*options.until < 1 || *options.until > recipe.train.steps))
    throw InputError(
        cat("--until - got ", *options.until, ", want 1 to train.steps (", recipe.train.steps, ")"));
  return recipe;
}

/// As one types it in a shell.
std::string shell_word(const std::string& word) {
  const bool is_plain =
      !word.empty() && word.find_first_of(" \t\n'\"\\$`!*?[](){}<>|&;#~") == std::string::npos;
  if (is_plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

/// What goes on from the last checkpoint of `out`, or from `checkpoint`.
std::string resume_command(const Options& options, const std::string& program, const fs::path& out,
                           const fs::path& checkpoint = {}) {
  std::string command = cat(shell_word(program), " train ", shell_word(options.recipe));
  for (const std::string& assignment : options.set) command += " --set " + shell_word(assignment);
  if (options.devices) command += " --devices " + shell_word(*options.devices);
  if (options.layout) command += " --layout " + shell_word(*options.layout);
  if (options.from) command += " --from " + shell_word(*options.from);
  if (!out.empty()) command += " --out " + shell_word(out.string());
  return cat(command, " --resume", checkpoint.empty() ? "" : " " + shell_word(checkpoint.string()));
}

/// What to add to the sentence about a failed job.
std::string advice(const std::string& command, const fs::path& out) {
  const std::optional<fs::path> last = state::latest(out / "checkpoints");
  if (!last) return "; no checkpoint was saved yet";
  return cat("; the last checkpoint is ", last->string(), ", go on with: ", command);
}

/// What --resume means: a checkpoint, a link to one, or a folder of them.
fs::path to_resume(const Options& options, const fs::path& out) {
  return options.checkpoint.empty() ? out / "checkpoints" : fs::path(options.checkpoint);
}

/// The same where the checkpoint to resume, or the newest of a folder of them, may be damaged: "" when it is
/// not.
std::string damage_advice(const Options& options, const std::string& program, const fs::path& out,
                          const fs::path& checkpoint) {
  try {
    if (!state::latest_without_manifest(checkpoint)) {
      state::Checkpoint(checkpoint).verify();
      return "";  // it is not what was wrong
    }
  } catch (const Error&) {
  }
  std::error_code ignored;
  const fs::path target = fs::is_symlink(checkpoint, ignored)
                              ? checkpoint.parent_path() / fs::read_symlink(checkpoint, ignored)
                              : checkpoint;
  for (const fs::path& folder : {target, target.parent_path()}) {  // of checkpoints
    if (const std::optional<fs::path> good = state::newest_whole(folder))
      return cat("; the newest good one is ", good->string(),
                 ", go on with: ", resume_command(options, program, out, *good));
    if (state::latest(folder) || state::latest_without_manifest(folder))
      return cat("; no checkpoint in ", folder.string(), " is whole");
  }
  return "";
}

app::Progress::Output to_stderr() {
  winsize size{};
  const bool has_size = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return {.write = [](const std::string& text) { std::fputs(text.c_str(), stderr), std::fflush(stderr); },
          .is_terminal = is_terminal(STDERR_FILENO),
          .columns = has_size ? size.ws_col : 80};
}

std::optional<fs::path> checkpoint_to_resume(const Options& options, const fs::path& out) {
  if (!options.resumes) return std::nullopt;
  return options.checkpoint.empty() ? app::last_checkpoint(out)
                                    : state::Checkpoint(options.checkpoint).folder();
}

/// Does `work`; what it says of a checkpoint to resume that is damaged ends with the newest that is not.
template <class Work>
auto naming_a_good_one(const Options& options, const std::string& program, const fs::path& out,
                       const Work& work) {
  try {
    return work();
  } catch (const InputError& error) {
    if (!options.resumes) throw;
    throw InputError(error.what() + damage_advice(options, program, out, to_resume(options, out)));
  }
}

/// One device's part.
void train_here(World& world, const Options& options, const std::string& program, const fs::path& out) {
  const app::Recipe recipe = load(options);
  app::Progress progress(world.rank() == 0 ? to_stderr() : app::Progress::Output{});
  app::run_job(world, recipe,
                 {.out = out,
                  .resume = checkpoint_to_resume(options, out),
                  .from = options.from,
                  .until = options.until.value_or(recipe.train.steps),
                  .profile = options.profile,
                  .trace = options.trace,
                  .program = program,
                  .resume_command = resume_command(options, program, out)},
                 progress);
}

/// Where the files go. While this lives, the folder is there and no other run writes into it; one that was
/// made for this run and stayed empty is taken away again.
class RunFolder {
 public:
  explicit RunFolder(const Options& options) : RunFolder(settle(options)) {
    app::check_run_folder(path_, options.resumes);
  }
  ~RunFolder() {
    std::error_code ignored;
    if (is_new_) fs::remove(path_, ignored);  // refuses a folder with anything in it
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  explicit RunFolder(const std::pair<fs::path, bool>& settled)
      : path_(settled.first), lock_(path_), is_new_(settled.second) {}

  /// And whether it was made.
  static std::pair<fs::path, bool> settle(const Options& options) {
    if (!options.out.empty()) return {options.out, app::make_folder(options.out)};
    if (options.resumes && options.checkpoint.empty())
      return {app::newest_run_folder(options.recipe), false};
    return {app::new_run_folder(options.recipe), true};
  }

  const fs::path path_;
  const app::FolderLock lock_;
  const bool is_new_;
};

int run_alone(const Options& options, const Invocation& invocation, const fs::path& out) {
  const std::string program = invocation.argv[0];
  World world(invocation.argc, invocation.argv);
  try {
    naming_a_good_one(options, program, out, [&] { train_here(world, options, program, out); });
  } catch (const JobError& error) {
    throw JobError(error.what() + advice(resume_command(options, program, out), out));
  }
  return 0;
}

int run_launched(const Options& options, const Invocation& invocation, const fs::path& out, int devices) {
  std::vector<std::string> command(invocation.argv, invocation.argv + invocation.argc);
  if (options.out.empty()) command.insert(command.end(), {"--out", out.string()});
  const std::string program = invocation.argv[0], go_on = resume_command(options, program, out);
  return comm::launch({devices, command, "shoal", [&](int exit_code) {
                         if (exit_code == 1) return advice(go_on, out);
                         const bool may_be_damaged = exit_code == 2 && options.resumes;
                         return may_be_damaged ? damage_advice(options, program, out, to_resume(options, out))
                                               : "";
                       }});
}

int run(const Options& options, const Invocation& invocation) {
  if (options.keys) {
    std::fputs(app::recipe_reference().c_str(), stdout);
    return 0;
  }
  if (options.recipe.empty())
    throw InputError(
        "shoal train - RECIPE: got none, want a recipe (TOML) such as recipes/demo.toml; shoal train --keys "
        "lists its keys");
  if (comm::is_launched())
    return guarded_main(invocation.argc, invocation.argv, [&](World& world) {
      if (options.out.empty())
        throw InputError(
            "shoal train - --out: got none, want a folder when another program starts the devices");
      if (world.rank() == 0) app::make_folder(options.out);
      train_here(world, options, invocation.argv[0], options.out);
    });

  comm::check_started_once();
  signal(SIGPIPE, SIG_IGN);  // who reads our words may go away; the training goes on
  const app::Recipe recipe = load(options);
  const app::Samples samples = app::open_samples(recipe);  // and what it would refuse
  const std::string program = invocation.argv[0];
  const auto open = [&](const fs::path& out) {
    return naming_a_good_one(options, program, out, [&]() -> std::optional<state::Checkpoint> {
      const std::optional<fs::path> checkpoint = checkpoint_to_resume(options, out);
      return checkpoint ? std::optional<state::Checkpoint>(*checkpoint) : std::nullopt;
    });
  };
  if (!options.checkpoint.empty()) open(options.out);  // before there is a folder
  const RunFolder folder(options);
  const fs::path& out = folder.path();
  if (const std::optional<state::Checkpoint> checkpoint = open(out)) {
    app::check_run_of(out, checkpoint->folder());
    app::check_same_recipe(recipe, samples, *checkpoint);
    const int64_t done = checkpoint->contents().step;
    const int64_t last = options.until.value_or(recipe.train.steps);
    if (done >= last) {
      std::fprintf(stderr, "%s is at step %lld of %lld: nothing is left to do%s\n",
                   checkpoint->folder().c_str(), static_cast<long long>(done),
                   static_cast<long long>(recipe.train.steps),
                   done >= recipe.train.steps ? "" : cat(" until step ", last).c_str());
      return 0;
    }
  }
  if (!options.trace.empty()) session::check_trace_file(options.trace);
  const int devices = static_cast<int>(recipe.layout.devices);
  return devices == 1 ? run_alone(options, invocation, out) : run_launched(options, invocation, out, devices);
}

}  // namespace

void add_train(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const train =
      app.add_subcommand("train", "Train a model from a recipe, on any number of devices");
  add_recipe_options(*train, *options);
  CLI::Option* const out =
      train
          ->add_option("--out", options->out,
                       "folder for metrics, plan and checkpoints; default: runs/<recipe>-<n>")
          ->type_name("DIR");
  CLI::Option* const resume =
      train
          ->add_option(
              "--resume", options->checkpoint,
              "go on from CHECKPOINT, or from the last one in --out (default: the newest run of the recipe)")
          ->type_name("[CHECKPOINT]")
          ->expected(0, 1);
  number<int64_t>(
      train->add_option("--until", options->until, "end after this step, with a checkpoint to go on from"))
      ->type_name("STEP");
  train->add_flag("--profile", options->profile, "at the end, tell where the time went");
  CLI::Option* const trace =
      train->add_option("--trace", options->trace, "write when every device did what in a few steps, for ui.perfetto.dev and shoal trace")
          ->type_name("FILE");
  train->add_flag("--keys", options->keys, "print what a recipe may say, and nothing else");
  train->callback([options, out, resume, trace, &invocation] {
    if (out->count() > 0 && options->out.empty())
      throw InputError("shoal train - --out: got nothing, want a folder; leave it out for runs/<recipe>-<n>");
    if (trace->count() > 0 && options->trace.empty())
      throw InputError("shoal train - --trace: got nothing, want a file such as trace.json");
    options->resumes = resume->count() > 0;
    invocation.chosen = [options, &invocation] { return run(*options, invocation); };
  });
}

}  // namespace shoal::cli
