// What expressions know of sequences and their qualities that Arrow has no kernel for:
// - mean_quality(quality): the mean of the Phred scores, a character less 33 each; null of an empty text.
// - expected_errors(quality): how many bases are wrong, as the scores have it: the sum of 10^(-score / 10), in order.
// - reverse_complement(sequence): the other strand: the bases and IUPAC's letters for several, in either case.
#pragma once

namespace shoal::flow {

/// Arrow knows them as shoal_mean_quality and so on from here on. A text that is neither qualities nor bases
/// stops the run. Once.
void register_sequence_functions();

}  // namespace shoal::flow
