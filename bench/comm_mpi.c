// The collectives of comm_bench.cc over MPI, measured in the same way.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kSamples = 9 };
static const size_t kLargest = (size_t)64 << 20;
static int size, rank;
static char *in, *out;
static int* counts;

static void all_reduce(size_t bytes) {
  MPI_Allreduce(in, out, (int)(bytes / 4), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}
static void reduce_scatter(size_t bytes) {
  for (int r = 0; r < size; ++r) counts[r] = (int)(bytes / 4 / size + (r < (int)(bytes / 4 % size)));
  MPI_Reduce_scatter(in, out, counts, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}
static void all_gather(size_t bytes) {
  const int share = (int)(bytes / 4 / size);
  MPI_Allgather(in, share, MPI_FLOAT, out, share, MPI_FLOAT, MPI_COMM_WORLD);
}
static void broadcast(size_t bytes) { MPI_Bcast(in, (int)(bytes / 4), MPI_FLOAT, 0, MPI_COMM_WORLD); }
static void pingpong(size_t bytes) {
  if (rank == 0) {
    MPI_Send(in, (int)bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
    MPI_Recv(out, (int)bytes, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  } else if (rank == 1) {
    MPI_Recv(out, (int)bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Send(in, (int)bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
  }
}

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void bench(const char* name, void (*call)(size_t), size_t bytes, int calls) {
  double samples[kSamples];
  call(bytes);
  for (int sample = 0; sample < kSamples; ++sample) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    for (int i = 0; i < calls; ++i) call(bytes);
    const double mine = (MPI_Wtime() - begin) / calls;
    MPI_Allreduce(&mine, &samples[sample], 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  }
  qsort(samples, kSamples, sizeof *samples, compare);
  if (rank == 0) printf("%s,%zu,%.3f\n", name, bytes, samples[kSamples / 2] * 1e6), fflush(stdout);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  in = malloc(kLargest), out = malloc(kLargest), counts = malloc(size * sizeof *counts);
  memset(in, 0, kLargest), memset(out, 0, kLargest);
  const size_t sizes[] = {8, 1 << 10, 64 << 10, 1 << 20, kLargest};
  const int calls[] = {500, 500, 200, 40, 2};
  for (int i = 0; i < 5; ++i) bench("all_reduce", all_reduce, sizes[i], calls[i]);
  bench("reduce_scatter", reduce_scatter, kLargest, 2);
  bench("all_gather", all_gather, kLargest, 2);
  bench("broadcast", broadcast, kLargest, 2);
  bench("pingpong", pingpong, 8, 500);
  MPI_Finalize();
  return 0;
}
