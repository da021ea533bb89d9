// Substitutions: what they do to genes, which ones the reads have, and which ones are known.
#pragma once

#include <map>
#include <unordered_map>

#include "genome.h"

/// One base of the forward strand becomes another.
struct Variant {
  int64_t position;  // from 0
  uint8_t to;
  std::string name = {};
};

/// An open reading frame on its own strand: from a start codon up to, without it, the stop codon.
struct Gene {
  int strand;
  int64_t begin, end;
};

/// By codon as a number in base 4, in the order of kLetters: the amino acid, or * (NCBI's table 11).
inline constexpr std::string_view kAminoAcids =
    "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF";

inline char amino_acid(const Bases& strand, int64_t at) {
  const auto* codon = strand.data() + at;
  return kAminoAcids[static_cast<size_t>(codon[0] * 16 + codon[1] * 4 + codon[2])];
}

/// The frames of at least 100 codons, longest first, each unless a third of it lies in longer ones: most
/// genes of a phage, and few that are none. Frames on top of a gene, in another reading or on the other
/// strand, are usually not read.
inline std::vector<Gene> find_genes(const Genome& genome) {
  std::vector<Gene> frames;
  for (int strand = 0; strand < 2; ++strand) {
    const Bases& bases = genome.strands[static_cast<size_t>(strand)];
    for (int64_t frame = 0; frame < 3; ++frame) {
      int64_t begin = -1;
      for (int64_t at = frame; at + 3 <= genome.size(); at += 3) {
        const bool is_start = bases[static_cast<size_t>(at)] != 1 &&
                              bases[static_cast<size_t>(at) + 1] == 3 &&
                              bases[static_cast<size_t>(at) + 2] == 2;  // ATG, GTG, TTG
        if (begin < 0 && is_start) begin = at;
        if (amino_acid(bases, at) != '*') continue;
        if (begin >= 0 && at - begin >= 300) frames.push_back({strand, begin, at});
        begin = -1;
      }
    }
  }
  std::stable_sort(frames.begin(), frames.end(),
                   [](const Gene& a, const Gene& b) { return a.end - a.begin > b.end - b.begin; });
  std::vector<bool> taken(static_cast<size_t>(genome.size()));
  std::vector<Gene> genes;
  for (const Gene& frame : frames) {
    int64_t overlap = 0;
    for (int64_t at = frame.begin; at < frame.end; ++at)
      overlap += taken[static_cast<size_t>(genome.forward_position(frame.strand, at))];
    if (overlap * 3 >= frame.end - frame.begin) continue;
    for (int64_t at = frame.begin; at < frame.end; ++at)
      taken[static_cast<size_t>(genome.forward_position(frame.strand, at))] = true;
    genes.push_back(frame);
  }
  return genes;
}

/// By what they do: stop (a codon becomes a stop), same (it stays the same amino acid), other.
inline std::map<std::string, std::vector<Variant>> held_out_substitutions(const Genome& genome,
                                                                          const std::vector<Gene>& genes) {
  std::map<std::string, std::vector<Variant>> by_effect;
  for (const Gene& gene : genes) {
    Bases strand = genome.strands[static_cast<size_t>(gene.strand)];
    for (int64_t at = gene.begin + 3; at < gene.end; ++at) {  // the start codon is a case of its own
      if (!genome.held_out(gene.strand, at)) continue;
      const int64_t codon = at - (at - gene.begin) % 3;
      const char was = amino_acid(strand, codon);
      uint8_t& base = strand[static_cast<size_t>(at)];
      const uint8_t reference = base;
      for (uint8_t to = 0; to < 4; ++to) {
        if (to == reference) continue;
        base = to;
        const char is = amino_acid(strand, codon);
        by_effect[is == '*'   ? "stop"
                  : is == was ? "same"
                              : "other"]
            .push_back({genome.forward_position(gene.strand, at),
                        gene.strand == 0 ? to : static_cast<uint8_t>(3 - to)});
      }
      base = reference;
    }
  }
  return by_effect;
}

/// At most `count`, evenly out of all.
inline std::vector<Variant> some_of(const std::vector<Variant>& all, size_t count) {
  std::vector<Variant> some;
  for (size_t i = 0; i < std::min(count, all.size()); ++i)
    some.push_back(all[i * all.size() / std::min(count, all.size())]);
  return some;
}

/// The four in which the strain that laboratories grow, lambda cI857 ind1 Sam7, differs from this reference:
/// a repressor that gives way to heat, one that a signal of damage no longer cuts, a stop in the gene that
/// opens the cell, and one without a name.
inline std::vector<Variant> known_variants() {
  return {{37589 - 1, 3, "ind1 C37589T"},
          {37742 - 1, 3, "cI857 C37742T"},
          {43082 - 1, 0, "G43082A"},
          {45352 - 1, 0, "Sam7 G45352A"}};
}

/// How often each k-mer of a file of kmers.toml was seen.
class KmerCounts {
 public:
  explicit KmerCounts(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string kmer;
    int64_t count = 0;
    std::getline(file, kmer);
    if (kmer != "kmer\tcount")
      throw shoal::InputError(path.string() + " - columns: got '" + kmer +
                              "', want kmer and count, as kmers.toml writes them");
    while (file >> kmer >> count) {
      length_ = std::ssize(kmer);
      counts_[kmer] = count;
    }
  }
  int64_t length() const { return length_; }
  int64_t of(const Bases& kmer) const {
    const auto text = [](const Bases& bases) {
      std::string letters;
      for (const uint8_t base : bases) letters.push_back(kLetters[base]);
      return letters;
    };
    const auto found = counts_.find(std::min(text(kmer), text(other_strand(kmer))));
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  int64_t length_ = 0;
  std::unordered_map<std::string, int64_t> counts_;
};

/// The substitutions whose k-mers the reads have at least a third as often as the reference's: too often for
/// errors of reading.
inline std::vector<Variant> variants_of_reads(const Genome& genome, const KmerCounts& counts) {
  std::vector<Variant> variants;
  const int64_t k = counts.length();
  const auto seen = [&](const Bases& around) {
    int64_t sum = 0;
    for (auto from = around.begin(); from + k <= around.end(); ++from)
      sum += counts.of(Bases(from, from + k));
    return sum;
  };
  for (int64_t at = k - 1; at + k <= genome.size(); ++at) {
    Bases around(genome.strands[0].begin() + (at - k + 1), genome.strands[0].begin() + (at + k));
    const int64_t reference_seen = seen(around);
    uint8_t& base = around[static_cast<size_t>(k) - 1];
    const uint8_t reference = base;
    for (uint8_t to = 0; to < 4; ++to) {
      base = to;
      if (to != reference && seen(around) * 3 >= std::max<int64_t>(reference_seen, 3 * k))
        variants.push_back({at, to});
    }
  }
  return variants;
}
