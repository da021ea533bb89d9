#include "kernels/cpu/reproducible.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <array>
#include <cstdlib>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::kernels {
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

// The variables by which the libraries inside LibTorch are told to take other instructions than the CPU
// offers. (ATEN_CPU_CAPABILITY is in what LibTorch says of itself; MKL_CBWR gives way to the mode that is set
// here.) oneDNN reads each of its own under two names, in this order. Nothing tells what it makes of them:
// its functions are hidden inside of LibTorch.
std::string restricted_by_environment() {
  constexpr std::array<const char*, 2> kVariables[] = {
      {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"},
      {"ONEDNN_CPU_ISA_HINTS", "DNNL_CPU_ISA_HINTS"},
      {"ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"},
      {"MKL_ENABLE_INSTRUCTIONS", "MKL_ENABLE_INSTRUCTIONS"},
      {"INTEL_ISA_DISABLE", "INTEL_ISA_DISABLE"},
  };
  std::string text;
  for (const auto& [name, older_name] : kVariables) {
    const char* value = std::getenv(name);
    if (value == nullptr) value = std::getenv(older_name);
    if (value != nullptr && *value != '\0') text += cat(", ", name, "=", value);
  }
  // The C library's exp, sin, ... come in several kinds, too.
  const char* const tunables = std::getenv("GLIBC_TUNABLES");
  for (const std::string& tunable : split(tunables ? tunables : "", ':'))
    if (tunable.starts_with("glibc.cpu.")) text += cat(", ", tunable);
  return text;
}

// What the program has told LibTorch, or this thread's CPU, and may tell it at any time.
std::string settings_of_program() {
  std::string text;
  if (!at::globalContext().userEnabledMkldnn()) text += ", without onednn";
#if defined(__x86_64__)
  constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  if ((__builtin_ia32_stmxcsr() & (kFlushToZero | kDenormalsAreZero)) != 0) text += ", denormals flushed";
#endif
  return text;
}

void check_precision() {
  at::Context& context = at::globalContext();
  bool rounds = context.float32MatmulPrecision() != at::Float32MatmulPrecision::HIGHEST;
  for (const at::Float32Op op : {at::Float32Op::CONV, at::Float32Op::RNN, at::Float32Op::MATMUL}) {
    const at::Float32Precision precision = context.float32Precision(at::Float32Backend::MKLDNN, op);
    rounds |= precision == at::Float32Precision::BF16 || precision == at::Float32Precision::TF32;
  }
  if (rounds)
    throw InputError(
        "torch - float32 matmul precision: got less than the highest, which rounds products otherwise than a "
        "run says; leave it, and use Precision::kBF16");
}

}  // namespace

std::string make_reproducible() {
  static const std::string kind =
      cat("cpu ", at::get_cpu_capability(), bf16_instructions(), restricted_by_environment(), ", ",
          set_mkl_strict(), ", libtorch ", TORCH_VERSION);
  check_precision();
  return kind + settings_of_program();
}

}  // namespace shoal::kernels
