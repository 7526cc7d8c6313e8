// An error of the front end, and with BAD_ASM one that only ptxas sees.
__global__ void wrong(int* out) {
#ifdef BAD_ASM
  asm volatile("nonsense.u32 %0;" ::"l"(out));
#else
  out[0] = undeclared;
#endif
}
