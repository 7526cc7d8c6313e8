// The two names of the CUDA runtime that cpuinfer.h mentions; the race test calls neither.
#pragma once
typedef struct CUstream_st *cudaStream_t;
typedef void (*cudaHostFn_t)(void *);
inline int cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t, void *) { return 0; }
