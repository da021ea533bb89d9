// Anagrams in text: a flow with a function of your own over Arrow's batches, on any number of devices.
#include <arrow/api.h>
#include <shoal/error.h>
#include <shoal/flow.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

using Rows = std::shared_ptr<arrow::RecordBatch>;

void require(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}

const auto kColumns = arrow::schema({{"word", arrow::utf8()}, {"letters", arrow::utf8()}});

/// Of rows of words: those of five letters or more, in small letters, each with its letters in order.
Rows with_letters(const Rows& rows) {
  const auto given = std::static_pointer_cast<arrow::StringArray>(rows->GetColumnByName("word"));
  arrow::StringBuilder words, letters;
  for (int64_t row = 0; row < given->length(); ++row) {
    std::string word;
    for (const unsigned char c : given->GetView(row))
      if (std::isalpha(c)) word.push_back(static_cast<char>(std::tolower(c)));
    if (word.size() < 5) continue;
    require(words.Append(word));
    std::sort(word.begin(), word.end());
    require(letters.Append(word));
  }
  const auto columns = {words.Finish().ValueOrDie(), letters.Finish().ValueOrDie()};
  return arrow::RecordBatch::Make(kColumns, columns.begin()[0]->length(), columns);
}

}  // namespace

// program DEVICES OUT FILE...
int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "program DEVICES OUT FILE...\n");
    return 2;
  }
  try {
    shoal::Flow flow;
    flow.settings.part_bytes = 1 << 16;  // small, so that a little text has work for several devices
    flow.read({.paths = {argv + 3, argv + argc}, .format = "text"})
        .flat_map("text", "words", "word")
        .map("with letters", with_letters, kColumns)
        .group_by({"letters"},
                  {{"words", "count_distinct(word)"}, {"first", "min(word)"}, {"last", "max(word)"}})
        .filter("words > 1")
        .sort({"-words"})
        .write({.out = argv[2], .format = "csv"});
    const shoal::FlowReport report = shoal::run_flow(flow, {.devices = std::atoi(argv[1])});
    for (const shoal::FlowStepCount& step : report.steps)
      std::printf("%8lld -> %8lld  %s\n", static_cast<long long>(step.rows_in),
                  static_cast<long long>(step.rows_out), step.step.c_str());
  } catch (const shoal::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
  return 0;
}
