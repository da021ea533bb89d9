// FASTQ (four lines a record; the sequence and its qualities on one line each) and FASTA (a line that begins
// with >, then lines of sequence).
#include <algorithm>
#include <deque>

#include "base/text.h"
#include "flow/lines.h"
#include "flow/readers.h"
#include "flow/records.h"
#include "flow/rows.h"

namespace shoal::flow {
namespace {

constexpr int64_t kBefore = 1 << 16;

class SequenceReader : public Reader {
 public:
  SequenceReader(const SourceFile& file, const Segment& segment, int64_t begin, const SchemaPtr& schema,
                 BadRecords& bad)
      : file_(file), segment_(segment), bad_(bad), lines_(file, begin), rows_(schema) {}

 protected:
  void set_name(std::string_view head) {
    const size_t space = head.find_first_of(" \t");
    rows_.set_text(0, head.substr(0, space));
    if (space != std::string_view::npos) rows_.set_text(1, head.substr(space + 1));
  }
  void refuse(int64_t begin, const std::string& why, std::string_view record) {
    rows_.clear();
    bad_.add(file_.path, bad_.stop ? Lines::number_at(file_, begin) : 0, begin, why, record);
  }

  SourceFile file_;
  Segment segment_;
  BadRecords& bad_;
  Lines lines_;
  RowBuilder rows_;
};

class FastqReader final : public SequenceReader {
 public:
  /// Reads from before the segment on: so it knows where records begin, also behind one that is none, as the
  /// reader of the segment before does.
  FastqReader(const SourceFile& file, const Segment& segment, const SchemaPtr& schema, BadRecords& bad)
      : SequenceReader(file, segment, std::max<int64_t>(0, segment.begin - kBefore), schema, bad) {
    if (segment.begin > kBefore) to_next_record();
  }

  Batch next() override {
    while (!rows_.full() && look(1) && ahead_.front().begin < segment_.end) {
      const int64_t begin = ahead_.front().begin;
      const bool is_ours = begin >= segment_.begin;
      if (ahead_.front().text.empty()) {
        ahead_.pop_front();
      } else if (look(4) && is_record()) {
        if (is_ours) {
          set_name(std::string_view(ahead_[0].text).substr(1));
          rows_.set_text(2, ahead_[1].text);
          rows_.set_text(3, ahead_[3].text);
          rows_.commit();
        }
        ahead_.erase(ahead_.begin(), ahead_.begin() + 4);
      } else {
        if (is_ours)
          refuse(begin, "not a record of FASTQ: want @name, sequence, +, and as many qualities as bases",
                 ahead_.front().text);
        ahead_.pop_front();
        to_next_record();
      }
    }
    if (rows_.num_rows() > 0) return rows_.finish();
    lines_.expect_unchanged();
    return nullptr;
  }

 private:
  struct Line {
    std::string text;
    int64_t begin;
  };
  void to_next_record() {
    while (look(4) && !is_record()) ahead_.pop_front();
    if (!look(4)) ahead_.clear();
  }
  bool look(size_t count) {
    std::string_view line;
    while (ahead_.size() < count && lines_.next(line)) ahead_.push_back({std::string(line), lines_.begin()});
    return ahead_.size() >= count;
  }
  /// Qualities may begin with @ too, but then the third line is a sequence.
  bool is_record() const {
    return ahead_[0].text.starts_with('@') && ahead_[2].text.starts_with('+') &&
           ahead_[1].text.size() == ahead_[3].text.size() && is_utf8(ahead_[0].text) &&
           is_utf8(ahead_[1].text) && is_utf8(ahead_[3].text);
  }
  std::deque<Line> ahead_;
};

class FastaReader final : public SequenceReader {
 public:
  FastaReader(const SourceFile& file, const Segment& segment, const SchemaPtr& schema, BadRecords& bad)
      : SequenceReader(file, segment, segment.begin, schema, bad) {
    std::string_view line;
    while (!has_head_ && !ended_) {
      if (!lines_.next(line))
        ended_ = true;
      else if (line.starts_with('>'))
        keep(line);
      else if (segment.begin == 0 && !line.empty())
        refuse(lines_.begin(), "sequence before the first >", line);
    }
  }

  Batch next() override {
    while (has_head_ && begin_ < segment_.end && !rows_.full()) {
      std::string sequence;
      has_head_ = false;
      const int64_t begin = begin_;
      const std::string head = head_;
      std::string_view line;
      while (lines_.next(line)) {
        if (line.starts_with('>')) {
          keep(line);
          break;
        }
        sequence.append(line);
      }
      if (!is_utf8(head) || !is_utf8(sequence)) {
        refuse(begin, "not UTF-8", head);
        continue;
      }
      set_name(std::string_view(head).substr(1));
      rows_.set_text(2, sequence);
      rows_.commit();
    }
    if (rows_.num_rows() > 0) return rows_.finish();
    lines_.expect_unchanged();
    return nullptr;
  }

 private:
  void keep(std::string_view line) {
    has_head_ = true;
    head_.assign(line);
    begin_ = lines_.begin();
  }
  bool has_head_ = false, ended_ = false;
  std::string head_;
  int64_t begin_ = 0;
};

}  // namespace

std::unique_ptr<Reader> read_sequences(const SourceFile& file, const Segment& segment, Format format,
                                       const SchemaPtr& schema, BadRecords& bad) {
  if (format == Format::kFastq) return std::make_unique<FastqReader>(file, segment, schema, bad);
  return std::make_unique<FastaReader>(file, segment, schema, bad);
}

SchemaPtr schema_of_sequences(Format format) {
  arrow::FieldVector fields = {arrow::field("id", arrow::utf8()), arrow::field("comment", arrow::utf8()),
                               arrow::field("sequence", arrow::utf8())};
  if (format == Format::kFastq) fields.push_back(arrow::field("quality", arrow::utf8()));
  return arrow::schema(fields);
}

}  // namespace shoal::flow
