// How the text of a Program names buffers: "%w", "%a1".
#pragma once

#include <string>
#include <utility>

#include "base/text.h"
#include "lower/program.h"

namespace shoal::lower {

inline constexpr std::pair<Buffer::Kind, const char*> kBufferNames[] = {
    {Buffer::Kind::kWeights, "w"},   {Buffer::Kind::kMaster, "p"}, {Buffer::Kind::kOptimizer, "o"},
    {Buffer::Kind::kModule, "m"},    {Buffer::Kind::kFrame, "f"},  {Buffer::Kind::kAccumulator, "a"},
    {Buffer::Kind::kSum, "s"},       {Buffer::Kind::kBucket, "b"}, {Buffer::Kind::kBoard, "n"},
    {Buffer::Kind::kExchange, "x"},  {Buffer::Kind::kTransfer, "t"}};
inline bool is_numbered(Buffer::Kind kind) {
  return kind == Buffer::Kind::kFrame || kind == Buffer::Kind::kAccumulator || kind == Buffer::Kind::kBucket ||
         kind == Buffer::Kind::kTransfer;
}
inline std::string print_buffer(Buffer::Kind kind, int number = 0) {
  for (const auto& [named, name] : kBufferNames)
    if (named == kind) return cat("%", name, is_numbered(kind) ? cat(number) : std::string());
  return {};
}

}  // namespace shoal::lower
