// What draws random numbers. Each part draws from a stream of its own, so its numbers are not the whole's.
#include "ops/rules.h"

namespace shoal::ops {
namespace {

constexpr const char* kLike = "...->...; random";
constexpr const char* kOfSize = "->...; size=...; random";

}  // namespace

Table random_table() {
  static constexpr Row kRows[] = {
      {"aten::bernoulli", kLike},
      {"aten::bernoulli.Tensor", "...,...->...; broadcast: 1; random"},
      {"aten::bernoulli.p", kLike},
      {"aten::cauchy", kLike},
      {"aten::exponential", kLike},
      {"aten::geometric", kLike},
      {"aten::log_normal", kLike},
      {"aten::multinomial", "rc->rn; whole: c n; random | c->n; whole: c n; random"},
      {"aten::native_dropout", "...->...,...; random"},
      {"aten::normal.Tensor_Tensor", "...,...->...; broadcast; random"},
      {"aten::normal.Tensor_float", kLike},
      {"aten::normal.float_Tensor", kLike},
      {"aten::normal.float_float", kOfSize},
      {"aten::normal_functional", kLike},
      {"aten::poisson", kLike},
      {"aten::rand", kOfSize},
      {"aten::rand.generator", kOfSize},
      {"aten::rand_like", kLike},
      {"aten::rand_like.generator", kLike},
      {"aten::randint", kOfSize},
      {"aten::randint.generator", kOfSize},
      {"aten::randint.low", kOfSize},
      {"aten::randint.low_generator", kOfSize},
      {"aten::randint_like", kLike},
      {"aten::randint_like.Tensor", "...,()->...; random"},
      {"aten::randint_like.Tensor_generator", "...,()->...; random"},
      {"aten::randint_like.generator", kLike},
      {"aten::randint_like.low_dtype", kLike},
      {"aten::randint_like.low_generator_dtype", kLike},
      {"aten::randn", kOfSize},
      {"aten::randn.generator", kOfSize},
      {"aten::randn_like", kLike},
      {"aten::randn_like.generator", kLike},
      {"aten::random", kLike},
      {"aten::random.from", kLike},
      {"aten::random.to", kLike},
      {"aten::randperm", "->n; whole: n; random"},
      {"aten::randperm.generator", "->n; whole: n; random"},
      {"aten::rrelu_with_noise_functional", "...,...->...,...; random"},
      {"aten::uniform", kLike},
  };
  return kRows;
}

}  // namespace shoal::ops
