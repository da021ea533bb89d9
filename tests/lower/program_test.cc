#include "lower/program.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/text.h"
#include "lower/program_check.h"
#include "shoal/error.h"
#include "support/expect_error.h"
#include "support/programs.h"

namespace shoal::lower {
namespace {

using test::ProgramModel;

// --- Golden Programs: SHOAL_GOLDEN=write writes them anew, to be read before they are committed ---
void expect_golden(const std::string& name, const std::vector<Program>& programs) {
  const std::string path = cat(SHOAL_TESTS, "/golden/", name, ".txt");
  std::string text;
  for (const Program& program : programs) text += cat(text.empty() ? "" : "\n", print(program));
  if (const char* mode = std::getenv("SHOAL_GOLDEN"); mode != nullptr && std::string(mode) == "write")
    std::ofstream(path) << text;
  std::ifstream file(path);
  std::ostringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(text, golden.str()) << "differs from " << path;
}

TEST(Program, IsWhatItsGoldenFileSays) {
  const ProgramModel tied = test::program_model(false, 1), words = test::program_model(true, 2);
  expect_golden("data_parallel", test::programs_of(tied, {.dp = 2}, 4));
  expect_golden("replicated_optimizer", test::programs_of(tied, {.dp = 2, .zero = 0}, 2));
  expect_golden("sharded_gradients", test::programs_of(tied, {.dp = 2, .zero = 2}, 3));
  expect_golden("sharded_parameters", test::programs_of(words, {.dp = 2, .zero = 3}, 2));
  expect_golden("tensor_parallel", test::programs_of(words, {.tp = 2}, 1));
  expect_golden("servers", test::programs_of(tied, {.dp = 1, .servers = 1}, 2));
}

TEST(Program, ReadsBackToTheSame) {
  int programs = 0;
  for (const int64_t chunks : {1, 2}) {
    const ProgramModel models[] = {test::program_model(false, 1), test::program_model(true, chunks)};
    for (const ProgramModel& model : models)
      for (const Layout& layout :
           model.graph.num_parts > 1 ? test::divided_layouts() : test::layouts_of_every_kind())
        for (const int64_t m : {3, 4, 7})
          for (const Program& program : test::programs_of(model, layout, m)) {
            const std::string text = print(program);
            const Program read = parse_program(text);
            EXPECT_EQ(print(read), text);
            EXPECT_TRUE(read == program) << text;
            ++programs;
          }
  }
  EXPECT_GT(programs, 100);
}

TEST(Program, WhatCannotBeReadSaysWhere) {
  EXPECT_ERROR(parse_program("program training rank=0 microbatches=1 layout=dp=1\n  rum S0\n"), InputError,
               "program line 2 - syntax: got \"rum\", want an instruction");
  EXPECT_ERROR(parse_program("  load %f0\n"), InputError,
               "program line 1 - syntax: got \"the end of the line\", want microbatch=...");
  EXPECT_ERROR(parse_program("  run S0 %f0 -> %b0\n"), InputError,
               "program line 1 - syntax: got \"%b0\", want a buffer like %a0");
  EXPECT_ERROR(parse_program("  barrier group=dp\n"), InputError,
               "program line 1 - syntax: got \"dp\", want a group that the program names before");
  EXPECT_ERROR(parse_program("  reduce_scatter sum [0,2] -> %s of\n"), InputError,
               "program line 1 - syntax: got \"[0,2]\", want a range like [0,2)");
  EXPECT_ERROR(parse_program("  free %f0 now\n"), InputError,
               "program line 1 - syntax: got \"now\", want the end of the line");
}

TEST(ProgramCheck, EveryLayoutPasses) {
  const ProgramModel tied = test::program_model(false, 1), words = test::program_model(true, 1),
                     divided = test::program_model(true, 2);
  for (int64_t m = 1; m <= 9; ++m) {
    for (const Layout& layout : test::layouts_of_every_kind()) {
      if (layout.dp > m) continue;
      program_check(test::programs_of(tied, layout, m));
      program_check(test::programs_of(words, layout, m));
    }
    for (const Layout& layout : test::divided_layouts())
      if (layout.dp <= m) program_check(test::programs_of(divided, layout, m));
  }
}

void expect_fault(std::vector<Program> programs, size_t rank, const std::function<void(Program&)>& change,
                  const std::string& want) {
  change(programs[rank]);
  EXPECT_ERROR(program_check(programs), JobError, want);
}
size_t at(const Program& program, Instruction::Kind kind, size_t nth = 0) {
  for (size_t n = 0; n < program.instructions.size(); ++n)
    if (program.instructions[n].kind == kind && nth-- == 0) return n;
  ADD_FAILURE() << "no such instruction";
  return 0;
}

TEST(ProgramCheck, MarksTheBadLine) {
  using Kind = Instruction::Kind;
  const auto good = test::programs_of(test::program_model(false, 1), {.dp = 2}, 4);
  expect_fault(good, 0, [](Program& p) { p.instructions.erase(p.instructions.begin()); },
               "program of rank 0 - instruction 0, \"run S0 %f0 -> %a0 f32\": the frame has no microbatch");
  expect_fault(good, 1, [](Program& p) { p.instructions[0].microbatch = 0; },
               "program of rank 1 - instruction 0, \"load %f0 microbatch=0\": the microbatch is another device's");
  expect_fault(good, 0, [](Program& p) { p.instructions[4].adds = false; },
               "program of rank 0 - instruction 4, \"run S0 %f0 -> %a0\": accumulator 0 is overwritten before it is read");
  expect_fault(good, 0, [](Program& p) { p.instructions[1].widens = false; },
               "program of rank 0 - instruction 4, \"run S0 %f0 +> %a0\": microbatch 1 is added out of the tree's order");
  expect_fault(good, 0, [](Program& p) { p.instructions[1].accumulator = 3; },
               "program of rank 0 - instruction 1, \"run S0 %f0 -> %a3 f32\": there is no such accumulator");
  expect_fault(good, 0, [](Program& p) { p.instructions[at(p, Kind::kReduceScatter)].sums[0].terms.pop_back(); },
               "program of rank 0 - instruction 6, \"reduce_scatter sum [0,4) -> %s of [0,2)@0%a0:f32 "
               "group=world\": the terms leave a hole");
  expect_fault(good, 0, [](Program& p) { p.instructions[at(p, Kind::kReduceScatter)].group = -1; },
               "program of rank 1 - instruction 6, \"reduce_scatter sum [0,4) -> %s of [0,2)@0%a0:f32 [2,4)@1%a0:f32 "
               "group=world\": rank 0 calls \"all_reduce %n group=world\" here");
  expect_fault(good, 1, [](Program& p) { p.instructions.pop_back(); },
               "program of rank 1 - end: rank 0 calls \"replay group=world\" here");
}

TEST(ProgramCheck, FindsRaces) {
  using Kind = Instruction::Kind;
  auto programs = test::programs_of(test::program_model(true, 1), {.dp = 2, .zero = 0}, 2);
  for (Program& program : programs)
    program.instructions.erase(program.instructions.begin() + static_cast<ptrdiff_t>(at(program, Kind::kBarrier)));
  EXPECT_ERROR(program_check(programs), JobError,
               "program of rank 0 - instruction 5, \"all_gather %s group=world\": rank 1 may not have written yet what it "
               "reads there");
  programs = test::programs_of(test::program_model(true, 1), {.dp = 2, .zero = 3}, 2);
  for (Program& program : programs)
    program.instructions.erase(program.instructions.begin() + static_cast<ptrdiff_t>(at(program, Kind::kBarrier)));
  EXPECT_THROW(program_check(programs), JobError);
}

}  // namespace
}  // namespace shoal::lower
