// What --expt-relaxed-constexpr and --expt-extended-lambda allow under nvcc.
#ifndef __CUDACC_RELAXED_CONSTEXPR__
#error "nvcc defines this under --expt-relaxed-constexpr"
#endif

constexpr int twice(int x) { return 2 * x; }

template <typename F>
__global__ void apply(F f, int* out) {
  out[0] = f(twice(21));
}

void start(int* out, int offset) {
  apply<<<1, 1>>>([offset] __device__(int x) { return x + offset; }, out);
}
