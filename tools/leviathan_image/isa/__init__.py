"""The `isa` check: a library holds no instruction beyond its -march.

Three programs that know x86 better than a table of ours would: clang says which features a march has (its predefined
macros), LLVM's disassembler of the same release decodes everything that clang can emit, and GNU `as`, which unlike
LLVM's assembler refuses an instruction that its -march does not allow, judges the text of each distinct instruction.
What any of them does not know is a finding, so a newer compiler cannot pass unseen. (Capstone 5, tried on the same
samples, fails to decode AVX512-FP16, AVX512-BF16, AMX, AVX-VNNI and everything newer.)
"""
