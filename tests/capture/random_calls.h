// A call of each operator that LibTorch tags as random, in every form that a model may write.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

#include "support/draws.h"

namespace shoal::test {

using torch::Tensor;
using Function = Draws::Function;

inline constexpr double kHalf = 0.5;
inline const std::optional<at::Generator> kNone;

inline Tensor first(const std::tuple<Tensor, Tensor>& pair) { return std::get<0>(pair); }
// Somewhere for the form that is given its result.
template <class F>
Tensor into(const Tensor& x, F&& f, std::optional<at::ScalarType> dtype = {}) {
  Tensor out = torch::empty(x.sizes(), x.options().dtype(dtype.value_or(x.scalar_type())));
  f(out);
  return out;
}

/// Drawn by counter; `x`: [40, 50] normal numbers.
inline const std::map<std::string, Function>& drawn() {
  static const std::map<std::string, Function> table = {
      {"alpha_dropout", [](auto x) { return torch::alpha_dropout(x, kHalf, true); }},
      {"alpha_dropout_", [](auto x) { return torch::alpha_dropout_(x, kHalf, true); }},
      {"bernoulli", [](auto x) { return torch::bernoulli(x.sigmoid()); }},
      {"bernoulli.Tensor", [](auto x) { return at::_ops::bernoulli_Tensor::call(x, x.sigmoid(), kNone); }},
      {"bernoulli.Tensor_out",
       [](auto x) {
         return into(x,
                     [&](Tensor& out) { at::_ops::bernoulli_Tensor_out::call(x, x.sigmoid(), kNone, out); });
       }},
      {"bernoulli.float_out",
       [](auto x) {
         return into(x, [&](Tensor& out) { at::_ops::bernoulli_float_out::call(x, kHalf, kNone, out); });
       }},
      {"bernoulli.out",
       [](auto x) {
         return into(x, [&](Tensor& out) { at::_ops::bernoulli_out::call(x.sigmoid(), kNone, out); });
       }},
      {"bernoulli.p", [](auto x) { return torch::bernoulli(x, kHalf); }},
      {"bernoulli_.Tensor", [](auto x) { return x.bernoulli_(x.sigmoid()); }},
      {"bernoulli_.float", [](auto x) { return x.bernoulli_(kHalf); }},
      {"cauchy", [](auto x) { return at::cauchy(x); }},
      {"cauchy.out", [](auto x) { return into(x, [&](Tensor& out) { at::cauchy_out(out, x); }); }},
      {"cauchy_", [](auto x) { return x.cauchy_(); }},
      {"dropout", [](auto x) { return torch::dropout(x, kHalf, true); }},
      {"dropout_", [](auto x) { return torch::dropout_(x, kHalf, true); }},
      {"exponential", [](auto x) { return at::exponential(x); }},
      {"exponential.out", [](auto x) { return into(x, [&](Tensor& out) { at::exponential_out(out, x); }); }},
      {"exponential_", [](auto x) { return x.exponential_(); }},
      {"feature_alpha_dropout", [](auto x) { return torch::feature_alpha_dropout(x, kHalf, true); }},
      {"feature_alpha_dropout_", [](auto x) { return torch::feature_alpha_dropout_(x, kHalf, true); }},
      {"feature_dropout", [](auto x) { return torch::feature_dropout(x, kHalf, true); }},
      {"feature_dropout_", [](auto x) { return torch::feature_dropout_(x, kHalf, true); }},
      {"geometric", [](auto x) { return at::geometric(x, kHalf); }},
      {"geometric.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::geometric_out(out, x, kHalf); }); }},
      {"geometric_", [](auto x) { return x.geometric_(kHalf); }},
      {"log_normal", [](auto x) { return at::log_normal(x); }},
      {"log_normal.out", [](auto x) { return into(x, [&](Tensor& out) { at::log_normal_out(out, x); }); }},
      {"log_normal_", [](auto x) { return x.log_normal_(); }},
      {"multinomial", [](auto x) { return torch::multinomial(x.sigmoid(), 7); }},
      {"multinomial.out",
       [](auto x) {
         return into(x, [&](Tensor& out) { at::multinomial_out(out, x.sigmoid(), x.size(1)); }, at::kLong);
       }},
      {"native_dropout", [](auto x) { return first(at::native_dropout(x, kHalf, true)); }},
      {"native_dropout.out",
       [](auto x) {
         Tensor mask = torch::empty_like(x, torch::kBool);
         return into(x, [&](Tensor& out) { at::native_dropout_out(out, mask, x, kHalf, true); });
       }},
      {"normal.Tensor_Tensor", [](auto x) { return at::normal(x, x.abs()); }},
      {"normal.Tensor_Tensor_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::normal_out(out, x, x.abs()); }); }},
      {"normal.Tensor_float", [](auto x) { return at::normal(x, 2.0); }},
      {"normal.Tensor_float_out",
       [](auto x) {
         return into(x, [&](Tensor& out) { at::_ops::normal_Tensor_float_out::call(x, 2.0, kNone, out); });
       }},
      {"normal.float_Tensor", [](auto x) { return at::normal(2.0, x.abs()); }},
      {"normal.float_Tensor_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::normal_out(out, 2.0, x.abs()); }); }},
      {"normal.float_float", [](auto x) { return torch::normal(1, 2, x.sizes()); }},
      {"normal.float_float_out",
       [](auto x) { return into(x, [&](Tensor& out) { torch::normal_out(out, 1, 2, x.sizes()); }); }},
      {"normal.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::_ops::normal_out::call(x, 1, 2, kNone, out); }); }},
      {"normal_", [](auto x) { return x.normal_(); }},
      {"normal_functional", [](auto x) { return at::normal_functional(x); }},
      {"poisson", [](auto x) { return torch::poisson(3 * x.abs()); }},
      {"poisson.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::poisson_out(out, 3 * x.abs()); }); }},
      {"rand", [](auto x) { return torch::rand(x.sizes()); }},
      {"rand.generator", [](auto x) { return torch::rand(x.sizes(), kNone); }},
      {"rand.generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::rand_out(out, x.sizes(), kNone); }); }},
      {"rand.out", [](auto x) { return into(x, [&](Tensor& out) { at::rand_out(out, x.sizes()); }); }},
      {"rand_like", [](auto x) { return torch::rand_like(x); }},
      {"rand_like.generator", [](auto x) { return torch::rand_like(x, kNone); }},
      {"rand_like.generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::rand_like_out(out, x, kNone); }); }},
      {"rand_like.out", [](auto x) { return into(x, [&](Tensor& out) { at::rand_like_out(out, x); }); }},
      {"randint", [](auto x) { return torch::randint(99, x.sizes()); }},
      {"randint.generator", [](auto x) { return torch::randint(99, x.sizes(), kNone); }},
      {"randint.generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_out(out, 99, x.sizes(), kNone); }); }},
      {"randint.low", [](auto x) { return torch::randint(5, 99, x.sizes()); }},
      {"randint.low_generator", [](auto x) { return torch::randint(5, 99, x.sizes(), kNone); }},
      {"randint.low_generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_out(out, 5, 99, x.sizes(), kNone); }); }},
      {"randint.low_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_out(out, 5, 99, x.sizes()); }); }},
      {"randint.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_out(out, 99, x.sizes()); }); }},
      {"randint_like", [](auto x) { return torch::randint_like(x, 99); }},
      {"randint_like.Tensor",
       [](auto x) { return torch::randint_like(x, torch::full({}, 99, torch::kLong)); }},
      {"randint_like.Tensor_generator",
       [](auto x) { return torch::randint_like(x, torch::full({}, 99, torch::kLong), kNone); }},
      {"randint_like.Tensor_generator_out",
       [](auto x) {
         return into(
             x, [&](Tensor& out) { at::randint_like_out(out, x, torch::full({}, 99, torch::kLong), kNone); });
       }},
      {"randint_like.Tensor_out",
       [](auto x) {
         return into(x,
                     [&](Tensor& out) { at::randint_like_out(out, x, torch::full({}, 99, torch::kLong)); });
       }},
      {"randint_like.generator", [](auto x) { return torch::randint_like(x, 99, kNone); }},
      {"randint_like.generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_like_out(out, x, 99, kNone); }); }},
      {"randint_like.low_dtype", [](auto x) { return torch::randint_like(x, 5, 99); }},
      {"randint_like.low_dtype_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_like_out(out, x, 5, 99); }); }},
      {"randint_like.low_generator_dtype", [](auto x) { return torch::randint_like(x, 5, 99, kNone); }},
      {"randint_like.low_generator_dtype_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_like_out(out, x, 5, 99, kNone); }); }},
      {"randint_like.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randint_like_out(out, x, 99); }); }},
      {"randn", [](auto x) { return torch::randn(x.sizes()); }},
      {"randn.generator", [](auto x) { return torch::randn(x.sizes(), kNone); }},
      {"randn.generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randn_out(out, x.sizes(), kNone); }); }},
      {"randn.out", [](auto x) { return into(x, [&](Tensor& out) { at::randn_out(out, x.sizes()); }); }},
      {"randn_like", [](auto x) { return torch::randn_like(x); }},
      {"randn_like.generator", [](auto x) { return torch::randn_like(x, kNone); }},
      {"randn_like.generator_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::randn_like_out(out, x, kNone); }); }},
      {"randn_like.out", [](auto x) { return into(x, [&](Tensor& out) { at::randn_like_out(out, x); }); }},
      {"random", [](auto x) { return at::random(x); }},
      {"random.from", [](auto x) { return at::random(x, 5, 99); }},
      {"random.from_out",
       [](auto x) { return into(x, [&](Tensor& out) { at::random_out(out, x, 5, 99); }); }},
      {"random.out", [](auto x) { return into(x, [&](Tensor& out) { at::random_out(out, x); }); }},
      {"random.to", [](auto x) { return at::random(x, 99); }},
      {"random.to_out", [](auto x) { return into(x, [&](Tensor& out) { at::random_out(out, x, 99); }); }},
      {"random_", [](auto x) { return x.random_(); }},
      {"random_.from", [](auto x) { return x.random_(5, 99); }},
      {"random_.to", [](auto x) { return x.random_(99); }},
      {"randperm", [](auto x) { return torch::randperm(x.numel()); }},
      {"randperm.generator", [](auto x) { return torch::randperm(x.numel(), kNone); }},
      {"randperm.generator_out",
       [](auto x) {
         Tensor out = torch::empty({x.numel()}, torch::kLong);
         at::randperm_out(out, x.numel(), kNone);
         return out;
       }},
      {"randperm.out",
       [](auto x) {
         Tensor out = torch::empty({x.numel()}, torch::kLong);
         at::randperm_out(out, x.numel());
         return out;
       }},
      {"rrelu", [](auto x) { return torch::rrelu(x, 0.1, 0.3, true); }},
      {"rrelu_", [](auto x) { return torch::rrelu_(x, 0.1, 0.3, true); }},
      {"rrelu_with_noise",
       [](auto x) {
         Tensor noise = torch::empty_like(x);
         return at::rrelu_with_noise(x, noise, 0.1, 0.3, true);
       }},
      {"rrelu_with_noise.out",
       [](auto x) {
         Tensor noise = torch::empty_like(x);
         return into(x, [&](Tensor& out) { at::rrelu_with_noise_out(out, x, noise, 0.1, 0.3, true); });
       }},
      {"rrelu_with_noise_",
       [](auto x) {
         Tensor noise = torch::empty_like(x);
         return at::rrelu_with_noise_(x, noise, 0.1, 0.3, true);
       }},
      {"rrelu_with_noise_functional",
       [](auto x) {
         return first(at::rrelu_with_noise_functional(x, torch::empty_like(x), 0.1, 0.3, true));
       }},
      {"scaled_dot_product_attention",
       [](auto x) {
         const Tensor q = x.view({1, 2, 20, 50});
         return torch::scaled_dot_product_attention(q, q, q, {}, kHalf);
       }},
      {"_scaled_dot_product_attention_math",
       [](auto x) {
         const Tensor q = x.view({1, 2, 20, 50});
         return first(at::_scaled_dot_product_attention_math(q, q, q, {}, kHalf));
       }},
      {"uniform", [](auto x) { return at::uniform(x); }},
      {"uniform.out", [](auto x) { return into(x, [&](Tensor& out) { at::uniform_out(out, x); }); }},
      {"uniform_", [](auto x) { return x.uniform_(); }},
  };
  return table;
}

/// Distributions that are not drawn by counter.
inline const std::map<std::string, Function>& refused() {
  static const std::map<std::string, Function> table = {
      {"_sample_dirichlet", [](auto x) { return at::_sample_dirichlet(x.abs() + 1); }},
      {"_standard_gamma", [](auto x) { return at::_standard_gamma(x.abs() + 1); }},
      {"binomial", [](auto x) { return at::binomial(torch::full_like(x, 9), x.sigmoid()); }},
      {"_sample_dirichlet.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::_sample_dirichlet_out(out, x.abs()); }); }},
      {"_standard_gamma.out",
       [](auto x) { return into(x, [&](Tensor& out) { at::_standard_gamma_out(out, x.abs()); }); }},
      {"binomial.out",
       [](auto x) {
         return into(x, [&](Tensor& out) { at::binomial_out(out, torch::full_like(x, 9), x.sigmoid()); });
       }},
  };
  return table;
}

}  // namespace shoal::test
