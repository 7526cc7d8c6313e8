"""CUDA sources (`*.cu`, compiled by our nvcc) and Triton kernels (shipped in Triton's cache)."""
