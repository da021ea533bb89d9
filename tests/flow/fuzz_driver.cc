// Files that lie, through the readers of flow.
//   flow_fuzz_driver text|jsonl|csv|parquet|ipc|fastq|fasta|gzip|zstd|png|jpeg SECONDS SEED
// A good file is damaged at random and read: the rows must be whole, or the reader must say in one sentence
// what is wrong. The file that was read last is left as flow_fuzz_driver.last when anything else happens.
#include <arrow/io/compressed.h>
#include <arrow/io/memory.h>
#include <arrow/util/compression.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include "flow/pictures.h"
#include "flow/source.h"
#include "flow/tables.h"
#include "flow/writers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {
namespace fs = std::filesystem;

const std::string kCsv =
    "id,name,x,flag\n1,fox,0.5,true\n2,\"a, "
    "\"\"b\"\"\",,false\n3,na\xc3\xafve,-1e300,\n4,,nan,true\n5,\"\",7,true\n";
const std::string kJsonl =
    "{\"id\":1,\"name\":\"f\\u00e9\",\"x\":0.5,\"deep\":{\"a\":[1,{\"b\":null}]}}\n{\"x\":-1e3,\"id\":2}\n\n{"
    "\"id\":3,\"flag\":true}\n";
const std::string kFastq = "@r1 first\nACGTN\n+\nIIIII\n@r2\nAC\n+r2\n!~\n@r3\n\n+\n\n";
const std::string kFasta = ">c1 a genome\nACGT\nACG\n\n>c2\n>c3\nTTTT\n";

std::string packed(const std::string& bytes, arrow::Compression::type kind) {
  const auto codec = arrow::util::Codec::Create(kind).ValueOrDie();
  const auto raw = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto stream = arrow::io::CompressedOutputStream::Make(codec.get(), raw).ValueOrDie();
  if (!stream->Write(bytes).ok() || !stream->Close().ok()) std::abort();
  return raw->Finish().ValueOrDie()->ToString();
}

/// Good files of one kind.
std::vector<std::string> seeds(const std::string& kind, const fs::path& folder) {
  if (kind == "text") return {"one\n\ntwo\r\nthree \xc3\xa9"};
  if (kind == "jsonl") return {kJsonl};
  if (kind == "csv") return {kCsv};
  if (kind == "fastq") return {kFastq};
  if (kind == "fasta") return {kFasta};
  if (kind == "gzip") return {packed(kCsv, arrow::Compression::GZIP)};
  if (kind == "zstd") return {packed(kCsv, arrow::Compression::ZSTD)};
  if (kind == "png") return {png_of(9, 7, PNG_FORMAT_RGB), png_of(3, 3, PNG_FORMAT_GA)};
  if (kind == "jpeg") return {jpeg_of(17, 9, 3), jpeg_of(8, 8, 1)};
  std::string many = "id,name,x,flag\n";
  for (int row = 0; row < 300; ++row)
    many += std::to_string(row) + ",name " + std::to_string(row % 7) + "," + std::to_string(row / 3.0) +
            ",true\n";
  std::vector<std::string> files;
  for (const std::string& csv : {kCsv, many}) {
    write_file(folder / "seed.csv", csv);
    run_flow(Flow()
                 .read({.paths = {(folder / "seed.csv").string()}})
                 .write({.out = (folder / "seed").string(), .format = kind}));
    for (const auto& [name, bytes] : contents(folder / "seed"))
      if (name.starts_with("part-")) files.push_back(bytes);
    fs::remove_all(folder / "seed");
  }
  return files;
}

std::string damaged(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    const size_t at = below(bytes.size());
    switch (below(7)) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes.erase(at, below(9));
        break;
      case 2:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(30)));
        break;
      case 3:
        bytes.insert(at, std::string(1 + below(4), "\0\xff\n\"\x7f,{>@\\"[below(10)]));
        break;
      case 4:
        for (size_t i = at; i < std::min(at + 4, bytes.size()); ++i) bytes[i] = static_cast<char>(random());
        break;
      default:
        if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
    }
  }
  return bytes;
}

/// Every value of every row is looked at.
int64_t read_all(const FlowRead& read, int64_t part_bytes) {
  const Source source(read, part_bytes, "fuzz");
  BadRecords bad = source.policy();
  int64_t rows = 0;
  std::string text;
  for (const SourcePart& part : source.parts())
    for (const Segment& segment : part.segments) {
      const auto reader = source.open(segment, bad);
      while (const Batch batch = reader->next()) {
        if (!batch->Validate().ok() || !batch->schema()->Equals(*source.schema())) std::abort();
        for (int64_t row = 0; row < batch->num_rows(); ++row)
          for (const ArrayPtr& column : batch->columns()) append_value(text, *column, row);
        text.clear();
        rows += batch->num_rows();
      }
    }
  return rows;
}

int run(const std::string& kind, double seconds, unsigned seed) {
  static const std::map<std::string, std::string> kSuffixes = {
      {"text", "txt"},    {"jsonl", "jsonl"},     {"csv", "csv"},      {"fastq", "fastq"},
      {"fasta", "fasta"}, {"gzip", "csv.gz"},     {"zstd", "csv.zst"}, {"png", "png"},
      {"jpeg", "jpg"},    {"parquet", "parquet"}, {"ipc", "arrow"}};
  const auto suffix = kSuffixes.find(kind);
  if (suffix == kSuffixes.end())
    return std::fprintf(stderr, "flow_fuzz_driver - kind: got %s\n", kind.c_str()), 2;
  TempFolder temp;
  std::mt19937 random(seed);
  const std::vector<std::string> good = seeds(kind, temp / "seeds");
  const fs::path file = temp / ("in." + suffix->second);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  int64_t files = 0, refused = 0, rows = 0;
  for (; std::chrono::steady_clock::now() < end; ++files) {
    const std::string bytes = files == 0 ? good[0] : damaged(good[random() % good.size()], random);
    write_file(file, bytes);
    write_file(fs::current_path() / "flow_fuzz_driver.last", bytes);
    FlowRead read{.paths = {file.string()}};
    read.header = random() % 4 > 0;
    read.bad_records = random() % 2 ? "stop" : "collect";
    try {
      rows += read_all(read, random() % 3 ? 100'000 : static_cast<int64_t>(1 + random() % 64));
    } catch (const Error& error) {
      if (files == 0 || std::string(error.what()).find('\n') != std::string::npos) {
        std::fprintf(stderr, "%s\n", error.what());
        std::abort();
      }
      ++refused;
    }
  }
  fs::remove("flow_fuzz_driver.last");
  std::printf("%s: %lld files, %lld refused, %lld rows\n", kind.c_str(), static_cast<long long>(files),
              static_cast<long long>(refused), static_cast<long long>(rows));
  return 0;
}

}  // namespace
}  // namespace shoal::flow

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: flow_fuzz_driver KIND SECONDS SEED\n"), 2;
  return shoal::flow::run(argv[1], std::atof(argv[2]), static_cast<unsigned>(std::atoi(argv[3])));
}
