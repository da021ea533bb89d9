// What filters of web text measure: numbers of one text, as expressions call them. Sources: Rae et al.,
// "Scaling language models: methods, analysis and insights from training Gopher" (2021), section A.1; Raffel
// et al. (C4, 2020) for the ends of lines; Penedo et al. (FineWeb, 2024) for short lines. docs/data_engine.md
// says what each is.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace shoal::flow {

struct TextMeasure {
  const char* name;
  bool is_count;      // a whole number, else a fraction
  const char* takes;  // a number that is written behind the text, as in "text, 3"; null: none
  double (*of)(std::string_view text, int64_t number);
};

std::span<const TextMeasure> text_measures();

/// Arrow knows each as "shoal_" and its name from here on. Once.
void register_text_measures();

}  // namespace shoal::flow
