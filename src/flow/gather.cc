#include "flow/gather.h"

#include <arrow/compute/api.h>
#include <arrow/util/bit_util.h>

#include <cstring>

#include "flow/keeping_pool.h"
#include "flow/short_copy.h"

namespace shoal::flow {
namespace {

using Arrays = std::vector<const arrow::Array*>;
using Places = std::vector<RowPlace>;

/// The bitmap of what is not null; null where nothing is.
std::shared_ptr<arrow::Buffer> gather_validity(const Arrays& arrays, const Places& rows, int64_t& null_count,
                                               const std::string& place) {
  null_count = 0;
  bool any = false;
  for (const arrow::Array* array : arrays) any = any || array->null_count() > 0;
  if (!any) return nullptr;
  const int64_t n = static_cast<int64_t>(rows.size());
  std::shared_ptr<arrow::Buffer> bits = value(arrow::AllocateBitmap(n, &memory()), place);
  std::memset(bits->mutable_data(), 0, static_cast<size_t>(bits->size()));
  for (int64_t i = 0; i < n; ++i) {
    const RowPlace at = rows[static_cast<size_t>(i)];
    const bool is_valid = arrays[static_cast<size_t>(at.batch)]->IsValid(at.row);
    arrow::bit_util::SetBitTo(bits->mutable_data(), i, is_valid);
    null_count += !is_valid;
  }
  return bits;
}

template <class T>
void gather_fixed(const Arrays& arrays, const Places& rows, uint8_t* out) {
  std::vector<const T*> values;
  for (const arrow::Array* array : arrays) values.push_back(array->data()->GetValues<T>(1));
  T* const to = reinterpret_cast<T*>(out);
  for (size_t i = 0; i < rows.size(); ++i) to[i] = values[static_cast<size_t>(rows[i].batch)][rows[i].row];
}

struct Bits128 {
  uint64_t low, high;
};

ArrayPtr gather_fixed(const std::shared_ptr<arrow::DataType>& type, const Arrays& arrays, const Places& rows,
                      const std::string& place) {
  const int64_t n = static_cast<int64_t>(rows.size());
  const int width = type->byte_width();
  int64_t nulls = 0;
  const auto validity = gather_validity(arrays, rows, nulls, place);
  std::shared_ptr<arrow::Buffer> values = value(arrow::AllocateBuffer(n * width, &memory()), place);
  uint8_t* const out = values->mutable_data();
  switch (width) {
    case 1:
      gather_fixed<uint8_t>(arrays, rows, out);
      break;
    case 2:
      gather_fixed<uint16_t>(arrays, rows, out);
      break;
    case 4:
      gather_fixed<uint32_t>(arrays, rows, out);
      break;
    case 8:
      gather_fixed<uint64_t>(arrays, rows, out);
      break;
    default:
      gather_fixed<Bits128>(arrays, rows, out);
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type, n, {validity, values}, nulls));
}

/// Text and binary. Null where the bytes together are more than its offsets can count.
template <class Offset>
ArrayPtr gather_text(const std::shared_ptr<arrow::DataType>& type, const Arrays& arrays, const Places& rows,
                     const std::string& place) {
  const int64_t n = static_cast<int64_t>(rows.size());
  struct Source {
    const Offset* offsets;
    const uint8_t* bytes;
  };
  std::vector<Source> sources;
  for (const arrow::Array* array : arrays) {
    const auto& bytes = array->data()->buffers[2];
    sources.push_back({array->data()->GetValues<Offset>(1), bytes ? bytes->data() : nullptr});
  }
  std::shared_ptr<arrow::Buffer> offsets =
      value(arrow::AllocateBuffer((n + 1) * static_cast<int64_t>(sizeof(Offset)), &memory()), place);
  Offset* const ends = reinterpret_cast<Offset*>(offsets->mutable_data());
  std::vector<const uint8_t*> begins(static_cast<size_t>(n));
  int64_t total = 0;
  ends[0] = 0;
  for (int64_t i = 0; i < n; ++i) {
    const RowPlace at = rows[static_cast<size_t>(i)];
    const Source& source = sources[static_cast<size_t>(at.batch)];
    const Offset* const from = source.offsets + at.row;
    begins[static_cast<size_t>(i)] = source.bytes + from[0];
    total += from[1] - from[0];
    ends[i + 1] = static_cast<Offset>(total);
  }
  if (total > std::numeric_limits<Offset>::max()) return nullptr;
  std::shared_ptr<arrow::Buffer> bytes = value(arrow::AllocateBuffer(total, &memory()), place);
  char* to = reinterpret_cast<char*>(bytes->mutable_data());
  constexpr size_t kAhead = 16;  // rows: so as not to wait for memory at each
  for (size_t i = 0; i < begins.size(); ++i) {
    if (i + kAhead < begins.size()) __builtin_prefetch(begins[i + kAhead]);
    to = short_copy(to, reinterpret_cast<const char*>(begins[i]), static_cast<size_t>(ends[i + 1] - ends[i]));
  }
  int64_t nulls = 0;
  const auto validity = gather_validity(arrays, rows, nulls, place);
  return arrow::MakeArray(arrow::ArrayData::Make(type, n, {validity, offsets, bytes}, nulls));
}

/// Any type, in Arrow's two steps.
ArrayPtr gather_any(const Arrays& arrays, const Places& rows, const std::string& place) {
  arrow::ArrayVector parts;
  std::vector<int64_t> begins;
  int64_t length = 0;
  for (const arrow::Array* array : arrays) {
    parts.push_back(arrow::MakeArray(array->data()));
    begins.push_back(length);
    length += array->length();
  }
  std::vector<int64_t> numbers;
  numbers.reserve(rows.size());
  for (const RowPlace at : rows) numbers.push_back(begins[static_cast<size_t>(at.batch)] + at.row);
  const arrow::Int64Array indices(static_cast<int64_t>(numbers.size()),
                                  arrow::Buffer::Wrap(numbers.data(), numbers.size()));
  arrow::compute::ExecContext context(&memory());
  return value(arrow::compute::Take(*value(arrow::Concatenate(parts, &memory()), place), indices,
                                    arrow::compute::TakeOptions::NoBoundsCheck(), &context),
               place);
}

ArrayPtr gather_column(const std::shared_ptr<arrow::DataType>& type, const Arrays& arrays, const Places& rows,
                       const std::string& place) {
  ArrayPtr column;
  const int width = arrow::is_fixed_width(*type) ? type->byte_width() : 0;
  const bool is_plain = type->num_fields() == 0 && type->id() != arrow::Type::DICTIONARY &&
                        type->id() != arrow::Type::EXTENSION;
  if (is_plain && (width == 1 || width == 2 || width == 4 || width == 8 || width == 16))
    column = gather_fixed(type, arrays, rows, place);
  else if (arrow::is_binary_like(type->id()))
    column = gather_text<int32_t>(type, arrays, rows, place);
  else if (arrow::is_large_binary_like(type->id()))
    column = gather_text<int64_t>(type, arrays, rows, place);
  return column ? column : gather_any(arrays, rows, place);
}

}  // namespace

ArrayPtr take_or_null(const ArrayPtr& column, const std::vector<int64_t>& rows, const std::string& place) {
  arrow::Int64Builder indices(&memory());
  require(indices.Reserve(static_cast<int64_t>(rows.size())), place);
  for (const int64_t row : rows) row == kNoRow ? indices.UnsafeAppendNull() : indices.UnsafeAppend(row);
  arrow::compute::ExecContext context(&memory());
  return value(arrow::compute::Take(*column, *value(indices.Finish(), place),
                                    arrow::compute::TakeOptions::NoBoundsCheck(), &context),
               place);
}

Batch gather(const SchemaPtr& schema, const std::vector<Batch>& batches, const Places& rows,
             const std::string& place) {
  if (rows.empty()) return empty_batch(schema);
  std::vector<ArrayPtr> columns;
  for (int c = 0; c < schema->num_fields(); ++c) {
    Arrays arrays;
    for (const Batch& batch : batches) arrays.push_back(batch->column(c).get());
    columns.push_back(gather_column(schema->field(c)->type(), arrays, rows, place));
  }
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()), columns);
}

}  // namespace shoal::flow
