// A right Program that is changed at random is no longer right, and the check says so. What it does not find must
// do no harm: it is run, and must give the same bits.
#include <gtest/gtest.h>

#include <random>

#include "base/text.h"
#include "lower/program_check.h"
#include "shoal/error.h"
#include "support/programs.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;

// Another number of about the right size.
template <class T>
void change(T& value, std::mt19937_64& random, int64_t least, int64_t most) {
  const T before = value;
  while (value == before) value = static_cast<T>(least + static_cast<int64_t>(random() % static_cast<uint64_t>(most - least + 1)));
}

// Every operand that the instruction has, as a way to change it.
std::vector<std::function<void()>> operands(Instruction& i, const Program& program, std::mt19937_64& random) {
  std::vector<std::function<void()>> all;
  const auto number = [&](auto& value, int64_t most) {
    all.push_back([&value, &random, most] { change(value, random, -1, std::max<int64_t>(most, 1)); });
  };
  const auto flag = [&](bool& value) { all.push_back([&value] { value = !value; }); };
  const auto range = [&](Range& value) {
    number(value.begin, program.num_microbatches);
    number(value.end, program.num_microbatches);
  };
  if (i.group >= 0 || i.kind == Kind::kReduceScatter) number(i.group, std::ssize(program.groups));
  if (i.frame >= 0) number(i.frame, 1);
  if (i.index >= 0)
    number(i.index, i.kind == Kind::kRun        ? std::ssize(program.segments)
                    : i.kind == Kind::kExchange ? std::ssize(program.exchanges)
                    : i.kind == Kind::kFetch    ? std::ssize(program.fetches)
                                                : std::ssize(program.buckets));
  if (i.kind == Kind::kLoad) number(i.microbatch, program.num_microbatches);
  if (i.accumulator >= 0) {
    number(i.accumulator, 3);
    if (i.kind == Kind::kAdd) {
      number(i.from, 3);
    } else {
      flag(i.adds);
      flag(i.widens);
    }
  }
  if (!i.round.empty()) range(i.round);
  for (Sum& sum : i.sums) {
    range(sum.microbatches);
    number(sum.accumulator, 3);
    for (PartialSum& term : sum.terms) {
      range(term.microbatches);
      number(term.dp, program.layout.dp);
      number(term.accumulator, 3);
      flag(term.in_fp32);
    }
  }
  if (i.kind == Kind::kAllGather)
    all.push_back([&i] {
      i.gathered = i.gathered == Buffer::Kind::kSum ? Buffer::Kind::kWeights : Buffer::Kind::kSum;
    });
  return all;
}

std::string mutate(Program& program, std::mt19937_64& random) {
  auto& list = program.instructions;
  const auto any = [&] { return static_cast<size_t>(random() % list.size()); };
  const auto position = [&](size_t n) { return list.begin() + static_cast<ptrdiff_t>(n); };
  switch (random() % 4) {
    case 0: {
      const size_t n = any();
      const std::string text = cat("drop ", n, " ", print(list[n], program));
      list.erase(position(n));
      return text;
    }
    case 1: {
      const size_t a = any(), b = any();
      std::swap(list[a], list[b]);
      return cat("swap ", a, " and ", b);
    }
    case 2: {
      const size_t from = any(), to = static_cast<size_t>(random() % (list.size() + 1));
      const Instruction copy = list[from];
      list.insert(position(to), copy);
      return cat("duplicate ", from, " at ", to, " ", print(copy, program));
    }
    default: {
      const size_t n = any();
      const std::string before = print(list[n], program);
      const auto changes = operands(list[n], program, random);
      if (changes.empty()) return "";
      changes[random() % changes.size()]();
      return cat("change ", n, " ", before, " to ", print(list[n], program));
    }
  }
}

TEST(Mutations, AreCaughtOrDoNoHarm) {
  constexpr int kTries = 10'000;
  struct Case {
    const test::ProgramModel* model;
    Layout layout;
    int64_t microbatches;
  };
  const test::ProgramModel tied = test::program_model(false, 1), words = test::program_model(true, 1),
                           divided = test::program_model(true, 2);
  std::vector<Case> cases;
  for (const Layout& layout : test::layouts_of_every_kind()) {
    cases.push_back({&tied, layout, 5});
    cases.push_back({&words, layout, 4});
  }
  for (const Layout& layout : test::divided_layouts()) cases.push_back({&divided, layout, 3});

  std::vector<std::vector<Program>> right;
  for (const Case& each : cases) right.push_back(test::programs_of(*each.model, each.layout, each.microbatches));
  std::mt19937_64 random(20'261'126);
  int tried = 0, caught = 0;
  std::map<size_t, test::Ran> wanted;
  std::set<std::string> harmless;
  while (tried < kTries) {
    const auto c = static_cast<size_t>(random() % cases.size());
    std::vector<Program> programs = right[c];
    const auto rank = static_cast<size_t>(random() % programs.size());
    const std::string what = mutate(programs[rank], random);
    if (what.empty() || programs[rank] == right[c][rank]) continue;
    ++tried;
    try {
      program_check(programs);
    } catch (const JobError&) {
      ++caught;
      continue;
    }
    const std::string name = cat(print(cases[c].layout), " of ", cases[c].microbatches, ", rank ", rank, ": ", what);
    if (!harmless.insert(name).second) continue;
    SCOPED_TRACE(name + "\n" + print(right[c][rank]));
    if (!wanted.contains(c)) wanted[c] = test::run_programs(*cases[c].model, right[c]);
    EXPECT_EQ(test::first_difference(test::run_programs(*cases[c].model, programs), wanted[c]), "");
  }
  RecordProperty("caught", caught);
  std::printf("%d of %d mutations are caught; %zu others give the same bits\n", caught, tried, harmless.size());
  for (const std::string& name : harmless) std::printf("  %s\n", name.c_str());
  EXPECT_GE(caught, tried * 99 / 100);
}

}  // namespace
}  // namespace shoal::lower
