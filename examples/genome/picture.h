// The held-out blocks as a drawing: bits per base along each, and the genes below.
#pragma once

#include "likelihood.h"

/// Means over `kBin` bases of both strands; the model blue, the baseline grey; below them what is read to the
/// right (dark) and to the left (light). SVG.
inline void write_picture(const std::filesystem::path& path, const Genome& genome,
                          const std::vector<Gene>& genes, const Questions& questions, const Answers& model,
                          const Answers& baseline) {
  constexpr int64_t kBin = 50;
  constexpr double kWidth = 180, kHeight = 120, kGap = 14, kLeft = 46, kTop = 34, kLow = 1.65, kHigh = 2.2;
  constexpr int kInARow = 5;
  const std::array<std::map<int64_t, Total>, 2> both = {totals_by(kBin, genome, questions, baseline),
                                                        totals_by(kBin, genome, questions, model)};
  std::vector<int64_t> blocks;
  for (const auto& [begin, unused] : both[0])
    if (begin % kBlock == 0) blocks.push_back(begin);
  std::ofstream file(path);
  const auto rows = (static_cast<int>(blocks.size()) + kInARow - 1) / kInARow;
  const double row_height = kHeight + 50;
  file << "<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"11\" width=\""
       << kLeft + kInARow * (kWidth + kGap) << "\" height=\"" << kTop + rows * row_height
       << "\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"" << kLeft
       << "\" y=\"16\">Bits per base of the held-out blocks, by 50 bases: <tspan "
          "fill=\"#888\">Markov</tspan>, <tspan fill=\"#06c\">"
          "the model</tspan>. Dashed: 2, of bases drawn at random. Below: genes, read to the right (dark) or "
          "to the left (light).</text>\n";
  int panel = 0;
  for (const int64_t block : blocks) {
    const double x0 = kLeft + panel % kInARow * (kWidth + kGap), y0 = kTop + panel / kInARow * row_height;
    const auto x_of = [&](int64_t position) {
      return x0 + kWidth * static_cast<double>(position - block) / kBlock;
    };
    const auto y_of = [&](double bits) {
      return y0 + kHeight * (kHigh - std::clamp(bits, kLow, kHigh)) / (kHigh - kLow);
    };
    file << "<rect x=\"" << x0 << "\" y=\"" << y0 << "\" width=\"" << kWidth << "\" height=\"" << kHeight
         << "\" fill=\"none\" stroke=\"#ccc\"/>\n<path d=\"M" << x0 << "," << y_of(2) << "h" << kWidth
         << "\" stroke=\"#ccc\" stroke-dasharray=\"4 3\"/>\n<text x=\"" << x0 << "\" y=\""
         << y0 + kHeight + 30 << "\">" << block + 1 << " to " << block + kBlock << "</text>\n";
    if (panel % kInARow == 0)
      for (const double tick : {1.7, 1.8, 1.9, 2.0, 2.1})
        file << "<text x=\"" << x0 - 6 << "\" y=\"" << y_of(tick) + 4 << "\" text-anchor=\"end\">" << tick
             << "</text>\n";
    for (const size_t which : {0, 1}) {
      file << "<path fill=\"none\" stroke-width=\"1.6\" stroke=\"" << (which == 0 ? "#999" : "#06c")
           << "\" d=\"";
      for (auto bin = both[which].lower_bound(block); bin != both[which].end() && bin->first < block + kBlock;
           ++bin)
        file << (bin->first == block ? "M" : "L") << x_of(bin->first + kBin / 2) << ","
             << y_of(bin->second.per_base());
      file << "\"/>\n";
    }
    for (const Gene& gene : genes) {
      const auto [least, most] = std::minmax({genome.forward_position(gene.strand, gene.begin),
                                              genome.forward_position(gene.strand, gene.end - 1)});
      const int64_t from = std::max(least, block), to = std::min(most + 1, block + kBlock);
      if (from >= to) continue;
      file << "<rect x=\"" << x_of(from) << "\" y=\"" << y0 + kHeight + 6 << "\" width=\""
           << x_of(to) - x_of(from) << "\" height=\"8\" fill=\"" << (gene.strand == 0 ? "#456" : "#abc")
           << "\" stroke=\"white\"/>\n";
    }
    ++panel;
  }
  file << "</svg>\n";
  file.close();
  if (!file) throw shoal::JobError(path.string() + " - cannot be written");
}
