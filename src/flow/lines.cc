#include "flow/lines.h"

#include <arrow/io/compressed.h>
#include <arrow/util/compression.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
Lines::Lines(const SourceFile& file, int64_t begin) : file_(file), input_(file.path), buffer_begin_(begin) {
  expect_unchanged();
  if (file.packing != Packing::kNone) {
    const auto kind = file.packing == Packing::kGzip ? arrow::Compression::GZIP : arrow::Compression::ZSTD;
    const std::shared_ptr<arrow::util::Codec> codec = value(arrow::util::Codec::Create(kind), file.path);
    unpacked_ = value(arrow::io::CompressedInputStream::Make(codec.get(), input_.file()), file.path);
    buffer_begin_ = 0;
  } else if (begin > 0) {  // the line that runs into `begin` is not ours, unless it ends just before
    buffer_begin_ = begin - 1;
    std::string_view rest;
    next(rest);
  }
}

Lines::~Lines() = default;

bool Lines::fill() {
  if (ended_) return false;
  buffer_.erase(0, at_);
  buffer_begin_ += static_cast<int64_t>(at_);
  at_ = 0;
  const size_t old = buffer_.size();
  buffer_.resize(old + std::max(input_.block_bytes(), old));  // doubles for a very long line
  size_t got = 0;
  if (unpacked_) {
    const auto read = unpacked_->Read(static_cast<int64_t>(buffer_.size() - old), buffer_.data() + old);
    if (!read.ok()) throw InputError(cat(file_.path, " - cannot be unpacked: ", reason(read.status())));
    got = static_cast<size_t>(*read);
  } else {
    got = input_.read(buffer_begin_ + static_cast<int64_t>(old),
                      std::as_writable_bytes(std::span(buffer_.data() + old, buffer_.size() - old)));
  }
  buffer_.resize(old + got);
  if (got == 0) ended_ = true;
  return got > 0;
}

bool Lines::next(std::string_view& line) {
  size_t searched = at_;
  while (true) {
    const void* end = searched < buffer_.size()
                          ? std::memchr(buffer_.data() + searched, '\n', buffer_.size() - searched)
                          : nullptr;
    if (end) {
      const size_t stop = static_cast<size_t>(static_cast<const char*>(end) - buffer_.data());
      line = std::string_view(buffer_).substr(at_, stop - at_);
      line_begin_ = buffer_begin_ + static_cast<int64_t>(at_);
      at_ = stop + 1;
      break;
    }
    const size_t seen = buffer_.size() - at_;
    if (fill()) {
      searched = seen;
      continue;
    }
    if (at_ == buffer_.size()) return false;
    line = std::string_view(buffer_).substr(at_);
    line_begin_ = buffer_begin_ + static_cast<int64_t>(at_);
    at_ = buffer_.size();
    break;
  }
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

int64_t Lines::number_at(const SourceFile& file, int64_t byte) {
  Lines lines(file, 0);
  int64_t number = 1;
  for (std::string_view line; lines.next(line) && lines.begin() < byte;) ++number;
  return number;
}

void Lines::expect_unchanged() const { input_.expect_unchanged(file_.state); }

}  // namespace shoal::flow
