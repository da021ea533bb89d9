#include "run/reproducible.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

// oneMKL developer reference, "Conditional Numerical Reproducibility": the branch of this CPU, plus STRICT,
// which makes results independent of how operands are cut. LibTorch holds MKL inside; its functions are found
// by name, and absent in builds without it.
std::string set_mkl_strict() {
  constexpr int kStrict = 0x10000, kSuccess = 0;
  const auto get_branch = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "mkl_serv_cbwr_get_auto_branch"));
  const auto set = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_DEFAULT, "mkl_serv_cbwr_set"));
  if (get_branch == nullptr || set == nullptr) return "no mkl";
  const int branch = get_branch();
  if (set(branch | kStrict) == kSuccess) return cat("mkl strict branch ", branch);
  if (set(branch) == kSuccess) return cat("mkl branch ", branch);
  return "mkl as it comes";
}

// oneDNN, which multiplies bf16, takes other instructions than LibTorch's own kernels where the CPU has them.
std::string bf16_instructions() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("amx-bf16")) return ", amx-bf16";
  if (__builtin_cpu_supports("avx512bf16")) return ", avx512-bf16";
#endif
  return "";
}

}  // namespace

const std::string& make_reproducible() {
  static const std::string kind = cat("cpu ", at::get_cpu_capability(), bf16_instructions(), ", ",
                                      set_mkl_strict(), ", libtorch ", TORCH_VERSION);
  if (at::globalContext().float32MatmulPrecision() != at::Float32MatmulPrecision::HIGHEST)
    throw InputError(
        "torch - float32 matmul precision: got less than the highest, which rounds products otherwise than a "
        "run "
        "says; leave it, and use Precision::kBF16");
  return kind;
}

}  // namespace shoal::run
