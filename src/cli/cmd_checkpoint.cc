// shoal checkpoint show | verify | hash PATH, and convert PATH OUT
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "base/text.h"
#include "cli/commands.h"
#include "state/checkpoint.h"

namespace shoal::cli {

namespace {

void show(const std::string& path) { std::fputs(state::describe(state::Checkpoint(path)).c_str(), stdout); }

void verify(const std::string& path) {
  const state::Checkpoint checkpoint(path);
  checkpoint.verify();
  const state::Manifest& manifest = checkpoint.manifest();
  uint64_t bytes = 0;
  for (const state::StoredFile& file : manifest.files) bytes += static_cast<uint64_t>(file.bytes);
  std::printf("ok: %zu tensors, %s, %zu files\n", state::whole_tensors(manifest.contents.tensors).size(),
              human_bytes(bytes).c_str(), manifest.files.size());
}

void hash(const std::string& path) { std::printf("%s\n", state::content_hash(path).c_str()); }

}  // namespace

void add_checkpoint(CLI::App& app, Invocation& invocation) {
  CLI::App* checkpoint =
      app.add_subcommand("checkpoint",
                         "Look at a checkpoint: what is in it, whether it is whole, its hash; "
                         "take the model out of it");
  checkpoint->require_subcommand(1);
  const auto path = std::make_shared<std::string>();
  const auto add = [&](const char* name, const char* help, std::function<void(const std::string&)> action) {
    CLI::App* command = checkpoint->add_subcommand(name, help);
    command
        ->add_option("PATH", *path,
                     "a checkpoint, a link to one, or a folder of checkpoints (then the latest)")
        ->required();
    command->callback([&invocation, path, action] {
      invocation.chosen = [path, action] {
        action(*path);
        return 0;
      };
    });
    return command;
  };
  add("show", "Print step, run definition, tensors and files", show);
  add("verify", "Read every byte and compare the checksums", verify);
  add("hash", "Print one hash of the content, the same for every layout it was saved from", hash);
  const auto out = std::make_shared<std::string>();
  add("convert", "Write the weights and buffers alone, whole, as one safetensors file that other tools open",
      [out](const std::string& from) { state::write_model(state::Checkpoint(from), *out); })
      ->add_option("OUT", *out, "the file to write, such as model.safetensors; it must not exist")
      ->required();
}

}  // namespace shoal::cli
