#include "flow/sample_columns.h"

#include <algorithm>
#include <set>
#include <span>

#include "base/text.h"
#include "flow/numbers.h"
#include "flow/writers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

using data::SampleField;
using data::SampleType;

constexpr const char* kSizes[] = {"height", "width", "channels"};
constexpr size_t kListedClasses = 10;

bool is_of_bytes(const arrow::DataType& type) {
  return type.id() == arrow::Type::BINARY || type.id() == arrow::Type::LARGE_BINARY;
}
bool is_of_numbers(const arrow::DataType& type) {
  const auto id = type.id();
  return (id == arrow::Type::LIST || id == arrow::Type::LARGE_LIST || id == arrow::Type::FIXED_SIZE_LIST) &&
         holds_numbers(*static_cast<const arrow::BaseListType&>(type).value_type());
}

/// Of text or binary.
std::string_view bytes_at(const arrow::Array& array, int64_t row) {
  const auto id = array.type_id();
  if (id == arrow::Type::LARGE_STRING || id == arrow::Type::LARGE_BINARY)
    return static_cast<const arrow::LargeBinaryArray&>(array).GetView(row);
  return static_cast<const arrow::BinaryArray&>(array).GetView(row);
}

/// How many classes whole numbers of the type can tell apart; of others 0.
int64_t num_classes_of(SampleType type) {
  switch (type) {
    case SampleType::kU8:
      return 1 << 8;
    case SampleType::kI8:
      return 1 << 7;
    case SampleType::kI16:
      return 1 << 15;
    case SampleType::kI32:
    case SampleType::kI64:
      return int64_t{1} << 31;
    default:
      return 0;
  }
}

/// What a row of a list has, among the values of all rows.
struct Stretch {
  const arrow::Array& values;
  int64_t begin, count;
};

template <class Array>
Stretch stretch(const arrow::Array& array, int64_t row) {
  const auto& list = static_cast<const Array&>(array);
  return {*list.values(), list.value_offset(row), list.value_length(row)};
}

Stretch list_at(const arrow::Array& array, int64_t row) {
  if (array.type_id() == arrow::Type::LARGE_LIST) return stretch<arrow::LargeListArray>(array, row);
  if (array.type_id() == arrow::Type::FIXED_SIZE_LIST) return stretch<arrow::FixedSizeListArray>(array, row);
  return stretch<arrow::ListArray>(array, row);
}

void append(std::vector<std::byte>& to, std::string_view from) {
  const auto bytes = std::as_bytes(std::span(from));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::string pixels_text(int64_t height, int64_t width, int64_t channels) {
  return cat(width, " x ", height, " pixels of ", channels, channels == 1 ? " channel" : " channels");
}

}  // namespace

SampleColumns::SampleColumns(const FlowField& asked, const arrow::Schema& schema, const std::string& place)
    : place_(cat(place, ", field ", asked.name)), names_(asked.columns) {
  if (names_.empty()) names_ = {asked.name};
  for (const std::string& name : names_) columns_.push_back(want_column(schema, name, place_));
  const arrow::DataType& type = *schema.field(columns_[0])->type();
  for (const int column : columns_)
    if (columns_.size() > 1 && !holds_numbers(*schema.field(column)->type()))
      throw InputError(cat(place_, ": column ", schema.field(column)->name(), ": got ",
                           type_name(*schema.field(column)->type()),
                           ", want numbers in each of several columns"));
  field_.name = asked.name;
  settle_kind(asked, type);
  if (!asked.dtype.empty()) {
    const auto known = data::sample_type(asked.dtype);
    if (!known)
      throw InputError(
          cat(place_, ": dtype: got ", asked.dtype, ", want one of ", join(data::kSampleTypeNames, ", ")));
    field_.type = *known;
  } else {
    for (const int column : columns_)
      if (columns_.size() > 1 && type_of_numbers(*schema.field(column)->type()) != field_.type)
        throw InputError(
            cat(place_, ": dtype: got none for columns of several types, want one, as in dtype = \"F32\""));
  }
  settle_shape(asked, type, place);
  if (kind_ != Kind::kPixels) return;
  for (const char* name : kSizes)
    if (const int column = column_of(schema, name);
        column >= 0 && arrow::is_integer(schema.field(column)->type()->id()))
      size_columns_.push_back(column);
  if (size_columns_.size() != std::size(kSizes)) size_columns_.clear();
}

void SampleColumns::settle_kind(const FlowField& asked, const arrow::DataType& type) {
  if (!asked.classes.empty()) {
    if (!is_text(type) || columns_.size() > 1)
      throw InputError(cat(place_, ": column ", names_[0], ": got ", type_name(type),
                           ", want one column of text beside classes"));
    if (std::set(asked.classes.begin(), asked.classes.end()).size() != asked.classes.size())
      throw InputError(cat(place_, ": classes: got a name twice, want each once"));
    kind_ = Kind::kClass;
    field_.type = SampleType::kI64;
    field_.classes = asked.classes;
  } else if (!asked.order.empty()) {
    if (asked.order != "CHW" && asked.order != "HWC")
      throw InputError(
          cat(place_, ": order: got ", asked.order,
              ", want CHW (channels first, as models take pictures) or HWC (as pixels lie in a file)"));
    if (!is_of_bytes(type) || columns_.size() > 1)
      throw InputError(cat(place_, ": column ", names_[0], ": got ", type_name(type),
                           ", want one binary column of pixels beside order"));
    kind_ = Kind::kPixels;
    channels_first_ = asked.order == "CHW";
  } else if (holds_numbers(type)) {
    field_.type = type_of_numbers(type);
  } else if (is_of_numbers(type)) {
    kind_ = Kind::kList;
    field_.type = type_of_numbers(*static_cast<const arrow::BaseListType&>(type).value_type());
  } else if (is_text(type) || is_of_bytes(type)) {
    kind_ = Kind::kBytes;
  } else {
    throw InputError(cat(place_, ": column ", names_[0], ": got ", type_name(type),
                         ", want numbers, bool, text, binary or a list of numbers"));
  }
}

void SampleColumns::settle_shape(const FlowField& asked, const arrow::DataType& type,
                                 const std::string& place) {
  const auto num_columns = static_cast<int64_t>(columns_.size());
  if (asked.shape)
    field_.shape = *asked.shape;
  else if (kind_ == Kind::kList && type.id() == arrow::Type::FIXED_SIZE_LIST)
    field_.shape = {static_cast<const arrow::FixedSizeListType&>(type).list_size()};
  else if (kind_ == Kind::kList || kind_ == Kind::kBytes)
    field_.shape = {-1};
  else if (num_columns > 1)
    field_.shape = {num_columns};
  data::check_schema(place, {field_});
  const std::string got = cat(place_, ": got ", data::type_text(field_.type, field_.shape));
  if ((kind_ == Kind::kBytes || kind_ == Kind::kPixels) && field_.type != SampleType::kU8)
    throw InputError(cat(got, ", want U8: column ", names_[0], " has bytes"));
  if (kind_ == Kind::kPixels && (field_.shape.size() != 3 || field_.varies()))
    throw InputError(cat(got, ", want three dims, as in shape = ",
                         channels_first_ ? "[3, 32, 32]" : "[32, 32, 3]", ": pictures of one size"));
  if (kind_ == Kind::kBytes && is_of_bytes(type) && field_.shape.size() == 3)
    throw InputError(
        cat(got,
            ", want order with it: CHW (channels first, as models take pictures) or HWC (as pixels lie "
            "in a file)"));
  if ((kind_ == Kind::kNumbers || kind_ == Kind::kClass) &&
      (field_.varies() || num_elements() != num_columns))
    throw InputError(cat(got, ", want ",
                         num_columns == 1 ? std::string("[] or [1]") : cat("[", num_columns, "]"),
                         ": a row has ", num_columns, num_columns == 1 ? " number" : " numbers"));
  if (kind_ == Kind::kClass && num_classes_of(field_.type) < static_cast<int64_t>(field_.classes.size()))
    throw InputError(
        cat(got, ", want I64, or another dtype that numbers ", field_.classes.size(), " classes"));
}

void SampleColumns::add_names(Names& names) const {
  names.insert(names_.begin(), names_.end());
  if (!size_columns_.empty()) names.insert(std::begin(kSizes), std::end(kSizes));
}

std::string SampleColumns::identity() const {
  return cat(field_.name, " ", data::type_text(field_.type, field_.shape), " of ", join(names_, ", "),
             kind_ == Kind::kPixels ? channels_first_ ? " CHW" : " HWC" : "", " ",
             join(field_.classes, "\n"));
}

int64_t SampleColumns::num_elements() const { return field_.bytes_of_row() / data::bytes_of(field_.type); }

void SampleColumns::refuse(const std::string& where, const std::string& got_and_want) const {
  throw InputError(cat(where, ", field ", field_.name, ": got ", got_and_want));
}

int64_t SampleColumns::append(const arrow::RecordBatch& batch, int64_t row, const std::string& where,
                              std::vector<std::byte>& bytes) const {
  for (size_t i = 0; i < columns_.size(); ++i)
    if (batch.column(columns_[i])->IsNull(row))
      refuse(where, cat("null in column ", names_[i], ", want a value; leave such rows out by filter = \"",
                        names_[i], " is not null\", or fill them by with_column and coalesce"));
  const arrow::Array& column = *batch.column(columns_[0]);
  switch (kind_) {
    case Kind::kNumbers:
      for (const int c : columns_) append_number(*batch.column(c), row, where, bytes);
      return 0;
    case Kind::kList:
      return append_list(column, row, where, bytes);
    case Kind::kBytes:
      return append_bytes(column, row, where, bytes);
    case Kind::kPixels:
      append_pixels(batch, row, where, bytes);
      return 0;
    case Kind::kClass:
      append_class(column, row, where, bytes);
      return 0;
  }
  return 0;
}

void SampleColumns::append_number(const arrow::Array& array, int64_t row, const std::string& where,
                                  std::vector<std::byte>& bytes) const {
  if (put_number(array, row, field_.type, bytes)) return;
  std::string number;
  append_value(number, array, row);
  refuse(where, cat(number, ", want a number that ", data::name_of(field_.type),
                    " can hold; say another dtype, or change the column before"));
}

int64_t SampleColumns::append_list(const arrow::Array& array, int64_t row, const std::string& where,
                                   std::vector<std::byte>& bytes) const {
  const Stretch list = list_at(array, row);
  const int64_t rest = num_elements();
  if (field_.varies() ? list.count % rest != 0 : list.count != rest)
    refuse(where, cat("a list of ", list.count, ", want ", field_.varies() ? "a multiple of " : "", rest,
                      "; say another shape, or leave such rows out before"));
  for (int64_t i = 0; i < list.count; ++i) {
    if (list.values.IsNull(list.begin + i))
      refuse(where, cat("null at ", i, " of the list, want a number; leave such rows out before"));
    append_number(list.values, list.begin + i, where, bytes);
  }
  return field_.varies() ? list.count / rest : 0;
}

int64_t SampleColumns::append_bytes(const arrow::Array& array, int64_t row, const std::string& where,
                                    std::vector<std::byte>& bytes) const {
  const std::string_view value = bytes_at(array, row);
  const auto count = static_cast<int64_t>(value.size()), rest = num_elements();
  if (field_.varies() ? count % rest != 0 : count != rest)
    refuse(where, cat(count, " bytes, want ", field_.varies() ? "a multiple of " : "", rest,
                      "; say another shape, or leave such rows out before"));
  flow::append(bytes, value);
  return field_.varies() ? count / rest : 0;
}

void SampleColumns::append_pixels(const arrow::RecordBatch& batch, int64_t row, const std::string& where,
                                  std::vector<std::byte>& bytes) const {
  const auto& dims = field_.shape;
  const int64_t height = channels_first_ ? dims[1] : dims[0], width = channels_first_ ? dims[2] : dims[1],
                channels = channels_first_ ? dims[0] : dims[2];
  const std::string advice =
      cat("want ", pixels_text(height, width, channels), "; keep those that fit by a filter before");
  if (!size_columns_.empty()) {
    std::vector<std::byte> sizes;
    for (const int c : size_columns_)
      if (batch.column(c)->IsNull(row) || !put_number(*batch.column(c), row, SampleType::kI64, sizes))
        refuse(where, cat("no height, width or channels, ", advice));
    const auto* size = reinterpret_cast<const int64_t*>(sizes.data());
    if (size[0] != height || size[1] != width || size[2] != channels)
      refuse(where, cat(pixels_text(size[0], size[1], size[2]), ", ", advice));
  }
  const std::string_view pixels = bytes_at(*batch.column(columns_[0]), row);
  if (static_cast<int64_t>(pixels.size()) != num_elements())
    refuse(where, cat(pixels.size(), " bytes, ", advice));
  if (!channels_first_) return flow::append(bytes, pixels);
  const size_t begin = bytes.size();
  bytes.resize(begin + pixels.size());
  const size_t plane = static_cast<size_t>(height * width), depth = static_cast<size_t>(channels);
  for (size_t c = 0; c < depth; ++c)
    for (size_t i = 0; i < plane; ++i)
      bytes[begin + c * plane + i] = static_cast<std::byte>(pixels[i * depth + c]);
}

void SampleColumns::append_class(const arrow::Array& array, int64_t row, const std::string& where,
                                 std::vector<std::byte>& bytes) const {
  const std::string_view name = bytes_at(array, row);
  const auto found = std::find(field_.classes.begin(), field_.classes.end(), name);
  if (found == field_.classes.end())
    refuse(where, cat(name, ", want ",
                      field_.classes.size() <= kListedClasses
                          ? cat("one of ", join(field_.classes, ", "))
                          : cat("one of its ", field_.classes.size(), " classes"),
                      "; add it to classes, or leave such rows out before"));
  const int64_t number = found - field_.classes.begin();
  const auto as_bytes = std::as_bytes(std::span(&number, 1));
  bytes.insert(bytes.end(), as_bytes.begin(),
               as_bytes.begin() + data::bytes_of(field_.type));  // little-endian: the others are 0
}

}  // namespace shoal::flow
