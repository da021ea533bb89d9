#include "flow/writers.h"

#include <arrow/ipc/api.h>
#include <parquet/arrow/writer.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "flow/files.h"
#include "flow/keeping_pool.h"
#include "flow/records.h"
#include "flow/remote.h"
#include "flow/sample_writer.h"
#include "flow/token_writer.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

class FileWriter : public Writer {
 public:
  FileWriter(const std::filesystem::path& out, const std::string& name)
      : place_((out / name).string()), file_(std::make_shared<FileSink>(out / name)) {
    record_.file = name;
  }
  std::vector<FileRecord> finish() override {
    close();
    file_->place(/*starts_writing=*/true);
    record_.bytes = file_->size();
    record_.checksum = file_->checksum();
    return {record_};
  }

 protected:
  virtual void close() {}
  std::string place_;
  std::shared_ptr<FileSink> file_;
  FileRecord record_;
};

class ParquetWriter final : public FileWriter {
 public:
  ParquetWriter(const SchemaPtr& schema, const std::filesystem::path& folder, const std::string& name)
      : FileWriter(folder, name) {
    const auto properties = parquet::WriterProperties::Builder()
                                .memory_pool(&memory())
                                ->compression(parquet::Compression::SNAPPY)
                                // a column with more values than this is written faster without
                                ->dictionary_pagesize_limit(1 << 16)
                                ->build();
    const auto arrow_properties = parquet::ArrowWriterProperties::Builder().set_use_threads(false)->build();
    writer_ = value(parquet::arrow::FileWriter::Open(*schema, &memory(), file_, properties, arrow_properties),
                    place_);
  }
  void write(const Batch& batch) override {
    record_.rows += batch->num_rows();
    require(writer_->WriteRecordBatch(*batch), place_);
  }

 private:
  void close() override { require(writer_->Close(), place_); }
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

class IpcWriter final : public FileWriter {
 public:
  IpcWriter(const SchemaPtr& schema, const std::filesystem::path& folder, const std::string& name)
      : FileWriter(folder, name) {
    arrow::ipc::IpcWriteOptions options;
    options.use_threads = false;
    writer_ = value(arrow::ipc::MakeFileWriter(file_, schema, options), place_);
  }
  void write(const Batch& batch) override {
    record_.rows += batch->num_rows();
    require(writer_->WriteRecordBatch(*batch), place_);
  }

 private:
  void close() override { require(writer_->Close(), place_); }
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

/// jsonl, csv, tsv, text.
class LineWriter final : public FileWriter {
 public:
  LineWriter(std::string format, const SchemaPtr& schema, const std::filesystem::path& folder,
             const std::string& name)
      : FileWriter(folder, name),
        format_(std::move(format)),
        schema_(schema),
        separator_(format_ == "tsv" ? '\t' : ',') {
    if (format_ != "csv" && format_ != "tsv") return;
    std::string line;
    for (const std::string& column : names_of(*schema)) {
      if (!line.empty()) line.push_back(separator_);
      append_csv(line, column);
    }
    line.push_back('\n');
    require(file_->Write(line.data(), static_cast<int64_t>(line.size())), place_);
  }
  void write(const Batch& batch) override {
    std::string lines;
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      if (format_ == "text")
        append_value(lines, *batch->column(0), row);
      else if (format_ == "jsonl")
        append_json(lines, *batch, row);
      else
        append_cells(lines, *batch, row);
      lines.push_back('\n');
    }
    record_.rows += batch->num_rows();
    require(file_->Write(lines.data(), static_cast<int64_t>(lines.size())), place_);
  }

 private:
  void append_csv(std::string& out, std::string_view text) const {
    const bool quotes = text.empty() || text.find_first_of("\"\r\n") != std::string_view::npos ||
                        text.find(separator_) != std::string_view::npos;
    if (!quotes) {
      out.append(text);
      return;
    }
    out.push_back('"');
    for (const char c : text) {
      if (c == '"') out.push_back('"');
      out.push_back(c);
    }
    out.push_back('"');
  }
  void append_cells(std::string& out, const arrow::RecordBatch& batch, int64_t row) const {
    for (int c = 0; c < batch.num_columns(); ++c) {
      if (c > 0) out.push_back(separator_);
      const arrow::Array& column = *batch.column(c);
      if (column.IsNull(row)) continue;
      if (is_text(*column.type())) {
        std::string text;
        append_value(text, column, row);
        append_csv(out, text);
      } else {
        append_value(out, column, row);
      }
    }
  }
  void append_json(std::string& out, const arrow::RecordBatch& batch, int64_t row) const {
    out.push_back('{');
    for (int c = 0; c < batch.num_columns(); ++c) {
      if (c > 0) out.push_back(',');
      append_json_text(out, schema_->field(c)->name());
      out.push_back(':');
      const arrow::Array& column = *batch.column(c);
      std::string text;
      append_value(text, column, row);
      const bool is_real = arrow::is_floating(column.type_id());
      if (column.IsNull(row) || (is_real && (text == "nan" || text == "inf" || text == "-inf")))
        out += "null";
      else if (is_real || arrow::is_integer(column.type_id()) || column.type_id() == arrow::Type::BOOL)
        out += text;
      else
        append_json_text(out, text);
    }
    out.push_back('}');
  }

  std::string format_;
  SchemaPtr schema_;
  char separator_;
};

template <class T>
void append_number(std::string& out, T number) {
  char digits[40];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, end);
}

}  // namespace

void append_value(std::string& out, const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return;
  switch (array.type_id()) {
    case arrow::Type::STRING:
      out.append(static_cast<const arrow::StringArray&>(array).GetView(row));
      break;
    case arrow::Type::LARGE_STRING:
      out.append(static_cast<const arrow::LargeStringArray&>(array).GetView(row));
      break;
    case arrow::Type::INT64:
      append_number(out, static_cast<const arrow::Int64Array&>(array).Value(row));
      break;
    case arrow::Type::BOOL:
      out += static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false";
      break;
    case arrow::Type::DOUBLE: {
      const double number = static_cast<const arrow::DoubleArray&>(array).Value(row);
      std::isnan(number) ? (void)out.append("nan") : append_number(out, number);
      break;
    }
    case arrow::Type::FLOAT: {
      const float number = static_cast<const arrow::FloatArray&>(array).Value(row);
      std::isnan(number) ? (void)out.append("nan") : append_number(out, number);
      break;
    }
    default:
      out += value(array.GetScalar(row), "value")->ToString();
  }
}

void check_writable(const FlowWrite& sink, const arrow::Schema& schema, const std::string& place) {
  static const std::vector<std::string> kFormats = {"parquet", "ipc",  "jsonl",  "csv",
                                                    "tsv",     "text", "tokens", "tokenizer",
                                                    "samples"};
  const std::string& format = sink.format;
  if (std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end())
    throw InputError(cat(place, ": format: got ", format, ", want one of ", join(kFormats, ", ")));
  if (is_remote(sink.out)) check_remote(sink.out);
  if (is_remote(sink.out) && (makes_store(sink) || format == "tokenizer"))
    throw InputError(cat(place, ": out: got ", sink.out, ", want a folder of this machine: what reads ",
                         format == "tokens"    ? "token stores"
                         : format == "samples" ? "sample stores"
                                               : "tokenizers",
                         " reads files alone"));
  if (!is_remote(sink.out) && !sink.work.empty())
    throw InputError(cat(place, ": work: got ", sink.work,
                         " with a folder as out, which keeps what it needs in .work; leave it out"));
  if (format == "tokens") {
    const int column = want_column(schema, sink.column, cat(place, ", column"));
    if (schema.field(column)->type()->id() != arrow::Type::STRING)
      throw InputError(cat(place, ": column ", sink.column, ": got ",
                           type_name(*schema.field(column)->type()), ", want text"));
  }
  if (format == "samples") return check_samples(sink, schema, place);
  if (!sink.fields.empty())
    throw InputError(cat(place, ": fields: got some for format ", format, ", want format = \"samples\" with them"));
  if (format == "text" && (schema.num_fields() != 1 || !is_text(*schema.field(0)->type())))
    throw InputError(cat(place, ": format: text holds one column of text, got ", join(names_of(schema), ", "),
                         "; select one"));
  if (format == "parquet" || format == "ipc" || format == "tokens") return;
  for (const auto& field : schema.fields())
    if (arrow::is_nested(field->type()->id()) || field->type()->id() == arrow::Type::BINARY ||
        field->type()->id() == arrow::Type::LARGE_BINARY)
      throw InputError(cat(place, ": format: ", format, " cannot hold column ", field->name(), " of type ",
                           type_name(*field->type()), "; want parquet or ipc"));
}

bool makes_store(const FlowWrite& sink) { return sink.format == "tokens" || sink.format == "samples"; }

std::string output_name(int64_t part, const std::string& format) {
  char number[24];
  std::snprintf(number, sizeof number, "%05lld", static_cast<long long>(part));
  return cat("part-", number, ".", format == "ipc" ? "arrow" : format == "text" ? "txt" : format);
}

std::unique_ptr<Writer> make_writer(const FlowWrite& sink, const text::Tokenizer* tokenizer,
                                    const SchemaPtr& schema, const std::filesystem::path& out,
                                    const std::string& split, int64_t part) {
  const std::string& format = sink.format;
  if (format == "tokens") return make_token_writer(*tokenizer, sink.column, schema, out, split, part);
  if (format == "samples") return make_sample_writer(sink, schema, out, split, part);
  if (format == "tokenizer") return make_tokenizer_writer(sink, schema, out);
  const std::string name = cat(split, split.empty() ? "" : "/", output_name(part, format));
  if (format == "parquet") return std::make_unique<ParquetWriter>(schema, out, name);
  if (format == "ipc") return std::make_unique<IpcWriter>(schema, out, name);
  return std::make_unique<LineWriter>(format, schema, out, name);
}

}  // namespace shoal::flow
