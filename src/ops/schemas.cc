// The schemas of our own operators, registered with LibTorch so that a graph with them is a graph like any other.
// What computes them is in kernels/.
#include <torch/library.h>

TORCH_LIBRARY(shoal, library) {
  // Between the parts of a divided graph (numerics/divide.h). A cut sees a dim as [outer, parts, rest].
  library.def("cut_part(Tensor x, int dim, int outer, int parts, int part) -> Tensor");
  library.def("join_parts(Tensor[] parts, int dim, int outer) -> Tensor");
  library.def(
      "recut_part(Tensor[] parts, int from_dim, int from_outer, int to_dim, int to_outer, int part) -> Tensor");
  // Combined along the tree over [0, n), n the sum of `leaves`: of how many of them each root is. `how` is sum,
  // max, min, lse or first.
  library.def("reduce_parts(Tensor[] roots, int[] leaves, str how, ScalarType dtype) -> Tensor");
  library.def(
      "reduce_cut(Tensor[] roots, int[] leaves, str how, ScalarType dtype, int dim, int outer, int parts, "
      "int part) -> Tensor");
  library.def("restride(Tensor x, int[] strides) -> Tensor");
  // Where a device talks to others, by instructions of its Program: what the peers of a tensor-parallel group
  // show, and a parameter that other devices keep.
  library.def("exchange(Tensor[] mine, int number) -> Tensor[]");
  library.def("fetch(int unit) -> Tensor");

  // Embedding and cross-entropy over a range of the classes, [first, first + its size)
  // (numerics/open_vocabulary.cc).
  library.def("row_lse(Tensor x) -> Tensor");
  library.def(
      "cross_entropy_sums(Tensor x, Tensor lse, Tensor target, int ignore_index, int num_classes, int first) "
      "-> Tensor");
  library.def("cross_entropy_finish(Tensor sums, int reduction) -> (Tensor, Tensor)");
  library.def(
      "cross_entropy_backward(Tensor grad, Tensor x, Tensor lse, Tensor target, Tensor weight, int reduction, "
      "int ignore_index, int first) -> Tensor");
  library.def("embedding_rows(Tensor weight, Tensor indices, int num_classes, int first) -> Tensor");
  library.def(
      "embedding_rows_backward(Tensor grad, Tensor indices, int rows, int padding_index, int first) -> Tensor");
}
