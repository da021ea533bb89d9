// The held-out blocks as a drawing: bits per base along each, and the genes below.
#pragma once

#include "likelihood.h"

/// Means over `kBin` bases of both strands; the model blue, the baseline grey; below them what is read to the
/// right (dark) and to the left (light). SVG.
inline void write_picture(const std::filesystem::path& path, const Genome& genome,
                          const std::vector<Gene>& genes, const Questions& questions, const Answers& model,
                          const Answers& baseline) {
  constexpr int64_t kBin = 50, kBins = kBlock / kBin;
  constexpr double kWidth = 180, kHeight = 120, kGap = 14, kLeft = 46, kTop = 34, kLow = 1.6, kHigh = 2.3;
  constexpr int kInARow = 5;
  std::map<int64_t, std::array<std::vector<std::array<double, 2>>, 2>>
      bins;  // by block: of both, sum and count
  for (const auto& stretch : questions.held_out)
    for (int64_t i = 0; i < stretch.count; ++i) {
      const int64_t position = genome.forward_position(stretch.strand, stretch.at + i);
      auto& block = bins[position / kBlock];
      for (const size_t which : {0, 1}) {
        block[which].resize(kBins);
        auto& bin = block[which][static_cast<size_t>(position % kBlock / kBin)];
        bin[0] += (which == 0 ? baseline : model)[stretch.window][static_cast<size_t>(stretch.first + i)];
        bin[1] += 1;
      }
    }
  std::ofstream file(path);
  const auto rows = (static_cast<int>(bins.size()) + kInARow - 1) / kInARow;
  const double row_height = kHeight + 50;
  file << "<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"11\" width=\""
       << kLeft + kInARow * (kWidth + kGap) << "\" height=\"" << kTop + rows * row_height
       << "\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"" << kLeft
       << "\" y=\"16\">Bits per base of the held-out blocks, by 50 bases: <tspan "
          "fill=\"#888\">Markov</tspan>, <tspan fill=\"#06c\">"
          "the model</tspan>. Dashed: 2, of bases drawn at random. Below: genes, read to the right (dark) or "
          "to the left (light).</text>\n";
  int panel = 0;
  for (const auto& [block, both] : bins) {
    const double x0 = kLeft + panel % kInARow * (kWidth + kGap), y0 = kTop + panel / kInARow * row_height;
    const auto y_of = [&](double bits) {
      return y0 + kHeight * (kHigh - std::clamp(bits, kLow, kHigh)) / (kHigh - kLow);
    };
    file << "<rect x=\"" << x0 << "\" y=\"" << y0 << "\" width=\"" << kWidth << "\" height=\"" << kHeight
         << "\" fill=\"none\" stroke=\"#ccc\"/>\n<path d=\"M" << x0 << "," << y_of(2) << "h" << kWidth
         << "\" stroke=\"#ccc\" stroke-dasharray=\"4 3\"/>\n<text x=\"" << x0 << "\" y=\""
         << y0 + kHeight + 30 << "\">" << block * kBlock + 1 << " to " << (block + 1) * kBlock << "</text>\n";
    if (panel % kInARow == 0)
      for (const double tick : {1.6, 1.8, 2.0, 2.2})
        file << "<text x=\"" << x0 - 6 << "\" y=\"" << y_of(tick) + 4 << "\" text-anchor=\"end\">" << tick
             << "</text>\n";
    for (const size_t which : {0, 1}) {
      file << "<path fill=\"none\" stroke-width=\"1.6\" stroke=\"" << (which == 0 ? "#999" : "#06c")
           << "\" d=\"";
      for (size_t bin = 0; bin < both[which].size(); ++bin)
        file << (bin == 0 ? "M" : "L") << x0 + kWidth * (static_cast<double>(bin) + 0.5) / kBins << ","
             << y_of(both[which][bin][0] / both[which][bin][1]);
      file << "\"/>\n";
    }
    for (const Gene& gene : genes) {
      const int64_t ends[] = {genome.forward_position(gene.strand, gene.begin),
                              genome.forward_position(gene.strand, gene.end - 1)};
      const int64_t from = std::max(std::min(ends[0], ends[1]), block * kBlock);
      const int64_t to = std::min(std::max(ends[0], ends[1]) + 1, (block + 1) * kBlock);
      if (from >= to) continue;
      file << "<rect x=\"" << x0 + kWidth * static_cast<double>(from - block * kBlock) / kBlock << "\" y=\""
           << y0 + kHeight + 6 << "\" width=\"" << kWidth * static_cast<double>(to - from) / kBlock
           << "\" height=\"8\" fill=\"" << (gene.strand == 0 ? "#456" : "#abc") << "\" stroke=\"white\"/>\n";
    }
    ++panel;
  }
  file << "</svg>\n";
  file.close();
  if (!file) throw shoal::JobError(path.string() + " - cannot be written");
}
