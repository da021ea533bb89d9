// A column of texts that are written one after the other, without a call for each.
#pragma once

#include <arrow/api.h>
#include <arrow/buffer_builder.h>

#include <limits>
#include <string>
#include <string_view>

#include "flow/arrow.h"
#include "flow/keeping_pool.h"
#include "flow/short_copy.h"

namespace shoal::flow {

class TextColumn {
 public:
  /// `place` is for messages.
  explicit TextColumn(const std::string& place) : place_(place), offsets_(&memory()), bytes_(&memory()) {
    require(offsets_.Append(0), place_);
  }

  void add(std::string_view text) {
    const auto size = static_cast<int64_t>(text.size());
    if (offsets_.length() == offsets_.capacity() || bytes_.length() + size > bytes_.capacity()) grow(size);
    short_copy(reinterpret_cast<char*>(bytes_.mutable_data()) + bytes_.length(), text.data(), text.size());
    bytes_.UnsafeAdvance(size);
    offsets_.UnsafeAppend(static_cast<int32_t>(bytes_.length()));
  }
  int64_t size() const { return offsets_.length() - 1; }

  /// None of them is null.
  ArrayPtr finish() {
    const int64_t size = this->size();
    const auto offsets = value(offsets_.Finish(), place_);
    return std::make_shared<arrow::StringArray>(size, offsets, value(bytes_.Finish(), place_));
  }

 private:
  void grow(int64_t more) {
    if (more > std::numeric_limits<int32_t>::max() - bytes_.length())
      require(arrow::Status::CapacityError("a column of texts takes more than 2 GiB at once"), place_);
    constexpr int64_t kFew = 1024;
    require(offsets_.Reserve(kFew), place_);
    require(bytes_.Reserve(more), place_);  // doubles
  }

  const std::string& place_;
  arrow::TypedBufferBuilder<int32_t> offsets_;
  arrow::BufferBuilder bytes_;
};

}  // namespace shoal::flow
