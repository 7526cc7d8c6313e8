// The names of the CUDA runtime that cpuinfer.h uses. A host function runs at once, in the thread that launches it.
#pragma once
typedef struct CUstream_st *cudaStream_t;
typedef void (*cudaHostFn_t)(void *);
inline int cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void *argument) {
    function(argument);
    return 0;
}
