// A local array that no compiler can keep in registers: the report's check must find it.
__global__ void stack(int* out, const int* order, int n) {
  int local[64];
  for (int i = 0; i < n; i++) local[order[i]] = i;
  for (int i = 0; i < n; i++) out[i] = local[order[n - i]];
}

__global__ void no_stack(int* out) { out[threadIdx.x] = threadIdx.x; }
