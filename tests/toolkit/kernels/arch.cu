// Device code that depends on the architecture: a value, and instructions that only some targets have.
__global__ void arch(int* out) {
#ifdef __CUDA_ARCH__
  out[0] = __CUDA_ARCH__;
#endif
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
  unsigned long long two;
  asm("add.rn.f32x2 %0, %1, %1;" : "=l"(two) : "l"((unsigned long long)clock64()));
  *(unsigned long long*)(out + 2) = two;
#endif
}
