// A genome as numbers, both of its strands, and which part of it is held out.
#pragma once

#include <shoal/shoal.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

/// A, C, G, T are 0 to 3, so that 3 - b pairs with b.
using Bases = std::vector<uint8_t>;
inline constexpr std::string_view kLetters = "ACGT";
inline constexpr uint8_t kNoBase = 4;  // before the first base of a window

/// Of every five blocks of the genome the third is held out: nothing of it is trained on, on either strand.
constexpr int64_t kBlock = 1000;
inline bool is_held_out(int64_t position) { return position / kBlock % 5 == 2; }

inline Bases other_strand(const Bases& bases) {
  Bases other(bases.rbegin(), bases.rend());
  for (uint8_t& base : other) base = static_cast<uint8_t>(3 - base);
  return other;
}

/// Both strands, each read from its own beginning: position i of one is n - 1 - i of the other.
struct Genome {
  explicit Genome(Bases forward) : strands{forward, other_strand(forward)} {}
  int64_t size() const { return std::ssize(strands[0]); }
  /// Where a place of a strand lies on the forward one.
  int64_t forward_position(int strand, int64_t at) const { return strand == 0 ? at : size() - 1 - at; }
  bool held_out(int strand, int64_t at) const { return is_held_out(forward_position(strand, at)); }

  std::array<Bases, 2> strands;
};

/// From a file with one sequence and nothing else.
inline Genome read_genome(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string text, more;
  if (!(file >> text) || file >> more)
    throw shoal::InputError(path.string() + " - genome: got " + (text.empty() ? "nothing" : "several lines") +
                            ", want a line of bases, as reference.toml writes it of one genome");
  Bases bases;
  for (const char c : text) {
    const size_t base = kLetters.find(c);
    if (base == std::string_view::npos)
      throw shoal::InputError(path.string() + " - base " + std::to_string(bases.size() + 1) + ": got '" + c +
                              "', want A, C, G or T");
    bases.push_back(static_cast<uint8_t>(base));
  }
  if (std::ssize(bases) < 5 * kBlock)
    throw shoal::InputError(path.string() + " - length: got " + std::to_string(bases.size()) +
                            " bases, want at least " + std::to_string(5 * kBlock));
  return Genome(std::move(bases));
}

/// A stretch of a strand.
struct Span {
  int strand;
  int64_t begin, end;
};

/// The stretches that are held out, or those that are not, of both strands.
inline std::vector<Span> spans_of(const Genome& genome, bool held_out) {
  std::vector<Span> spans;
  for (int strand = 0; strand < 2; ++strand)
    for (int64_t at = 0; at < genome.size(); ++at) {
      if (genome.held_out(strand, at) != held_out) continue;
      if (spans.empty() || spans.back().strand != strand || spans.back().end != at)
        spans.push_back({strand, at, at});
      ++spans.back().end;
    }
  return spans;
}

/// Even bits of a number (SplitMix64, Steele et al., 2014): what is drawn here is a function of what it is
/// for.
inline uint64_t bits_of(uint64_t number) {
  number += 0x9e3779b97f4a7c15U;
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9U;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebU;
  return number ^ (number >> 31);
}
