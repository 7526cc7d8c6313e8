"""The `isa` check: a library holds no instruction beyond its -march.

Three programs that know x86 better than a table of ours would: clang says which features a march has (its predefined
macros), LLVM's disassembler of the same release decodes everything that clang can emit, and GNU `as`, which unlike
LLVM's assembler refuses an instruction that its -march does not allow, judges the text of each distinct instruction.
What any of them does not know is a finding, so a newer compiler cannot pass unseen. (Capstone 5 cannot do it: on the
samples of the tests it does not decode AVX512-BF16 and -FP16, AVX-VNNI, AMX, and most of what is newer.)
"""
