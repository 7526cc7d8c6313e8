// Contraction, division, roots, libdevice, local vectors read as int4: what the compiler switches act on.
struct alignas(16) Four {
  int x, y, z, w;
};

__global__ void math(float* a, float* b, const float* c, double* d) {
  const int i = threadIdx.x;
  a[i] = a[i] * b[i] + c[i];
  b[i] = sinf(a[i]) / b[i] + sqrtf(c[i]);
  d[i] = exp(d[i]) + erf(d[i]) / d[i];
}

__global__ void vectors(Four* out, const Four* in, int n, bool same) {
  alignas(16) float local[2][4][4];
  extern __shared__ Four tile[];
  float sum = 0;
#pragma unroll
  for (int k = 0; k < 2; k++) {
    if (same) {
      if (k % 2 == 0) {
        *reinterpret_cast<Four*>(local[k % 2][0]) = tile[n];
      } else {
        *reinterpret_cast<Four*>(local[k % 2][0]) = *reinterpret_cast<Four*>(local[(k - 1) % 2][0]);
      }
      for (int i = 1; i < 4; i++) {
        *reinterpret_cast<Four*>(local[k % 2][i]) = *reinterpret_cast<Four*>(local[k % 2][0]);
      }
    } else {
      for (int i = 0; i < 4; i++) *reinterpret_cast<Four*>(local[k % 2][i]) = in[n + i];
    }
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) sum += local[k % 2][i][j];
  }
  out[threadIdx.x].x = __float_as_int(sum);
}
