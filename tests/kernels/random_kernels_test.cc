// Are the numbers that are drawn by counter as random as they should be? Moments, distributions,
// independence, each within 5 standard errors. The keys are fixed, so what passes once passes always.
#include "kernels/cpu/random_kernels.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/elementary.h"
#include "shoal/error.h"
#include "support/draws.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace F = torch::nn::functional;
using test::Draws;
using torch::Tensor;

constexpr int64_t kCount = 400'000;

// How far the mean is from `want`, in its own standard errors.
double errors_of_mean(const Tensor& values, double want) {
  const Tensor wide = values.to(torch::kDouble);
  const double error = wide.std().item<double>() / std::sqrt(static_cast<double>(values.numel()));
  return std::abs(wide.mean().item<double>() - want) / error;
}

struct Distribution {
  const char* name;
  Draws::Function draw;
  double mean;
  std::array<double, 3> central;  // second, third, fourth moment about the mean
  double least, most;             // all numbers lie there, the ends included
};

const Distribution kDistributions[] = {
    {"rand", [](auto x) { return torch::rand(x.sizes()); }, 0.5, {1.0 / 12, 0, 1.0 / 80}, 0, 1 - 0x1p-24},
    {"rand in double",
     [](auto x) { return torch::rand(x.sizes(), torch::kDouble); },
     0.5,
     {1.0 / 12, 0, 1.0 / 80},
     0,
     1 - 0x1p-53},
    {"rand in bf16",
     [](auto x) { return torch::rand(x.sizes(), torch::kBFloat16); },
     0.5 - 0x1p-9,
     {1.0 / 12, 0, 1.0 / 80},
     0,
     1 - 0x1p-8},
    {"uniform_ from -2 to 4", [](auto x) { return x.uniform_(-2, 4); }, 1, {3, 0, 16.2}, -2, 4 - 0x1p-22},
    {"uniform_ from 1000 to 1001, coarse",
     [](auto x) { return x.uniform_(1000, 1001); },
     1000.5 - 0x1p-15,
     {1.0 / 12, 0, 1.0 / 80},
     1000,
     1001 - 0x1p-14},
    {"randn", [](auto x) { return torch::randn(x.sizes()); }, 0, {1, 0, 3}, -9, 9},
    {"randn_like in double",
     [](auto x) { return torch::randn_like(x, torch::kDouble); },
     0,
     {1, 0, 3},
     -9,
     9},
    {"normal_ of mean 2 and deviation 3", [](auto x) { return x.normal_(2, 3); }, 2, {9, 0, 243}, -25, 29},
    {"normal of tensors",
     [](auto x) { return at::normal(torch::full_like(x, 2), torch::full_like(x, 3)); },
     2,
     {9, 0, 243},
     -25,
     29},
    {"randint below 7", [](auto x) { return torch::randint(7, x.sizes()); }, 3, {4, 0, 28}, 0, 6},
    {"randint from -3 to 4", [](auto x) { return torch::randint(-3, 4, x.sizes()); }, 0, {4, 0, 28}, -3, 3},
    {"random_ of bytes",
     [](auto x) { return x.to(torch::kByte).random_(); },
     127.5,
     {65535.0 / 12, 0, 65535.0 * (3 * 65536 - 7) / 240},
     0,
     255},
    {"bernoulli of 0.3",
     [](auto x) { return torch::full_like(x, 0.3).bernoulli(); },
     0.3,
     {0.21, 0.21 * 0.4, 0.21 * (1 - 3 * 0.21)},
     0,
     1},
    {"bernoulli_ of 0.9",
     [](auto x) { return x.bernoulli_(0.9); },
     0.9,
     {0.09, -0.09 * 0.8, 0.09 * (1 - 3 * 0.09)},
     0,
     1},
    {"exponential of rate 2",
     [](auto x) { return x.exponential_(2); },
     0.5,
     {1.0 / 4, 2.0 / 8, 9.0 / 16},
     1e-17,
     19},
    {"the logarithm of log_normal",
     [](auto x) { return x.log_normal_(1, 0.5).log(); },
     1,
     {0.25, 0, 0.1875},
     -4,
     6},
    {"geometric of 0.25", [](auto x) { return x.geometric_(0.25); }, 4, {12, 84, 1308}, 1, 200},
    {"poisson of 2.5",
     [](auto x) { return torch::poisson(torch::full_like(x, 2.5)); },
     2.5,
     {2.5, 2.5, 2.5 + 3 * 6.25},
     0,
     30},
    {"poisson of 30",
     [](auto x) { return torch::poisson(torch::full_like(x, 30)); },
     30,
     {30, 30, 30 + 3 * 900.0},
     0,
     90},
    {"poisson of 1000",
     [](auto x) { return torch::poisson(torch::full_like(x, 1000)); },
     1000,
     {1000, 1000, 1000 + 3e6},
     700,
     1300},
    // cauchy's own moments do not exist
    {"the angle of cauchy",
     [](auto x) { return torch::atan((x.cauchy_(1, 3) - 1) / 3) / kPi; },
     0,
     {1.0 / 12, 0, 1.0 / 80},
     -0.5,
     0.5},
    {"dropout of ones",
     [](auto x) { return torch::dropout(torch::ones_like(x), 0.2, true); },
     1,
     {0.25, -0.1875, 0.203125},
     0,
     1.25},
    {"dropout_ of ones",
     [](auto x) { return F::dropout(torch::ones_like(x), F::DropoutFuncOptions().p(0.2).inplace(true)); },
     1,
     {0.25, -0.1875, 0.203125},
     0,
     1.25},
    {"rrelu of minus ones",
     [](auto x) { return torch::rrelu(-torch::ones_like(x), 0.1, 0.3, true); },
     -0.2,
     {0.04 / 12, 0, 0.0016 / 80},
     -0.3 - 1e-7,
     -0.1 + 1e-7},
};

TEST(RandomKernels, HaveTheMomentsOfTheirDistributions) {
  for (const Distribution& want : kDistributions) {
    SCOPED_TRACE(want.name);
    const Tensor numbers = Draws(want.draw, torch::zeros({kCount}))({11, 3, 5}).to(torch::kDouble);
    EXPECT_LT(errors_of_mean(numbers, want.mean), 5);
    const Tensor deviation = numbers - want.mean;
    for (int power : {2, 3, 4})
      EXPECT_LT(errors_of_mean(deviation.pow(power), want.central[static_cast<size_t>(power) - 2]), 5)
          << power;
    EXPECT_GE(numbers.min().item<double>(), want.least);
    EXPECT_LE(numbers.max().item<double>(), want.most);
  }
}

// Sum of (got - want)^2 / want over bins, in standard deviations above its mean.
double chi_square_errors(const Tensor& bins, const std::vector<double>& probabilities) {
  const Tensor counts =
      torch::bincount(bins.to(torch::kLong), {}, static_cast<int64_t>(probabilities.size()));
  double sum = 0;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double want = probabilities[i] * static_cast<double>(bins.numel());
    const double got = counts[static_cast<int64_t>(i)].item<double>();
    sum += (got - want) * (got - want) / want;
  }
  const auto freedom = static_cast<double>(probabilities.size() - 1);
  return std::abs(sum - freedom) / std::sqrt(2 * freedom);
}

TEST(RandomKernels, FillTheirRangeEvenly) {
  const auto normal = [](const Tensor& z) {
    return 0.5 * (1 + torch::erf(z.to(torch::kDouble) / std::sqrt(2.0)));
  };
  const std::map<std::string, Draws::Function> functions = {
      {"rand", [](auto x) { return torch::rand(x.sizes()); }},
      {"rand in bf16", [](auto x) { return torch::rand(x.sizes(), torch::kBFloat16); }},
      {"randn", [&](auto x) { return normal(torch::randn(x.sizes())); }},
      {"normal_", [&](auto x) { return normal((x.normal_(3, 2) - 3) / 2); }},
      {"exponential", [](auto x) { return 1 - torch::exp(-x.exponential_()); }},
      {"cauchy", [](auto x) { return 0.5 + torch::atan(x.cauchy_()) / kPi; }},
      {"randint",
       [](auto x) { return torch::randint(int64_t{1} << 40, x.sizes()).to(torch::kDouble) * 0x1p-40; }},
      {"random_", [](auto x) { return x.to(torch::kLong).random_().to(torch::kDouble) * 0x1p-63; }}};
  for (const auto& [name, function] : functions) {
    const Tensor numbers = Draws(function, torch::zeros({256 * 1024}))({12, 1, 0}).to(torch::kDouble);
    const double errors =
        chi_square_errors((numbers * 256).floor().clamp(0, 255), std::vector(256, 1.0 / 256));
    EXPECT_LT(errors, 5) << name;
  }
}

TEST(RandomKernels, GiveWholeNumbersTheirProbabilities) {
  const auto bins = [](const Draws::Function& function, int64_t most) {
    return Draws(function, torch::zeros({kCount}))({13, 1, 0})
        .to(torch::kDouble)
        .clamp_max(static_cast<double>(most));
  };
  std::vector<double> geometric, poisson;
  double left = 1;
  for (int k = 1; k <= 20; ++k) geometric.push_back(0.25 * std::pow(0.75, k - 1)), left -= geometric.back();
  geometric.push_back(left);
  EXPECT_LT(chi_square_errors(bins([](auto x) { return x.geometric_(0.25); }, 21) - 1, geometric), 5);
  for (const double rate : {4.0, 12.0}) {
    poisson.clear();
    left = 1;
    const int most = static_cast<int>(rate + 4 * std::sqrt(rate));
    for (int k = 0; k < most; ++k)
      poisson.push_back(std::exp(k * std::log(rate) - rate - std::lgamma(k + 1))), left -= poisson.back();
    poisson.push_back(left);
    EXPECT_LT(chi_square_errors(bins([&](auto x) { return torch::poisson(torch::full_like(x, rate)); }, most),
                                poisson),
              5)
        << rate;
  }
}

TEST(RandomKernels, DrawClassesByTheirWeights) {
  const Tensor weights = torch::tensor({2.0, 0.0, 5.0, 1.0, 2.0});
  Draws with([&](auto) { return torch::multinomial(weights, kCount, true); }, torch::empty({1}));
  const Tensor classes = with({14, 1, 0});
  EXPECT_EQ((classes == 1).sum().item<int64_t>(), 0);
  EXPECT_LT(chi_square_errors(classes - (classes > 1).to(torch::kLong), {0.2, 0.5, 0.1, 0.2}), 5);
  // Rows that lie in memory as columns do; two of four without putting back, in the order in which they came.
  const Tensor rows = torch::tensor({2.0, 5.0, 1.0, 2.0}).unsqueeze(1).expand({4, 100'000}).contiguous();
  Draws without([](auto x) { return torch::multinomial(x.t(), 2); }, rows);
  const Tensor pairs = without({14, 2, 0});
  EXPECT_EQ(pairs.sizes(), (std::vector<int64_t>{100'000, 2}));
  std::vector<double> probabilities;
  const double p[] = {0.2, 0.5, 0.1, 0.2};
  for (int a = 0; a < 4; ++a)
    for (int b = 0; b < 4; ++b)
      if (a != b) probabilities.push_back(p[a] * p[b] / (1 - p[a]));
  const Tensor a = pairs.select(1, 0), b = pairs.select(1, 1);
  EXPECT_EQ((a == b).sum().item<int64_t>(), 0);
  EXPECT_LT(chi_square_errors(3 * a + b - (b > a).to(torch::kLong), probabilities), 5);
}

TEST(RandomKernels, PermuteWithEqualProbability) {
  std::vector<Tensor> seen;
  Draws draws([](auto) { return torch::randperm(4); }, torch::empty({1}));
  for (int64_t step = 0; step < 6000; ++step) seen.push_back(draws({15, step, 0}));
  const Tensor all = torch::stack(seen);
  EXPECT_TRUE(torch::equal(std::get<0>(all.sort(1)), torch::arange(4).expand({6000, 4})));
  const Tensor bins = (all.select(1, 0) * 16 + all.select(1, 1) * 4 + all.select(1, 2));
  const Tensor dense = std::get<1>(torch::_unique(bins, true, true));
  EXPECT_LT(chi_square_errors(dense, std::vector(24, 1.0 / 24)), 5);
}

TEST(RandomKernels, DropWholeChannels) {
  for (const bool inplace : {false, true}) {
    const auto options = F::Dropout2dFuncOptions().p(0.3).inplace(inplace);
    Draws draws([&](auto x) { return F::dropout2d(torch::ones_like(x), options); },
                torch::zeros({400, 500, 2, 3}));
    const Tensor kept = draws({16, 1, 0}).flatten(2);
    EXPECT_TRUE(torch::equal(kept, kept.select(2, 0).unsqueeze(2).expand_as(kept)));
    EXPECT_LT(errors_of_mean(kept.select(2, 0), 1), 5);
    EXPECT_EQ(kept.max().item<float>(), 1 / 0.7f);
  }
}

TEST(RandomKernels, AlphaDropoutKeepsMeanAndVariance) {
  const std::map<std::string, Draws::Function> functions = {
      {"alpha_dropout", [](auto x) { return torch::alpha_dropout(x, 0.2, true); }},
      {"feature_alpha_dropout", [](auto x) { return torch::feature_alpha_dropout(x, 0.2, true); }}};
  const Tensor normal = torch::randn({400'000, 1}, at::detail::createCPUGenerator(1));
  for (const auto& [name, function] : functions) {
    const Tensor numbers = Draws(function, normal)({17, 1, 0});
    EXPECT_FALSE(torch::equal(numbers, normal)) << name;
    EXPECT_LT(errors_of_mean(numbers, 0), 5) << name;
    EXPECT_LT(errors_of_mean(numbers.square(), 1), 5) << name;
  }
}

// Correlation times the root of how many there are: a standard normal number where the two are independent.
double errors_of_independence(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(torch::kDouble) - a.to(torch::kDouble).mean(),
               y = b.to(torch::kDouble) - b.to(torch::kDouble).mean();
  const double r = ((x * y).mean() / (x.square().mean() * y.square().mean()).sqrt()).item<double>();
  return std::abs(r) * std::sqrt(static_cast<double>(a.numel()));
}

TEST(RandomKernels, OtherKeysStreamsAndElementsAreIndependent) {
  const Tensor like = torch::zeros({kCount});
  for (const char* op : {"aten::randn_like", "aten::rand_like"}) {
    const auto draw = [&](kernels::RandomKey key, int stream) {
      torch::jit::Stack stack{like,          c10::IValue(), c10::IValue(),
                              c10::IValue(), c10::IValue(), c10::IValue()};
      kernels::find_random_kernel(op)(stack, {key, stream});
      return stack[0].toTensor();
    };
    const Tensor one = draw({7, 3, 2}, 4);
    EXPECT_TRUE(torch::equal(draw({7, 3, 2}, 4), one));
    const std::map<std::string, Tensor> others = {
        {"seed", draw({8, 3, 2}, 4)},         {"step", draw({7, 4, 2}, 4)},
        {"microbatch", draw({7, 3, 3}, 4)},   {"evaluation", draw({7, 3, -3}, 4)},
        {"node or part", draw({7, 3, 2}, 5)}, {"neighbour", one.roll(1)},
        {"next neighbour", one.roll(2)}};
    for (const auto& [what, other] : others) {
      EXPECT_LT(errors_of_independence(one, other), 5) << op << " " << what;
      EXPECT_LT(errors_of_independence(one.square(), other.square()), 5) << op << " " << what;
    }
  }
}

TEST(RandomKernels, NumbersDoNotDependOnThreads) {
  Draws draws([](auto x) { return torch::randn_like(x) + x.exponential_(); }, torch::zeros({100'001}));
  const int before = at::get_num_threads();
  const Tensor one = draws({1, 2, 3});
  at::set_num_threads(3);
  EXPECT_TRUE(torch::equal(draws({1, 2, 3}), one));
  at::set_num_threads(before);
}

TEST(RandomKernels, RefuseParametersThatTheirDistributionDoesNotHave) {
  const auto error = [](const Draws::Function& function) {
    try {
      Draws(function, torch::full({3}, 2.0))({1, 2, 3});
    } catch (const JobError& e) {
      return std::string(e.what());
    }
    return std::string("(none)");
  };
  EXPECT_EQ(error([](auto x) { return torch::bernoulli(x); }),
            "operator aten::bernoulli - failed: bernoulli: it wants probabilities from 0 to 1, got 2");
  EXPECT_EQ(error([](auto x) { return torch::poisson(-x); }),
            "operator aten::poisson - failed: poisson: it wants rates of 0 or more, got -2");
  EXPECT_EQ(error([](auto x) { return torch::multinomial(x - 2, 1); }),
            "operator aten::multinomial - failed: multinomial: it wants weights whose sum is above 0 and "
            "finite, got 0");
  EXPECT_EQ(error([](auto x) { return at::normal(x, -x); }),
            "operator aten::normal.Tensor_Tensor - failed: normal: it wants standard deviations of 0 or "
            "more, got -2");
}

}  // namespace
}  // namespace shoal
