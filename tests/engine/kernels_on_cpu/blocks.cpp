// kernels/gguf_blocks.h on the CPU: `dequantise(type, blocks, floats, number of blocks)`.
#include "gguf_blocks.h"

template <class K> static int all(const uint8_t* in, float* out, long blocks) {
  for (long b = 0; b < blocks; b++)
    for (int part = 0; part < K::elements / 8; part++) K::part(in + b * K::size, part, out + b * K::elements + 8 * part);
  return 0;
}

extern "C" int dequantise(int type, const uint8_t* in, float* out, long blocks) {
  using namespace leviathan;
  switch (type) {
    case 8: return all<Q8_0>(in, out, blocks);
    case 10: return all<Q2_K>(in, out, blocks);
    case 11: return all<Q3_K>(in, out, blocks);
    case 12: return all<Q4_K>(in, out, blocks);
    case 13: return all<Q5_K>(in, out, blocks);
    case 14: return all<Q6_K>(in, out, blocks);
    case 23: return all<IQ4_XS>(in, out, blocks);
  }
  return 1;
}
