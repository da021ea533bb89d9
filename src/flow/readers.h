// The readers behind Source: one for each family of formats, and how each learns its columns.
#pragma once

#include <memory>

#include "flow/source.h"

namespace shoal::flow {

/// text, jsonl, csv, tsv: the columns `kept` of `schema`, whose others are read too, for they may be bad.
std::unique_ptr<Reader> read_records(const SourceFile&, const Segment&, Format, const FlowRead&,
                                     const SchemaPtr& schema, const SchemaPtr& kept, BadRecords&);
/// fastq, fasta: columns id, comment, sequence, and of fastq quality.
std::unique_ptr<Reader> read_sequences(const SourceFile&, const Segment&, Format, const SchemaPtr&,
                                       BadRecords&);
/// parquet, ipc: the columns `kept` of a file that must have those of `schema`.
std::unique_ptr<Reader> read_columnar(const SourceFile&, const Segment&, Format, const SchemaPtr& schema,
                                      const SchemaPtr& kept);

/// A PNG or JPEG: one row, path, label (the folder's name), width, height, channels, pixels.
std::unique_ptr<Reader> read_image(const SourceFile&, const SchemaPtr&, BadRecords&);

/// The columns of a file. Throws InputError "place: ...".
SchemaPtr schema_of_records(const SourceFile&, Format, const FlowRead&, const std::string& place);
SchemaPtr schema_of_sequences(Format);
SchemaPtr schema_of_images();
SchemaPtr schema_of_columnar(const SourceFile&, Format, const std::string& place);
/// How many bytes each row group or batch of a file takes.
std::vector<int64_t> sizes_of_columnar(const SourceFile&, Format);

}  // namespace shoal::flow
