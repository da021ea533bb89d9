#include "session/tensor_hash.h"

#include "base/hash.h"
#include "capture/capture.h"

namespace shoal::session {

std::string hash_of(const at::Tensor& tensor) {
  const auto reading = capture::reading_modules();
  const at::Tensor dense = tensor.detach().contiguous();
  return hash_hex({static_cast<const std::byte*>(dense.const_data_ptr()), dense.nbytes()});
}

}  // namespace shoal::session
