/* clang's CUDA wrapper includes this header of cuRAND, whose wheel a toolkit need not hold. Searched last. */
