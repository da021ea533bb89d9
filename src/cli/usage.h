// What is wrong with a command line, in our own words.
#pragma once

#include <string>

namespace CLI {
class App;
class Option;
class ParseError;
}  // namespace CLI

namespace shoal::cli {

/// "shoal train - --stes: got an unknown flag, want one of shoal train --help; did you mean --steps?". Of a
/// command line that `app` could not parse.
std::string usage_sentence(const CLI::App& app, const CLI::ParseError&);

/// The option takes a number of this type, and says so: int, int64_t, uint64_t or double.
template <class Number>
CLI::Option* number(CLI::Option*);

}  // namespace shoal::cli
