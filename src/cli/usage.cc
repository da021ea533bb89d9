#include "cli/usage.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <vector>

#include "base/text.h"

namespace shoal::cli {
namespace {

/// The command that the line got to: "shoal checkpoint show" of "shoal checkpoint show --x".
const CLI::App& command_of(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : command_of(*chosen.front());
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() ? cat(full_name(*app.get_parent()), " ", app.get_name()) : app.get_name();
}

std::vector<std::string> commands_in(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::string listed(std::vector<std::string> words) {
  const std::string last = words.back();
  words.pop_back();
  return words.empty() ? last : cat(join(words, ", "), " or ", last);
}

std::string guess(const std::string& word, const std::vector<std::string>& known) {
  const std::string near = nearest(word, known);
  return near.empty() ? "" : cat("; did you mean ", near, "?");
}

std::string unknown_command(const CLI::App& app, const std::string& got) {
  const std::vector<std::string> names = commands_in(app);
  return cat(full_name(app), ": got ", got.empty() ? "nothing" : cat('"', got, '"'),
             ", want a command: ", listed(names),
             got.empty() ? cat("; see ", full_name(app), " --help") : guess(got, names));
}

std::string unknown_word(const CLI::App& app, const std::string& word) {
  if (!word.starts_with("-"))
    return cat(full_name(app), ": got \"", word, "\", want nothing more; see ", full_name(app), " --help");
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  const std::string flag = word.substr(0, word.find('='));
  return cat(full_name(app), " - ", flag, ": got an unknown flag, want one of ", full_name(app), " --help",
             guess(flag, flags));
}

/// The first word that no command could take, and the command that met it.
std::pair<const CLI::App*, std::string> extra_of(const CLI::App& app) {
  if (const std::vector<std::string> words = app.remaining(false); !words.empty())
    return {&app, words.front()};
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? std::pair(&app, std::string()) : extra_of(*chosen.front());
}

/// The option that CLI11's sentence begins with: "--until: 1 required STEP missing".
const CLI::Option* option_of(const CLI::App& app, const std::string& sentence) {
  const std::string name = sentence.substr(0, sentence.find_first_of(": "));
  for (const CLI::Option* option : app.get_options())
    if (option->get_name() == name || option->get_name(false, true) == name) return option;
  return nullptr;
}

}  // namespace

std::string usage_sentence(const CLI::App& app, const CLI::ParseError& problem) {
  const CLI::App& command = command_of(app);
  const std::string said = problem.what();
  const std::string first = extra_of(app).second;
  const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&problem) && !first.empty();
  const bool lacks_command =
      dynamic_cast<const CLI::RequiredError*>(&problem) && !commands_in(command).empty();
  if (is_extra || lacks_command) {
    const CLI::App& place = is_extra ? *extra_of(app).first : command;
    return commands_in(place).empty() || first.starts_with("-") ? unknown_word(place, first)
                                                                : unknown_command(place, first);
  }
  const CLI::Option* const option = option_of(command, said);
  if (!option) return cat(full_name(command), " - ", said, "; see ", full_name(command), " --help");
  const std::string place = cat(full_name(command), " - ", option->get_name(), ": ");
  if (dynamic_cast<const CLI::ValidationError*>(&problem))
    return place + said.substr(std::min(said.size(), said.find(": ") + 2));
  const bool is_double = dynamic_cast<const CLI::ArgumentMismatch*>(&problem) && option->count() > 1;
  return is_double ? cat(place, "got it ", option->count(), " times, want it once")
                   : cat(place, "got nothing, want ",
                         option->get_type_name().empty() ? "a value" : option->get_type_name(), "; see ",
                         full_name(command), " --help");
}

template <class Number>
CLI::Option* number(CLI::Option* option) {
  return option->check([](const std::string& text) {
    using Limits = std::numeric_limits<Number>;
    const char* const end = text.data() + text.size();
    Number value{};
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && stop == end) return std::string();
    const bool is_large = error == std::errc::result_out_of_range && stop == end;
    return cat("got ", text.empty() ? "nothing" : text, ", want a ", Limits::is_integer ? "whole " : "",
               "number",
               is_large            ? cat(" up to ", Limits::max())
               : Limits::is_signed ? ""
                                   : " of at least 0");
  });
}

template CLI::Option* number<int>(CLI::Option*);
template CLI::Option* number<int64_t>(CLI::Option*);
template CLI::Option* number<uint64_t>(CLI::Option*);
template CLI::Option* number<double>(CLI::Option*);

}  // namespace shoal::cli
