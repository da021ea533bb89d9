// Every row is proved: what it says holds (value, and whether to the bit), and what holds it says.
#include "proof.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "samples.h"
#include "support/expect_error.h"

namespace shoal::ops {
namespace {

// Beside the test program, wherever it is started.
std::filesystem::path table_path() {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("ops_proof.txt");
}

std::string op_of(const std::string& sample) { return sample.substr(0, sample.find('(')); }

std::map<std::string, std::vector<std::string>> samples_by_operator() {
  std::map<std::string, std::vector<std::string>> samples;
  for (const char* sample : kSamples) samples[op_of(sample)].push_back(sample);
  return samples;
}

// Not every kernel takes every dtype; fp32 it must take.
bool runs(const std::string& sample, at::ScalarType dtype) {
  try {
    CallParser(sample, dtype).parse();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

TEST(OpsProof, EveryRowHasASampleAndEverySampleARow) {
  const auto samples = samples_by_operator();
  for (const std::string& op : operators_with_rules()) {
    if (op.starts_with("aten::") || op.starts_with("shoal::")) {  // others were registered by a test
      EXPECT_TRUE(samples.contains(op)) << op << " has no sample";
    }
  }
  for (const auto& [op, calls] : samples) EXPECT_TRUE(has_rule(op)) << op << " has no row";
}

// Sums pass these for the samples' numbers, and not for all.
constexpr std::string_view kLinearOnSomeNumbers[] = {
    "aten::nan_to_num",  // a sum that is no number may have addends that are
    "aten::_to_copy",    // to whole numbers it rounds
};

TEST(OpsProof, EveryRowSaysWhatHoldsAndNothingElse) {
  at::set_num_threads(1);
  std::ostringstream table;
  int64_t rows = 0, pass_sums = 0, divisions = 0, to_the_bit = 0, runs_made = 0, uneven = 0;
  std::map<std::string, int> by_dtype;
  for (const auto& [op, calls] : samples_by_operator()) {
    if (!has_rule(op)) continue;
    const Rule& rule = *rule_of(op);
    ++rows;
    Proof proof;
    for (const std::string& call : calls) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble, at::kLong})
        if (dtype == at::kFloat || runs(call, dtype)) {
          try {
            prove_stated(rule, call, dtype, proof);
            if (at::isFloatingType(dtype)) prove_sums(rule, call, dtype, proof);
          } catch (const std::exception& error) {
            ADD_FAILURE() << call << " - sample: " << error.what();
          }
        }
      if (runs(call, at::kDouble)) find_missing(rule, call, proof);
    }
    if (std::ranges::count(kLinearOnSomeNumbers, op) == 0) find_missing_sums(proof);
    for (const std::string& failure : proof.failures) ADD_FAILURE() << "does not hold: " << failure;
    for (const std::string& missing : proof.missing)
      ADD_FAILURE() << "holds, and the row lacks it: " << missing;
    runs_made += proof.runs;
    if (proof.shown.empty()) table << op << " | whole\n";
    for (const std::string& inputs : proof.sums) table << op << " | sums pass in inputs " << inputs << "\n";
    pass_sums += !proof.sums.empty();
    for (const auto& [factor, shown] : proof.shown) {
      table << op << " | " << factor << " | " << shown.how << " | " << join(shown.dtypes, " ") << " | parts "
            << join(shown.parts, " ") << (shown.uneven ? " and uneven" : "") << " | value "
            << (shown.value ? "yes" : "no") << " | bits "
            << (shown.other_bits.empty() ? "yes" : cat("no: ", join(shown.other_bits, " "))) << "\n";
      ++divisions;
      to_the_bit += shown.other_bits.empty();
      uneven += shown.uneven;
      for (const std::string& dtype : shown.dtypes) ++by_dtype[dtype];
    }
  }
  std::string dtypes;
  for (const auto& [dtype, count] : by_dtype) dtypes += cat(" ", dtype, " ", count);
  const std::string counts = cat("rows ", rows, " (pass sums: ", pass_sums, "), divisions ", divisions,
                                 " (uneven parts too: ", uneven, "), to the bit ", to_the_bit,
                                 ", by dtype:", dtypes, "; calls divided and compared: ", runs_made);
  table << counts << "\n";
  std::cout << table.str();
  std::ofstream(table_path()) << table.str();
  EXPECT_GE(rows, 400);
}

TEST(OpsProof, AWrongRowIsCaught) {
  const auto failures = [](const std::string& text, const std::string& sample) {
    Rule rule = parse_rule(op_of(sample), text);
    resolve(rule);
    Proof proof;
    prove_stated(rule, sample, at::kFloat, proof);
    return proof.failures;
  };
  EXPECT_TRUE(failures("mk,kn->mn", "aten::mm(f[12,30], f[30,10])").empty());
  EXPECT_FALSE(failures("mk,nk->mn", "aten::mm(f[12,12], f[12,12])").empty());
  EXPECT_FALSE(failures("...->...", "aten::_softmax(f[12,30], 1, false)").empty());
  EXPECT_FALSE(failures("...->()", "aten::mean(f[12,30])").empty());
  EXPECT_FALSE(failures("mn,mk,kn->mn; broadcast: 0", "aten::addmm(f[10], f[12,30], f[30,10])").empty());
  EXPECT_FALSE(failures("...[dim:r]->...[dim:_]", "aten::amax(f[12,10], [1])").empty());
  EXPECT_FALSE(failures("vd,...->...d", "shoal::embedding_rows(f[30,12], i30[4,10], 30, 0)").empty());
}

Proof sums_of(const std::string& text, const std::string& sample) {
  Rule rule = parse_rule(op_of(sample), text);
  resolve(rule);
  Proof proof;
  prove_sums(rule, sample, at::kDouble, proof);
  find_missing_sums(proof);
  return proof;
}

TEST(OpsProof, AWrongLinearityIsCaught) {
  EXPECT_TRUE(sums_of("mk,kn->mn; linear: 0, 1", "aten::mm(f[12,30], f[30,10])").failures.empty());
  EXPECT_FALSE(sums_of("mk,kn->mn; linear: 0 1", "aten::mm(f[12,30], f[30,10])").failures.empty());
  EXPECT_FALSE(sums_of("...->...; linear: 0", "aten::relu(f[12,30])").failures.empty());
  EXPECT_FALSE(sums_of("...->...; linear: 0", "aten::add.Scalar(f[12,30], 2)").failures.empty());
  EXPECT_FALSE(sums_of("...,...->...; linear: 0", "aten::add.Tensor(f[12,30], f[12,30])").failures.empty());
}

TEST(OpsProof, AMissingLinearityIsCaught) {
  EXPECT_EQ(sums_of("mk,kn->mn; linear: 0", "aten::mm(f[12,30], f[30,10])").missing,
            (std::vector<std::string>{"aten::mm(f[12,30], f[30,10]), f64: sums in inputs 1"}));
  EXPECT_EQ(sums_of("...,...->...; broadcast", "aten::sub.Tensor(f[12,10], f[10])").missing,
            (std::vector<std::string>{"aten::sub.Tensor(f[12,10], f[10]), f64: sums in inputs 0 1"}));
}

TEST(OpsProof, AMissingDivisionIsCaught) {
  const auto missing = [](const std::string& text, const std::string& sample) {
    Rule rule = parse_rule(op_of(sample), text);
    resolve(rule);
    Proof proof;
    find_missing(rule, sample, proof);
    return proof.missing;
  };
  EXPECT_TRUE(missing("mk,kn->mn", "aten::mm(f[12,30], f[30,10])").empty());
  const auto found = missing("mk,kn->mn; whole: k", "aten::mm(f[12,30], f[30,10])");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], "aten::mm(f[12,30], f[30,10]) in 2 parts: S1, S0 -> P(sum)");
  EXPECT_FALSE(missing("vd,...->...d; whole: v ...", "aten::embedding(f[20,12], i20[4,6])").empty());
  EXPECT_FALSE(missing("...,...->...; broadcast; whole: ...", "aten::add.Tensor(f[12,10], f[10])").empty());
}

}  // namespace
}  // namespace shoal::ops
